"""What people are shown that look at a whole cluster."""

from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

State = Literal["alive", "suspect", "dead", "left", "never seen"]
Run = tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]


class Partitions(TypedDict):
    """Which partitions a member has, as runs: the first and the last number of each; 256 is the system's.

    :ivar whole: owned, and all there.
    :ivar filling: owned since members changed, and fetched from other owners.
    :ivar damaged: owned before and lost, and fetched anew.
    :ivar moving: held and not owned any more; dropped once the owners have them.
    """

    whole: list[Run]
    filling: list[Run]
    damaged: list[Run]
    moving: list[Run]


class MemberShown(TypedDict):
    """A member: what the node that answers believes of it, and what it says of itself, `null` where it says nothing.

    :ivar reachable: whether it could be asked just now.
    :ivar leaving: whether it is on its way out.
    :ivar rtt_ms: round trip of the link, over TCP.
    :ivar suspected_by: addresses of members that suspect it.
    :ivar bytes: of records held, by account; `memory_limit_bytes` is the bound of these.
    :ivar memory_bytes: of the process (RSS).
    :ivar secret: name of the cluster's secret in use.
    :ivar secret_since_ms: when members agreed to use it, or the node has seen that; `null` where it was in use when
        the node started, and no more is known.
    :ivar findings: what it has found damaged.
    :ivar alarms: which alerts of Prometheus it would give now, with what they mean.
    :ivar error: why it has not told of itself.
    """

    address: str
    id: str
    state: State
    ready: bool
    reachable: bool
    registered: bool
    self: bool
    leaving: bool
    zone: str
    version: str
    rtt_ms: float | None
    suspected_by: list[str]
    keys: int | None
    bytes: int | None
    hints: int | None
    memory_bytes: int | None
    memory_limit_bytes: int | None
    disk_free_bytes: int | None
    secret: str | None
    secret_since_ms: int | None
    started_ms: int | None
    incarnation: int | None
    partitions: Partitions | None
    findings: list[str]
    alarms: list[str]
    error: str | None


class Overview(TypedDict):
    """How the whole cluster is, as seen from the node that answers.

    :ivar verdict: `warning`: something is to be done before more fails; `danger`: clients are refused, or data at risk.
    :ivar advice: how each thing is that is not well, and what to do about it; the gravest one first.
    :ivar failures_left: how many members may fail until some partition has no majority: 1 where the next failure stops
        writes by majority, 0 where they are stopped.
    """

    verdict: Literal["ok", "warning", "danger"]
    sentence: str
    advice: list[str]
    failures_left: int
    members: list[MemberShown]


class NodeHistory(TypedDict, total=False):
    """Of one member: its samples, or why there are none.

    :ivar series: by name, the newest sample last; `null` where the node was not running, or nothing was measured.
    """

    series: dict[str, list[float | None]]
    error: str


class History(TypedDict):
    """Figures of all members over a while.

    :ivar until_ms: when the newest step ends, by the wall clock; of long steps the newest one is under way.
    :ivar nodes: by address.
    """

    span: Literal["10m", "1h", "24h"]
    step_s: int
    until_ms: int
    nodes: dict[str, NodeHistory]


ScopeName = Literal["none", "own", "any"]


class Because(TypedDict):
    """What gives somebody a right.

    :ivar rule: the principal that a rule names; `grant` of a service token; `administrator`.
    :ivar prefix: of the keys that it is about.
    :ivar gives: the right, and whose records.
    """

    rule: str
    prefix: str
    gives: str


class PrefixRights(TypedDict):
    """What somebody may do with the keys that begin with a prefix, and with no longer one of those listed.

    :ivar write: the most of create, update and delete.
    """

    prefix: str
    read: ScopeName
    write: ScopeName
    create: bool
    update: ScopeName
    delete: ScopeName
    because: list[Because]


class Rights(TypedDict):
    """What somebody may do in a table; with a key, only what decides about that.

    :ivar has_rules: whether the table has rules of its own; else the usual one counts.
    :ivar read: the most that one of the prefixes gives: nobody's records, one's own, or anybody's.
    :ivar write: the same, of create, update and delete.
    :ivar prefixes: by the prefixes of the rules; the longest one that fits a key decides, alone.
    """

    user: str
    table: str
    groups: list[str]
    is_admin: bool
    has_rules: bool
    read: ScopeName
    write: ScopeName
    because: list[Because]
    prefixes: list[PrefixRights]


class Waiting(TypedDict):
    """Somebody who waits for a lock.

    :ivar node: where; each node has a line of its own, and the first ones of all lines try when the lock is free.
    """

    user: str
    node: str


class Lock(TypedDict):
    """A lock that is held.

    :ivar version: its fencing number.
    :ivar waiting: by node, the first in line first.
    """

    key: str
    owner: str
    version: int
    expires_at: int
    note: Any
    waiting: list[Waiting]


class Locks(TypedDict):
    """Some locks in order: records of a strong table that end by themselves and have a note as their value.

    :ivar next_after: what to ask for next; `null` on the last page.
    :ivar missing: addresses of members that have not said who waits there.
    """

    table: str
    locks: list[Lock]
    next_after: str | None
    missing: list[str]


AuditLine = TypedDict(
    "AuditLine",
    {
        "n": int, "time": str, "node": str, "what": str, "outcome": str, "who": str, "from": str, "on": list[str],
        "by": str,
    },
)  # fmt: skip
"""A line of the audit log, with its number; what does not apply is empty."""


class AuditTail(TypedDict):
    """The last lines of one node's audit log, in the order in which they were written.

    :ivar is_on: whether there is an audit log; without one there are no lines.
    :ivar next: what to ask for next by `after`. Numbers begin anew when the node is started.
    """

    is_on: bool
    lines: list[AuditLine]
    next: int
