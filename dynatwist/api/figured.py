"""A node's figures as of now, by names of `dynatwist.figures`: for Prometheus, and for alarms."""

from __future__ import annotations

from collections import Counter

from dynatwist.budget import Budget
from dynatwist.cluster.cluster import Cluster
from dynatwist.health.risk import risk_of
from dynatwist.membership.members import State
from dynatwist.metrics import Values

from .context import Context
from .nodes import nodes_of


def figures_of(context: Context) -> dict[str, Values]:
    """See the module."""
    return _of_data(context) | _of_members(context.cluster) | context.counters() | _spent(context.budget)


def _of_data(context: Context) -> dict[str, Values]:
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


def _of_members(cluster: Cluster) -> dict[str, Values]:
    swim, registry, peers = cluster.peers.swim, cluster.registry, cluster.peers
    statuses = [node["status"] for node in nodes_of(cluster).values()]
    registered = registry.ids if registry is not None else frozenset()
    ownership = cluster.ownership
    owned = Counter(map(ownership.groups, ownership.shared_with(cluster.me.node_id)))
    risk = risk_of(owned, peers.is_reachable)
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
        "partitions_lacking_owners": risk.lacking,
        "partitions_without_majority": risk.without,
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


def _spent(budget: Budget) -> dict[str, Values]:
    """What clients have, by name of the budget."""
    return {
        "budget_spent": {name: one.spent for name, one in budget.all().items()},
        "budget_limit": {name: one.most for name, one in budget.all().items()},
        "budget_share_limit": {name: one.share for name, one in budget.all().items()},
        "budget_refused": {name: one.refused for name, one in budget.all().items()},
    }
