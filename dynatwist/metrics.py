"""Counters and histograms of one node, in a registry of its own, so that several nodes can live in one process.

What is counted with every request is kept in plain lists and handed to prometheus-client when it is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

METHODS = frozenset(("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "WS", "BAD"))
"""Counted by name, a websocket's operations and what is no request among them. All others are made up."""
_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""From half a millisecond, in which a GET is answered, to beyond the two seconds in which everything is."""


class Durations:
    """A histogram of durations.

    :param bounds_s: upper bounds of the buckets; one more is for whatever exceeds them.
    """

    __slots__ = ("_bounds_s", "_counts", "total_s")

    def __init__(self, bounds_s: tuple[float, ...] = _BUCKETS_S) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self.total_s = 0.0

    def add(self, took_s: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds_s, took_s)] += 1
        self.total_s += took_s

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """As prometheus-client wants it: each bucket with all below it."""
        below, buckets = 0, []
        for bound, count in zip((*map(str, self._bounds_s), "+Inf"), self._counts, strict=True):
            below += count
            buckets.append((bound, below))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self.total_s)


class Metrics(Collector):
    """See the module.

    :ivar total_requests: HTTP requests and websocket operations answered.
    :ivar lane_requests: those of them that took the fast lane.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.total_requests = 0
        self.lane_requests = 0
        self.sse_connections = 0
        self.websocket_connections = 0
        self._by_label: dict[tuple[str, int], int] = {}
        self._latency = Durations()
        self._turns: Durations | None = None
        self._gauges: dict[str, Gauge] = {}
        self.registry.register(self)

    def tell_turns(self, turns: Durations) -> None:
        """Give out the CPU time of the reactor's turns too, which somebody measures."""
        self._turns = turns

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """What prometheus-client asks for."""
        requests = CounterMetricFamily("dynakv_requests", "Requests answered", labels=["method", "status"])
        for (method, status), count in sorted(self._by_label.items()):
            requests.add_metric([method, str(status)], count)
        yield requests
        yield CounterMetricFamily("dynakv_fast_lane_requests", "Requests that took the fast lane", self.lane_requests)
        yield self._latency.family("dynakv_request_seconds", "Time from request to answer")
        if self._turns is not None:
            yield self._turns.family("dynakv_turn_cpu_seconds", "CPU time of a turn of the reactor")

    @property
    def average_latency_ms(self) -> float:
        """Mean time per request; 0 before the first."""
        return 1000 * self._latency.total_s / self.total_requests if self.total_requests else 0.0

    def observe(self, method: str, status: int, took_s: float) -> None:
        """Count a request."""
        self.total_requests += 1
        if method not in METHODS:
            method = "OTHER"
        self._by_label[method, status] = self._by_label.get((method, status), 0) + 1
        self._latency.add(took_s)

    def set_gauges(self, values: Mapping[str, float]) -> None:
        """Set present values, by name without prefix."""
        values = {**values, "sse_connections": self.sse_connections, "ws_connections": self.websocket_connections}
        for name, value in values.items():
            gauge = self._gauges.get(name)
            if gauge is None:
                gauge = self._gauges[name] = Gauge(f"dynakv_{name}", name.replace("_", " "), registry=self.registry)
            gauge.set(value)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
