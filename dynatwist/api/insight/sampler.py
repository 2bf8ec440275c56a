"""Fills a node's history: looks each second whether a tick is over, and takes a sample of what was counted in it."""

from __future__ import annotations

from dynatwist.history.history import TICK_S, History, tick_at
from dynatwist.history.series import BLENDS, Buckets, Counted, sample_of
from dynatwist.membership.members import State
from dynatwist.metrics import REQUEST_BUCKETS_S, Durations

from ..context import Context

LATE_MS = 1500
"""A sample is there so long after the end of its tick: it is looked for once a second."""
_DURATIONS = {"fsync": "log_group_seconds", "lag": "replication_lag_seconds", "turns": "turn_cpu_seconds"}


class Sampler:
    """See the module. Ticks go by the wall clock as it was at the start, and by a clock that never jumps from then on.

    :ivar history: what was sampled.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._runtime = runtime = context.cluster.runtime
        self._ahead_ms = runtime.wall_ms() - 1000 * runtime.monotonic_s()
        self.history = History(BLENDS)
        self._before: Counted | None = None
        self._tick = 0

    def look(self) -> None:
        """A second has passed, or about that."""
        tick = tick_at(self._now_ms())
        if self._before is None:
            self._before, self._tick = counted(self._context), tick
        elif tick > self._tick:
            now = counted(self._context)
            self.history.add(tick - 1, sample_of(self._before, now))
            self._before, self._tick = now, tick

    @property
    def last_tick(self) -> int:
        """The last one of which all members have taken their samples by now."""
        return tick_at(self._now_ms() - LATE_MS) - 1

    def a_minute_ago(self, series: str) -> float:
        """What a figure was; not a number where the node was not running."""
        return self.history.view("10m", self.last_tick)[series][-1 - 60 // TICK_S]

    def _now_ms(self) -> int:
        return round(self._ahead_ms + 1000 * self._runtime.monotonic_s())


def counted(context: Context) -> Counted:
    """What a node has counted up to now."""
    runtime, metrics = context.cluster.runtime, context.metrics
    usage = runtime.usage()
    durations = {name: _buckets(metrics.durations(full)) for name, full in _DURATIONS.items()}
    return Counted(
        at_s=runtime.monotonic_s(),
        requests=metrics.counts(),
        events=context.hub.fans.handed_out,
        cpu_s=usage.cpu_s,
        durations=durations | {"requests": Buckets(REQUEST_BUCKETS_S, metrics.took())},
        gauges=_gauges(context, usage.memory_bytes),
    )


def _buckets(durations: Durations | None) -> Buckets:
    return Buckets(durations.bounds_s, durations.counts) if durations is not None else Buckets()


def _gauges(context: Context, memory_bytes: int) -> dict[str, float]:
    store, metrics, swim = context.cluster.store, context.metrics, context.cluster.peers.swim
    peers = swim.roster.everybody() if swim is not None else []
    return {
        "memory_bytes": memory_bytes,
        "memory_limit_bytes": context.limits.store_bytes,
        "connections": context.budget.connections.spent,
        "sse": metrics.sse_connections,
        "websockets": metrics.websocket_connections,
        "subscriptions": len(context.hub),
        "keys": store.live.total,
        "store_bytes": store.size_bytes,
        "hints": len(store.hints),
        "conflicts_kept": len(store.conflicts),
        "bytes_free": context.room.free_bytes,
        "members_alive": sum(one.state is State.ALIVE for one in peers),
    }
