"""What is to be said of a cluster: from what was seen to findings."""

from __future__ import annotations

from dynatwist.health import members as health
from dynatwist.health.finding import Finding, Findings, fault, ok, warning

from .seen import ClusterSeen, NodeSeen

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
    if seen.problem:
        if seen.is_named and seen.needs_login:
            yield warning("members", seen.problem, "dynakv login admin first")
        return
    yield from map(health.member, seen.members)
    count = seen.counted - sum(member.is_registered for member in seen.members)
    if count > 0:
        yield health.replaced(count, seen.unseen)
    yield from health.number(seen.counted)


def versions(seen: ClusterSeen) -> Findings:
    """Whether all members run the same version."""
    return health.versions(seen.members)
