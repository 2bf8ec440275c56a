"""The members of a cluster, side by side: what this node believes of each, and what each says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from dynatwist.cluster.cluster import Cluster
from dynatwist.health.alarms import BY_NAME
from dynatwist.health.condition import Condition, Held
from dynatwist.health.members import NEVER_SEEN, MemberSeen
from dynatwist.health.risk import risk_of
from dynatwist.health.verdict import Asked, ClusterSeen
from dynatwist.membership.members import Peer, State
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.net.messages import ConditionIs
from dynatwist.requests.everybody import AN_OLDER_RELEASE, JUST_MET

from ..shapes.insight import MemberShown, Partitions
from ..shapes.insight import State as StateShown

T = TypeVar("T")
NO_MEMBER = "is no member, and was not asked"
_STATES: dict[State, StateShown] = {
    State.ALIVE: "alive",
    State.SUSPECT: "suspect",
    State.DEAD: "dead",
    State.LEFT: "left",
}


@dataclass(frozen=True, slots=True)
class _Node:
    """One of the nodes that are looked at.

    :ivar is_reached: whether it can be asked for records.
    :ivar peer: what gossip says of it; ``None`` for nothing.
    :ivar told: what it says of itself, or why it has not.
    """

    node: bytes
    address: str
    zone: str
    is_registered: bool
    is_leaving: bool
    is_reached: bool
    peer: Peer | None
    told: ConditionIs | str

    @property
    def condition(self) -> Condition | None:
        """What it says of itself."""
        return None if isinstance(self.told, str) else self.told.condition

    @property
    def problem(self) -> str:
        """Why it has not said anything of itself; empty where it has."""
        return self.told if isinstance(self.told, str) else ""


class Looked:
    """See the module.

    :param told: by member, what it says of itself, or why it has not.
    """

    def __init__(self, cluster: Cluster, told: Mapping[bytes, ConditionIs | str]) -> None:
        self._cluster = cluster
        swim = cluster.peers.swim
        self._peers = {one.node: one for one in swim.roster.everybody()} if swim is not None else {}
        self._nodes = sorted(self._looked_at(told), key=lambda one: (one.address, one.node))

    def _looked_at(self, told: Mapping[bytes, ConditionIs | str]) -> Iterator[_Node]:
        """Members, those on their way out, and nodes that join."""
        registry = self._cluster.registry
        members = {one.node_id: one for one in (*registry.previous, *registry.members)} if registry is not None else {}
        ids = registry.ids if registry is not None else frozenset()
        for node, one in members.items():
            peer = self._peers.get(node)
            heard = told.get(node, JUST_MET)
            yield _Node(node, one.address, one.zone, True, node not in ids, self._is_reached(node, heard), peer, heard)
        for node, peer in self._peers.items():
            if node not in members and peer.is_up:
                yield _Node(node, f"{peer.host}:{peer.port}", peer.zone, False, False, False, peer, NO_MEMBER)

    def _is_reached(self, node: bytes, heard: ConditionIs | str) -> bool:
        """Whether a member is there: it answers, or was not asked and has a link."""
        if heard in (AN_OLDER_RELEASE, JUST_MET):
            return self._cluster.peers.is_reachable(node)
        return not isinstance(heard, str)

    def seen(self) -> ClusterSeen:
        """What a verdict is made of."""
        ownership = self._cluster.ownership
        reached = {one.node for one in self._nodes if one.is_reached}
        groups = Counter(map(ownership.groups, range(ALL_PARTITIONS)))
        return ClusterSeen(tuple(map(self._asked, self._nodes)), risk_of(groups, reached.__contains__))

    def _asked(self, one: _Node) -> Asked:
        newer = [other for other in self._nodes if other.address == one.address and other.is_reached]
        return Asked(
            id=one.node.hex(),
            member=MemberSeen(
                one.address,
                one.peer.state.value if one.peer is not None else NEVER_SEEN,
                self._is_ready(one),
                one.is_registered,
                self._version(one),
            ),
            zone=one.zone,
            is_reached=one.is_reached,
            problem=one.problem,
            condition=one.condition,
            is_leaving=one.is_leaving,
            is_replaced=one.is_registered and not one.is_reached and bool(newer),
        )

    def _is_ready(self, one: _Node) -> bool:
        if one.condition is not None:
            return one.condition.ready
        status = self._cluster.peers.status_of(one.node)
        return bool(status is not None and status.ready)

    def _version(self, one: _Node) -> str:
        if one.condition is not None:
            return one.condition.version
        return one.peer.version if one.peer is not None else ""

    # Shown

    def members(self) -> list[MemberShown]:
        """All of them, for people."""
        return [self._member(one) for one in self._nodes]

    def _member(self, one: _Node) -> MemberShown:
        cluster, condition, peer = self._cluster, one.condition, one.peer
        is_me = one.node == cluster.me.node_id
        rtt_ms = None if is_me else cluster.links.rtt_ms(one.node)
        return {
            "address": one.address,
            "id": one.node.hex(),
            "state": _STATES[peer.state] if peer is not None else "never seen",
            "ready": self._is_ready(one),
            "reachable": one.is_reached,
            "registered": one.is_registered,
            "self": is_me,
            "leaving": one.is_leaving,
            "zone": one.zone,
            "version": self._version(one),
            "rtt_ms": round(rtt_ms, 2) if rtt_ms is not None else None,
            "suspected_by": self._addresses(peer),
            "keys": condition.keys if condition else None,
            "bytes": condition.store_bytes if condition else None,
            "hints": condition.hints if condition else None,
            "memory_bytes": condition.memory_bytes if condition else None,
            "memory_limit_bytes": condition.memory_limit_bytes if condition else None,
            "disk_free_bytes": condition.disk_free_bytes if condition else None,
            "secret": condition.secrets[0] if condition and condition.secrets else None,
            "secret_since_ms": (condition.secret_since_ms or None) if condition else None,
            "started_ms": condition.started_ms if condition else None,
            "incarnation": peer.incarnation if peer is not None else None,
            "partitions": _partitions(condition.held) if condition else None,
            "findings": condition.findings if condition else [],
            "alarms": list(map(_in_words, condition.alarms)) if condition else [],
            "error": one.problem or None,
        }

    def _addresses(self, peer: Peer | None) -> list[str]:
        accusers = [self._peers.get(node) for node in peer.accusers] if peer is not None else []
        return sorted(f"{one.host}:{one.port}" for one in accusers if one is not None)


def _in_words(alarm: str) -> str:
    known = BY_NAME.get(alarm)
    return f"{alarm}: {known.text}" if known is not None else alarm


def _partitions(held: Held) -> Partitions:
    return {"whole": held.whole, "filling": held.filling, "damaged": held.damaged, "moving": held.moving}


def by_address(cluster: Cluster, told: Mapping[bytes, T | str]) -> dict[str, T | str]:
    """By address; of several members under one, the one that has answered, if any has."""
    registry = cluster.registry
    members = (*registry.previous, *registry.members) if registry is not None else ()
    named = {cluster.me.node_id: cluster.me.address} | {one.node_id: one.address for one in members}
    answered_last = sorted(told.items(), key=lambda one: not isinstance(one[1], str))
    return {named[node]: one for node, one in answered_last if node in named}
