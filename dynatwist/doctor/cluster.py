"""What is to be said of a cluster: from what was seen to findings."""

from __future__ import annotations

from dynatwist.membership.members import State

from .finding import Finding, Findings, fault, ok, warning
from .seen import ClusterSeen, MemberSeen, NodeSeen

FAR_S = 10.0
"""A node whose clock is so far from most others' refuses writes (`dynatwist.cluster.walls`)."""
OFF_S = 1.0
"""Where NTP runs, clocks are within some milliseconds."""


def answers(seen: ClusterSeen) -> Findings:
    """Whether nodes answer, and serve."""
    check = "nodes"
    for node in seen.nodes:
        if node.problem and not seen.is_named:
            text = f"no node answers at {node.url}, so its members were not looked at"
            yield warning(check, text, "start it, or name one that runs with --url")
        elif node.problem:
            text = node.problem if node.url in node.problem else f"{node.url}: {node.problem}"
            yield fault(check, text, "start it, or see what keeps it from being reached")
        elif not node.is_ready:
            text = f"{node.url} does not serve yet"
            yield fault(check, text, "wait some seconds; then see its log, and whether it reaches the other members")
        elif node.not_whole:
            text = f"{node.url} serves, and fetches {node.not_whole} partitions from other owners"
            yield warning(check, text, "wait until that is done before another node is stopped")
        else:
            yield ok(check, f"{node.url} serves")
        for finding in node.findings:
            yield warning(
                check, f"{node.url} has found: {finding}", "see When something is wrong in docs/operating.rst"
            )


def clocks(seen: ClusterSeen) -> Findings:
    """This machine's clock beside those of the nodes."""
    for node in seen.nodes:
        if not node.problem:
            yield _clock(node)


def _clock(node: NodeSeen) -> Finding:
    check, off_s = "clock", abs(node.clock_ahead_s)
    surely_s = max(0.0, off_s - node.unsure_s)
    if off_s <= node.unsure_s or off_s < 0.01:
        text = f"that of {node.url} agrees with this machine's within {max(node.unsure_s, 0.01):.2f} s"
    else:
        text = (
            f"that of {node.url} is {off_s:.2f} s {'ahead of' if node.clock_ahead_s > 0 else 'behind'} this machine's"
        )
    if surely_s >= FAR_S:
        return fault(check, text, "set the wrong one right, and run NTP on all; writes are refused from 10 s on")
    if surely_s >= OFF_S:
        return warning(check, text, "run NTP (chrony, systemd-timesyncd) on all machines")
    return ok(check, text)


def members(seen: ClusterSeen) -> Findings:
    """In what state the members are."""
    check = "members"
    if seen.problem:
        if seen.is_named and seen.needs_login:
            yield warning(check, seen.problem, "dynakv login admin first")
        return
    for member in seen.members:
        yield _member(member)
    yield from _unseen(seen)
    if seen.counted == 2:
        yield warning(check, "there are two members: without either there is no majority", "add a third one")


def _unseen(seen: ClusterSeen) -> Findings:
    """Members that are gone for good, and still count: a node that comes back without its data is another one."""
    count = seen.counted - sum(member.is_registered for member in seen.members)
    if count > 0:
        text = f"{count} more count as members, and are gone: earlier nodes at the same addresses"
        which = ", ".join(seen.unseen) or "ask again after dynakv login admin, for the ids"
        yield fault("members", text, f"strike each out by its id, dynakv forget ID: {which}")


def _member(member: MemberSeen) -> Finding:
    check, text = "members", f"{member.address} is {member.status.lower()}"
    if not member.is_registered:
        return warning(check, f"{text}, and no member", "it joins, or was struck out; see its log")
    if member.status == State.LEFT.value:
        return warning(check, f"{member.address} was stopped", "start it again before another one is stopped")
    if member.status == State.SUSPECT.value:
        return warning(check, text, "see whether its machine is overloaded, and UDP reaches it")
    if member.status != State.ALIVE.value:
        return fault(check, text, f"start it again, or strike it out: dynakv forget {member.address}")
    if not member.is_ready:
        return warning(check, f"{text}, and does not serve yet", "wait some seconds; then see its log")
    return ok(check, f"{text}, and serves")


def versions(seen: ClusterSeen) -> Findings:
    """Whether all members run the same version."""
    found: dict[str, list[str]] = {}
    for member in seen.members:
        found.setdefault(member.version, []).append(member.address)
    if len(found) == 1:
        yield ok("versions", f"all members run {next(iter(found)) or 'an unknown version'}")
    elif found:
        text = "; ".join(f"{version or 'unknown'} at {', '.join(at)}" for version, at in sorted(found.items()))
        yield warning("versions", text, "bring all members to the same version, one after another")
