"""What people are shown that look at a whole cluster."""

from typing import Annotated, Literal, TypedDict

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
    :ivar secret_since_ms: when members agreed to use it; `null` where it is the first one.
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
