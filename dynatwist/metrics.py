"""Counters and histograms of one node, in a registry of its own, so that several nodes can live in one process.

What is counted with every request is kept in plain lists and handed to prometheus-client when it is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .figures import BY_NAME, Figure, Kind

Values = float | Mapping[str, float]
"""Of one figure: a number, or numbers by label."""

METHODS = frozenset(("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "WS", "BAD"))
"""Counted by name, a websocket's operations and what is no request among them. All others are made up."""
REQUEST_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""From half a millisecond, in which a GET is answered, to beyond the two seconds in which everything is."""
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0)
"""How old writes are when they come to another owner: milliseconds, or as long as that was away."""
ROUND_BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
"""A comparison with another owner takes milliseconds where nothing differs, and seconds where much does."""


class Durations:
    """A histogram of durations.

    :param bounds_s: upper bounds of the buckets; one more is for whatever exceeds them.
    """

    __slots__ = ("_bounds_s", "_counts", "total_s")

    def __init__(self, bounds_s: tuple[float, ...] = REQUEST_BUCKETS_S) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self.total_s = 0.0

    def add(self, took_s: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds_s, took_s)] += 1
        self.total_s += took_s

    @property
    def bounds_s(self) -> tuple[float, ...]:
        """Upper bounds of the buckets."""
        return self._bounds_s

    @property
    def counts(self) -> tuple[int, ...]:
        """How many there are in each bucket, as of now; the last one has whatever exceeds the bounds."""
        return tuple(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bound and count, each bucket with all below it."""
        bounds = (*map(str, self._bounds_s), "+Inf")
        return list(zip(bounds, accumulate(self._counts), strict=True))


class Metrics(Collector):
    """See the module.

    :param version: of this program.
    :ivar total_requests: HTTP requests and websocket operations answered.
    :ivar lane_requests: those of them that took the fast lane.
    """

    def __init__(self, version: str = "") -> None:
        self.registry = CollectorRegistry()
        self.total_requests = 0
        self.lane_requests = 0
        self.sse_connections = 0
        self.websocket_connections = 0
        self._by_label: dict[tuple[str, int], int] = {}
        self._by_route: dict[tuple[str, str], Durations] = {}
        self._others: list[tuple[str, str, Durations]] = []
        self._values: dict[str, Values] = {}
        Info("dynakv_build", "What this node runs", registry=self.registry).info({"version": version})
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(self)

    def tell_durations(self, name: str, text: str, durations: Durations) -> None:
        """Give out a histogram too, which somebody measures.

        :param name: without ``dynakv_``; its unit is seconds.
        """
        self._others.append((f"dynakv_{name}", text, durations))

    def durations(self, name: str) -> Durations | None:
        """A histogram that was given out by `tell_durations`, if it was."""
        return next((one for full, _, one in self._others if full == f"dynakv_{name}"), None)

    def tell(self, values: Mapping[str, Values]) -> None:
        """Present values, by names of `FIGURES`; a mapping, by label, where a figure has one."""
        self._values |= values

    def collect(self) -> Iterator[Metric]:
        """What prometheus-client asks for."""
        requests = CounterMetricFamily("dynakv_requests", "Requests answered", labels=["method", "status"])
        for (method, status), count in sorted(self._by_label.items()):
            requests.add_metric([method, str(status)], count)
        yield requests
        yield CounterMetricFamily("dynakv_fast_lane_requests", "Requests that took the fast lane", self.lane_requests)
        seconds = HistogramMetricFamily(
            "dynakv_request_seconds", "Time from request to answer", labels=["route", "level"]
        )
        for labels, durations in sorted(self._by_route.items()):
            seconds.add_metric(labels, durations.buckets(), durations.total_s)
        yield seconds
        for name, text, durations in self._others:
            yield HistogramMetricFamily(name, text, durations.buckets(), durations.total_s)
        values = self._values | {
            "sse_connections": self.sse_connections,
            "websocket_connections": self.websocket_connections,
        }
        yield from (_family(BY_NAME[name], value) for name, value in values.items())

    @property
    def average_latency_ms(self) -> float:
        """Mean time per request; 0 before the first."""
        total_s = sum(durations.total_s for durations in self._by_route.values())
        return 1000 * total_s / self.total_requests if self.total_requests else 0.0

    def observe(self, method: str, status: int, took_s: float, route: str = "", level: str = "") -> None:
        """Count a request.

        :param route: the handler, of which there is a fixed number; empty for what had none.
        :param level: of consistency, where the route has one.
        """
        self.total_requests += 1
        if method not in METHODS:
            method = "OTHER"
        self._by_label[method, status] = self._by_label.get((method, status), 0) + 1
        durations = self._by_route.get((route, level))
        if durations is None:
            durations = self._by_route[route, level] = Durations()
        durations.add(took_s)

    def counts(self) -> dict[tuple[str, int], int]:
        """Requests so far, by method and status."""
        return dict(self._by_label)

    def took(self) -> tuple[int, ...]:
        """How long those took that had a handler, in the buckets of `REQUEST_BUCKETS_S`."""
        counts = [one.counts for (route, _), one in self._by_route.items() if route]
        return tuple(map(sum, zip(*counts, strict=True))) or (0,) * (len(REQUEST_BUCKETS_S) + 1)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)


def _family(figure: Figure, values: Values) -> Metric:
    kind = CounterMetricFamily if figure.kind is Kind.COUNTER else GaugeMetricFamily
    name = f"dynakv_{figure.name}"
    if not isinstance(values, Mapping):
        return kind(name, figure.text, values)
    family = kind(name, figure.text, labels=[figure.label])
    for label, value in values.items():
        family.add_metric([label], value)
    return family
