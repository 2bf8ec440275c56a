"""Liveness, readiness, members, statistics."""

from typing import Literal, TypedDict


class Heartbeat(TypedDict):
    """The process answers."""

    status: Literal["ok"]
    timestamp: int


class Readiness(TypedDict):
    """Whether the data routes answer, and what is missing.

    :ivar partitions_not_whole: of which this node is an owner, and still fetches.
    :ivar findings: what recovery found.
    """

    ready: bool
    registered: bool
    partitions_not_whole: int
    findings: list[str]


class NodeSeen(TypedDict):
    """What is known of a member.

    :ivar accusers: ids of members that suspect it.
    :ivar probe_rtt_ms: round trip of the last probe, over UDP.
    :ivar rtt_ms: round trip of the link, over TCP.
    :ivar self: whether it is the node that answers.
    """

    status: Literal["Active", "Suspect", "Dead", "Left"]
    accusers: list[str]
    version: str
    zone: str
    probe_rtt_ms: float | None
    id: str
    incarnation: int
    peer_port: int
    self: bool
    registered: bool
    reachable: bool
    ready: bool
    rtt_ms: float | None


class LocalHealth(TypedDict):
    """How well this node takes part.

    :ivar awareness: 0 while it is well; it grows as its own probes come late.
    """

    awareness: int
    suspected: int
    refutations: int


class Membership(TypedDict):
    """Who is there, by address."""

    nodes: dict[str, NodeSeen]
    active_count: int
    timestamp: int
    local: LocalHealth


class ClusterStats(TypedDict):
    """The cluster, as this node knows it."""

    id: str | None
    registry_version: int
    replicas: int | None
    members: int
    changing: bool
    partitions_not_whole: int


class Stats(TypedDict):
    """Counts of this node.

    :ivar tables: live keys that this node holds, by table; of the first thousand tables.
    :ivar total_keys: live keys that this node holds.
    :ivar partitions_to_hand_off: held here and not owned any more; owners may lack something of them.
    :ivar conflicts: pairs of concurrent writes met since the start.
    """

    node: str
    version: str
    tables: dict[str, int]
    table_count: int
    total_keys: int
    total_requests: int
    average_latency_ms: float
    active_sse_connections: int
    active_websocket_connections: int
    conflicts: int
    conflicts_kept: int
    alarms: int
    hints: int
    store_bytes: int
    tombstones: int
    cold_saves: int
    cold_save_failures: int
    partitions_to_hand_off: int
    durability: str
    cluster: ClusterStats
