"""Counters and histograms of one node, in a registry of its own, so that several nodes can live in one process."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """See the module.

    :ivar total_requests: HTTP requests and websocket operations answered.
    :ivar total_latency_s: the sum of the times they took.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.total_requests = 0
        self.total_latency_s = 0.0
        self.sse_connections = 0
        self.websocket_connections = 0
        self._requests = Counter("dynakv_requests", "Requests answered", ["method", "status"], registry=self.registry)
        self._latency = Histogram(
            "dynakv_request_seconds", "Time from request to answer", buckets=_BUCKETS, registry=self.registry
        )
        self._gauges: dict[str, Gauge] = {}
        self._by_label: dict[tuple[str, int], Counter] = {}

    @property
    def average_latency_ms(self) -> float:
        """Mean time per request; 0 before the first."""
        return 1000 * self.total_latency_s / self.total_requests if self.total_requests else 0.0

    def observe(self, method: str, status: int, took_s: float) -> None:
        """Count a request."""
        self.total_requests += 1
        self.total_latency_s += took_s
        child = self._by_label.get((method, status))
        if child is None:
            child = self._by_label[method, status] = self._requests.labels(method, str(status))
        child.inc()
        self._latency.observe(took_s)

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
