"""What is to be said of members: each by itself, those that are shown no more, and the releases that they run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dynatwist.membership.members import State

from .finding import Finding, Findings, fault, ok, warning

NEVER_SEEN = "never seen"
"""The state of a member of the registry of which no gossip has come yet."""


@dataclass(frozen=True, slots=True)
class MemberSeen:
    """A member, as the node that was asked sees it.

    :ivar status: a value of `State`, or `NEVER_SEEN`.
    """

    address: str
    status: str
    is_ready: bool
    is_registered: bool
    version: str


def member(seen: MemberSeen) -> Finding:
    """In what state a member is."""
    check, text = "members", f"{seen.address} is {seen.status.lower()}"
    if not seen.is_registered:
        return warning(check, f"{text}, and no member", "it joins, or was struck out; see its log")
    if seen.status == State.LEFT.value:
        return warning(check, f"{seen.address} was stopped", "start it again before another one is stopped")
    if seen.status == State.SUSPECT.value:
        return warning(check, text, "see whether its machine is overloaded, and UDP reaches it")
    if seen.status == NEVER_SEEN:
        return fault(check, f"{seen.address} was {NEVER_SEEN}", start_or_strike_out(seen.address))
    if seen.status != State.ALIVE.value:
        return fault(check, text, start_or_strike_out(seen.address))
    if not seen.is_ready:
        return warning(check, f"{text}, and does not serve yet", "wait some seconds; then see its log")
    return ok(check, f"{text}, and serves")


def start_or_strike_out(address: str) -> str:
    """The advice about a member that is gone."""
    return f"start it again, or strike it out: dynakv forget {address}"


def replaced(count: int, which: Sequence[str]) -> Finding:
    """Members that are gone for good, and still count: a node that comes back without its data is another one.

    :param which: they, as ``ID at ADDRESS``, where that is known.
    """
    named = ", ".join(which) or "ask again after dynakv login admin, for the ids"
    text = f"{count} more count as members, and are gone: earlier nodes at the same addresses"
    return fault("members", text, f"strike each out by its id, dynakv forget ID: {named}")


def number(count: int) -> Findings:
    """Whether there are enough members for a majority to be left when one fails.

    :param count: by the registry.
    """
    if count == 2:
        yield warning("members", "there are two members: without either there is no majority", "add a third one")


def versions(members: Iterable[MemberSeen]) -> Findings:
    """Whether all members run the same version."""
    found: dict[str, list[str]] = {}
    for one in members:
        found.setdefault(one.version, []).append(one.address)
    if len(found) == 1:
        yield ok("versions", f"all members run {next(iter(found)) or 'an unknown version'}")
    elif found:
        told = "; ".join(f"{version or 'unknown'} at {', '.join(at)}" for version, at in sorted(found.items()))
        text = f"members run different releases: {told}"
        yield warning("versions", text, "bring all members to the same version, one after another")
