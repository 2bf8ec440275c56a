"""Liveness, readiness, members, statistics."""

from __future__ import annotations

from collections import Counter

from dynatwist.budget import Budget
from dynatwist.membership.members import Peer, State
from dynatwist.metrics import Values
from dynatwist.model.registry import majority
from dynatwist.storage.durability import Durability

from .context import VERSION, Context
from .openapi.described import Described, Media, Who
from .request import Answer, Request, json_answer
from .shapes.status import Heartbeat, LocalHealth, Membership, NodeSeen, Readiness, Stats

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SHOWN_S = 0.25
"""For so long the same text is shown again: to make it takes milliseconds, and nobody needs a token to ask."""
MAX_TABLES = 1000
"""Tables that ``/stats`` names, the first ones in order; ``/admin/tables`` has all, in pages."""


class StatusRoutes:
    """Liveness, readiness, members, statistics."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rendered, self._rendered_s = b"", float("-inf")

    @Described(who=Who.ANYBODY, gives={200: Heartbeat})
    def heartbeat(self, request: Request) -> Answer:
        """Say whether the process answers."""
        return json_answer(200, Heartbeat(status="ok", timestamp=self._context.cluster.store.wall_ms()))

    @Described(who=Who.ANYBODY, gives={200: Heartbeat})
    def alive(self, request: Request) -> Answer:
        """Say the same, under the name that orchestrators ask for."""
        return self.heartbeat(request)

    @Described(who=Who.ANYBODY, gives={200: Readiness, 503: Readiness})
    def ready(self, request: Request) -> Answer:
        """Say whether the data routes answer, what is missing, and what recovery found."""
        cluster = self._context.cluster
        not_whole = len(cluster.standing.not_whole())
        body: Readiness = {
            "ready": cluster.standing.is_ready,
            "registered": cluster.ownership.is_registered,
            "partitions_not_whole": not_whole,
            "findings": self._context.findings,
        }
        return json_answer(200 if cluster.standing.is_ready else 503, body)

    @Described(who=Who.STATUS, gives={200: Membership})
    def membership(self, request: Request) -> Answer:
        """Say who is there, as this node sees it."""
        self._guard(request)
        nodes = self.nodes()
        active = sum(1 for node in nodes.values() if node["status"] == State.ALIVE.value)
        timestamp = self._context.cluster.store.wall_ms()
        swim = self._context.cluster.peers.swim
        local: LocalHealth = {
            "awareness": swim.awareness.score if swim is not None else 0,
            "suspected": swim.suspected if swim is not None else 0,
            "refutations": swim.claims.refutations if swim is not None else 0,
        }
        return json_answer(200, Membership(nodes=nodes, active_count=active, timestamp=timestamp, local=local))

    def nodes(self) -> dict[str, NodeSeen]:
        """The members by address; of several ids under one address the one that is up."""
        swim = self._context.cluster.peers.swim
        found: dict[str, NodeSeen] = {}
        for peer in sorted(swim.roster.everybody() if swim is not None else [], key=lambda peer: not peer.is_up):
            found.setdefault(f"{peer.host}:{peer.port}", self._node(peer))
        return found

    def _node(self, peer: Peer) -> NodeSeen:
        cluster = self._context.cluster
        mine = peer.node == cluster.me.node_id
        rtt_ms = None if mine else cluster.links.rtt_ms(peer.node)
        status = cluster.peers.status_of(peer.node)
        registered = cluster.registry.find(peer.node) if cluster.registry is not None else None
        return {
            "status": peer.state.value,
            "accusers": sorted(accuser.hex() for accuser in peer.accusers),
            "version": peer.version,
            "zone": peer.zone or (registered.zone if registered is not None else ""),
            "probe_rtt_ms": round(1000 * peer.rtt_s, 2) if peer.rtt_s is not None else None,
            "id": peer.node.hex(),
            "incarnation": peer.incarnation,
            "peer_port": peer.peer_port,
            "self": mine,
            "registered": cluster.registry is not None and peer.node in cluster.registry.ids,
            "reachable": cluster.peers.is_reachable(peer.node),
            "ready": cluster.standing.is_ready if mine else bool(status is not None and status.ready),
            "rtt_ms": round(rtt_ms, 2) if rtt_ms is not None else None,
        }

    @Described(who=Who.STATUS, gives={200: Stats})
    def stats(self, request: Request) -> Answer:
        """Show counts of this node."""
        self._guard(request)
        context = self._context
        cluster, store, metrics = context.cluster, context.cluster.store, context.metrics
        registry = cluster.registry
        to_hand_off = context.counters().get("partitions_to_hand_off", 0)
        shown: Stats = {
            "node": cluster.me.address,
            "version": VERSION,
            "tables": store.live.page(limit=MAX_TABLES),
            "table_count": len(store.live),
            "total_keys": store.live.total,
            "total_requests": metrics.total_requests,
            "average_latency_ms": round(metrics.average_latency_ms, 4),
            "active_sse_connections": metrics.sse_connections,
            "active_websocket_connections": metrics.websocket_connections,
            "conflicts": store.conflicts.met,
            "conflicts_kept": len(store.conflicts),
            "alarms": store.alarms,
            "hints": len(store.hints),
            "store_bytes": store.size_bytes,
            "tombstones": sum(len(replica.tombstones) for replica in store.replicas),
            "cold_saves": context.saver.saves,
            "cold_save_failures": context.saver.failures,
            "partitions_to_hand_off": to_hand_off if isinstance(to_hand_off, int) else 0,
            "durability": store.wal.durability.value if isinstance(store.wal.durability, Durability) else "",
            "cluster": {
                "id": registry.cluster_id.hex() if registry else None,
                "registry_version": cluster.version,
                "replicas": registry.replicas if registry else None,
                "members": len(registry.members) if registry else 0,
                "changing": bool(registry and registry.changing),
                "partitions_not_whole": len(cluster.standing.not_whole()),
            },
        }
        return json_answer(200, shown)

    @Described(who=Who.STATUS, gives={200: Media(METRICS_TYPE, "Text for Prometheus.")})
    def metrics(self, request: Request) -> Answer:
        """Show this node's metrics, as text for Prometheus."""
        self._guard(request)
        context = self._context
        now_s = context.cluster.runtime.monotonic_s()
        if now_s - self._rendered_s < SHOWN_S:
            return Answer(200, self._rendered, METRICS_TYPE)
        context.metrics.tell(
            self._data_figures() | self._member_figures() | context.counters() | _spent(context.budget)
        )
        self._rendered, self._rendered_s = context.metrics.render(), now_s
        return Answer(200, self._rendered, METRICS_TYPE)

    def _data_figures(self) -> dict[str, Values]:
        context = self._context
        store = context.cluster.store
        return {
            "keys": store.live.total,
            "tables": len(store.live),
            "store_bytes": store.size_bytes,
            "store_limit_bytes": context.limits.store_bytes,
            "conflicts": store.conflicts.met,
            "conflicts_kept": len(store.conflicts),
            "conflicts_kept_bytes": store.conflicts.size_bytes,
            "conflicts_dropped": store.conflicts.dropped,
            "tombstones": sum(len(replica.tombstones) for replica in store.replicas),
            "hints": len(store.hints),
            "hints_dropped": store.hints.dropped,
            "anti_entropy_alarms": store.alarms,
            "subscriptions": len(context.hub),
        }

    def _member_figures(self) -> dict[str, Values]:
        cluster = self._context.cluster
        swim, registry, peers = cluster.peers.swim, cluster.registry, cluster.peers
        statuses = [node["status"] for node in self.nodes().values()]
        registered = registry.ids if registry is not None else frozenset()
        lacking, without = self._partitions_at_risk()
        found: dict[str, Values] = {
            "members": {state.value.lower(): statuses.count(state.value) for state in State},
            "members_registered": len(registered),
            "members_unreachable": sum(not peers.is_reachable(node) for node in registered),
            "registry_version": cluster.version,
            "registry_is_changing": bool(registry and registry.changing),
            "is_ready": cluster.standing.is_ready,
            "clock_is_refused": bool(cluster.times.refusal),
            "yields": cluster.yielding.yields,
            "partitions_not_whole": len(cluster.standing.not_whole()),
            "partitions_lacking_owners": lacking,
            "partitions_without_majority": without,
        }
        if swim is not None:
            found |= {
                "gossip_awareness": swim.awareness.score,
                "gossip_suspected": swim.suspected,
                "gossip_refutations": swim.claims.refutations,
                "gossip_news": swim.news,
                "gossip_round_trip_seconds": swim.round_trips.usual_s or 0.0,
            }
        return found

    def _partitions_at_risk(self) -> tuple[int, int]:
        """Of the partitions owned here: how many lack an owner that can be reached, and how many a majority of them."""
        cluster = self._context.cluster
        ownership, is_reachable = cluster.ownership, cluster.peers.is_reachable
        lacking = without = 0
        for groups, count in Counter(map(ownership.groups, ownership.shared_with(cluster.me.node_id))).items():
            reached = [sum(map(is_reachable, group)) for group in groups]
            sizes = list(map(len, groups))
            lacking += count if reached != sizes else 0
            without += count if any(map(_is_minority, reached, sizes)) else 0
        return lacking, without

    def _guard(self, request: Request) -> None:
        if self._context.private_status:
            self._context.require_admin(request)


def _is_minority(reached: int, owners: int) -> bool:
    return reached < majority(owners)


def _spent(budget: Budget) -> dict[str, Values]:
    """What clients have, by name of the budget."""
    return {
        "budget_spent": {name: one.spent for name, one in budget.all().items()},
        "budget_limit": {name: one.most for name, one in budget.all().items()},
        "budget_share_limit": {name: one.share for name, one in budget.all().items()},
        "budget_refused": {name: one.refused for name, one in budget.all().items()},
    }
