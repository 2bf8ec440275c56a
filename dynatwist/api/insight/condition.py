"""How this node is, as it tells the members that ask."""

from __future__ import annotations

from dynatwist.cluster.cluster import Cluster
from dynatwist.health.alarms import ringing
from dynatwist.health.condition import MOST_CHARS, MOST_TEXTS, Condition, Held, ranges

from ..context import VERSION, Context
from ..figured import figures_of


def condition_of(context: Context, started_ms: int, hints_before: float, secret_since_ms: int) -> Condition:
    """See the module.

    :param started_ms: when the process started, by the wall clock.
    :param hints_before: a minute ago; not a number where that is not known.
    :param secret_since_ms: see `InUse`.
    """
    cluster, store, names = context.cluster, context.cluster.store, context.secrets()
    figures = {name: float(one) for name, one in figures_of(context).items() if isinstance(one, int | float)}
    return Condition(
        version=VERSION,
        ready=cluster.standing.is_ready,
        keys=store.live.total,
        store_bytes=store.size_bytes,
        hints=len(store.hints),
        memory_bytes=cluster.runtime.usage().memory_bytes,
        memory_limit_bytes=context.limits.store_bytes,
        disk_free_bytes=context.room.free_bytes,
        secrets=list(names),
        secret_since_ms=secret_since_ms,
        started_ms=started_ms,
        held=held_by(cluster),
        findings=[text[:MOST_CHARS] for text in context.findings[:MOST_TEXTS]],
        alarms=ringing(figures, {"hints": hints_before}),
    )


def held_by(cluster: Cluster) -> Held:
    """Which partitions this node has. One that is not whole, and not newly owned, was lost."""
    ownership, registry = cluster.ownership, cluster.registry
    whole, filling, damaged, moving = [], [], [], []
    for replica in cluster.store.replicas:
        number = replica.number
        if not ownership.owns(number) or (
            registry is not None and registry.changing and cluster.me.node_id not in registry.owners(number)
        ):
            if replica.records:
                moving.append(number)
        elif replica.whole:
            whole.append(number)
        elif ownership.is_joining(number):
            filling.append(number)
        else:
            damaged.append(number)
    return Held(*map(ranges, (whole, filling, damaged, moving)))
