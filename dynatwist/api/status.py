"""Liveness, readiness, members, statistics."""

from __future__ import annotations

from dynatwist.membership.members import State
from dynatwist.storage.durability import Durability

from .context import VERSION, Context
from .figured import figures_of
from .nodes import nodes_of
from .openapi.described import Described, Media, Who
from .request import Answer, Request, json_answer
from .shapes.status import Heartbeat, LocalHealth, Membership, Readiness, Stats

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
        nodes = nodes_of(self._context.cluster)
        active = sum(1 for node in nodes.values() if node["status"] == State.ALIVE.value)
        timestamp = self._context.cluster.store.wall_ms()
        swim = self._context.cluster.peers.swim
        local: LocalHealth = {
            "awareness": swim.awareness.score if swim is not None else 0,
            "suspected": swim.suspected if swim is not None else 0,
            "refutations": swim.claims.refutations if swim is not None else 0,
        }
        return json_answer(200, Membership(nodes=nodes, active_count=active, timestamp=timestamp, local=local))

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
        context.metrics.tell(figures_of(context))
        self._rendered, self._rendered_s = context.metrics.render(), now_s
        return Answer(200, self._rendered, METRICS_TYPE)

    def _guard(self, request: Request) -> None:
        if self._context.private_status:
            self._context.require_admin(request)
