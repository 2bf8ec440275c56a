"""The verdict on a whole cluster: one sentence, and what to do, from what one node sees and is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dynatwist.membership.members import State

from . import members as health
from .alarms import BY_NAME, NO_MAJORITY
from .condition import Condition, count_of
from .finding import Finding, Findings, Level, fault, warning
from .members import MemberSeen
from .risk import Risk

UP = (State.ALIVE.value, State.SUSPECT.value)
_NUMBERS = {1: "one", 2: "two", 3: "three"}


class Verdict(StrEnum):
    """How the cluster is: nothing to do; something to do before more fails; clients are refused, or data at risk."""

    OK = "ok"
    WARNING = "warning"
    DANGER = "danger"


@dataclass(frozen=True, slots=True)
class Asked:
    """A member, and what became of asking it.

    :ivar zone: where it runs; empty where nobody has said so.
    :ivar is_reached: whether it can be asked.
    :ivar problem: why it has not told of itself; empty where it has.
    :ivar condition: what it has told.
    :ivar is_leaving: whether it is on its way out.
    :ivar is_replaced: whether another member has its address now.
    """

    id: str
    member: MemberSeen
    zone: str = ""
    is_reached: bool = True
    problem: str = ""
    condition: Condition | None = None
    is_leaving: bool = False
    is_replaced: bool = False


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """What a verdict is made of.

    :ivar asked: members of the registry, and other nodes that gossip tells of.
    :ivar risk: of all partitions, by who can be asked.
    """

    asked: tuple[Asked, ...]
    risk: Risk


@dataclass(frozen=True, slots=True)
class Judged:
    """See the module.

    :ivar advice: how each thing is that is not well, and what to do about it; the gravest one first.
    """

    verdict: Verdict
    sentence: str
    advice: tuple[str, ...]
    failures_left: int


def judge(seen: ClusterSeen) -> Judged:
    """See the module."""
    registered = [one for one in seen.asked if one.member.is_registered]
    if not registered:
        text = "this node is in no cluster yet"
        return Judged(Verdict.DANGER, text, (f"{text}; see its log: it looks for the nodes of --join",), 0)
    found = [one for one in _findings(seen, registered) if one.level is not Level.OK]
    found.sort(key=lambda one: one.level is not Level.FAULT)
    is_danger = bool(seen.risk.without) or any(map(_is_in_danger, registered))
    verdict = Verdict.DANGER if is_danger else Verdict.WARNING if found else Verdict.OK
    advice = [f"{one.text}; {one.advice}" for one in found]
    if len(registered) == 1 and not found:
        advice.append("there is one copy of everything; start two more nodes with --join")
    return Judged(verdict, _sentence(seen.risk, registered, found), tuple(advice), seen.risk.failures_left)


def _is_in_danger(one: Asked) -> bool:
    alarms = one.condition.alarms if one.condition is not None else []
    return any(BY_NAME[name].is_danger for name in alarms if name in BY_NAME)


# In one sentence


def _sentence(risk: Risk, registered: Sequence[Asked], found: Sequence[Finding]) -> str:
    reached = sum(one.is_reached for one in registered)
    parts = [_answering(reached, len(registered)), _writes(risk, len(registered))]
    others = [one for one in found if one.check not in ("majority", "members")]
    if others:
        more = f", and {len(others) - 1} more" if len(others) > 1 else ""
        parts.append(others[0].text + more)
    return "; ".join(parts)


def _answering(reached: int, count: int) -> str:
    if count == 1:
        return "the only member answers"
    everybody = "both members answer" if count == 2 else f"all {count} members answer"
    return everybody if reached == count else f"{reached} of {count} members answer"


def _writes(risk: Risk, count: int) -> str:
    if risk.without == risk.partitions:
        return "majority writes are refused"
    if risk.without:
        return f"majority writes are refused for {risk.without} of {risk.partitions} partitions"
    if count == 1:
        return "one failure stops everything"
    left = risk.failures_left
    if left == 1:
        return "writes are safe; one more failure stops majority writes"
    many = _NUMBERS.get(left - 1, str(left - 1))
    return f"writes are safe; {many} more may fail"


# One by one


def _findings(seen: ClusterSeen, registered: Sequence[Asked]) -> Findings:
    risk = seen.risk
    if risk.without:
        text = f"{risk.without} of {risk.partitions} partitions have no majority of owners that answers"
        yield fault("majority", text, "bring the members back that do not answer")
    for one in seen.asked:
        yield from (found for found in _of_member(one) if not (risk.without and found.check == "majority"))
    yield from _zones(registered)
    yield from _secrets(registered)
    yield from health.versions(one.member for one in seen.asked if one.member.version)
    yield from health.number(len(registered))


def _of_member(one: Asked) -> Findings:
    address = one.member.address
    if one.is_leaving:
        yield warning("leaving", f"{address} is leaving, and hands off its data", "stop it when that is done")
        if not one.is_reached:
            yield fault("members", f"{address} does not answer", "start it again, or wait until it is struck out")
        return
    if one.is_replaced:
        yield health.replaced(1, [f"{one.id} at {address}"])
        return
    if one.is_reached or one.member.status not in UP or not one.member.is_registered:
        yield health.member(one.member)
    else:
        text = f"{address} does not answer: {one.problem}"
        yield fault("members", text, f"see whether its machine is overloaded; {health.start_or_strike_out(address)}")
    if one.condition is not None:
        yield from _of_condition(address, one.condition)


def _of_condition(address: str, condition: Condition) -> Iterator[Finding]:
    filling, damaged = count_of(condition.held.filling), count_of(condition.held.damaged)
    wait = "wait until that is done before another node is stopped"
    if filling:
        yield warning("filling", f"{address} fetches {filling} partitions that it is to hold from now on", wait)
    if damaged:
        yield warning("damaged", f"{address} fetches {damaged} partitions anew that it had lost", wait)
    for text in condition.findings:
        yield warning("damaged", f"{address} has found: {text}", "see When something is wrong in docs/operating.rst")
    for name in condition.alarms:
        alarm = BY_NAME.get(name)
        if alarm is None:
            yield warning("alarms", f"{address} tells of {name}", "see its log; it runs a later release")
        elif alarm.is_danger:
            check = "majority" if name == NO_MAJORITY else "alarms"
            yield fault(check, f"{address} {alarm.text}", alarm.advice)
        else:
            yield warning("alarms", f"{address} {alarm.text}", alarm.advice)


def _zones(registered: Sequence[Asked]) -> Findings:
    """Zones of which no member answers."""
    zones: dict[str, list[Asked]] = {}
    for one in registered:
        if one.zone:
            zones.setdefault(one.zone, []).append(one)
    for zone, those in sorted(zones.items()):
        if len(zones) > 1 and not any(one.is_reached for one in those):
            text = f"zone {zone} is lost: none of its members answers"
            yield fault("zones", text, "see what its machines have in common: power, or network")


def _secrets(registered: Sequence[Asked]) -> Findings:
    """Whether the cluster's secrets are being changed."""
    told = [one.condition.secrets for one in registered if one.condition is not None and one.condition.secrets]
    if len({names[0] for names in told}) > 1:
        yield warning("secrets", "members use different secrets", "finish the rotation: dynakv key rotate")
    elif any(len(names) > 1 for names in told):
        text = "members accept more than one secret: a rotation is under way, or was left"
        yield warning("secrets", text, "finish it: dynakv key rotate, or dynakv key retire")
