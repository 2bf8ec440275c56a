"""The series of a node's history, and what one sample of each is: from what was counted before and after a step."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import nan

from .ring import Blend

BY_METHOD = {
    "GET": "requests_get",
    "PUT": "requests_put",
    "PATCH": "requests_patch",
    "DELETE": "requests_delete",
    "WS": "websocket_operations",
}
OTHER = "requests_other"
ANSWERS = {2: "answers_2xx", 4: "answers_4xx", 5: "answers_5xx"}
RATES = (*BY_METHOD.values(), OTHER, *ANSWERS.values(), "events", "cpu")
"""A second; `cpu` is the share of a core."""
QUANTILES: Mapping[str, tuple[str, float]] = {
    "p50_ms": ("requests", 0.5),
    "p99_ms": ("requests", 0.99),
    "fsync_p99_ms": ("fsync", 0.99),
    "replication_lag_p99_ms": ("lag", 0.99),
    "turn_p99_ms": ("turns", 0.99),
}
"""Of which durations each is which quantile."""
GAUGES = (
    "memory_bytes",
    "memory_limit_bytes",
    "connections",
    "sse",
    "websockets",
    "subscriptions",
    "keys",
    "store_bytes",
    "hints",
    "conflicts_kept",
    "bytes_free",
    "members_alive",
)
BLENDS = dict.fromkeys((*RATES, *GAUGES), Blend.MEAN) | dict.fromkeys(QUANTILES, Blend.MAX)


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram as of some moment.

    :ivar counts: in each bucket; the last one has whatever exceeds the bounds.
    """

    bounds_s: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a node has counted up to some moment.

    :ivar at_s: when that was, by a clock that never jumps.
    :ivar requests: by method and status.
    :ivar events: handed out to listeners.
    :ivar durations: by the names in `QUANTILES`.
    :ivar gauges: by the names in `GAUGES`, as of now.
    """

    at_s: float
    requests: Mapping[tuple[str, int], int]
    events: int
    cpu_s: float
    durations: Mapping[str, Buckets]
    gauges: Mapping[str, float]


def sample_of(before: Counted, after: Counted) -> dict[str, float]:
    """A sample of each series; not a number where there is nothing to tell of."""
    took_s = after.at_s - before.at_s
    found = dict.fromkeys(RATES, 0.0)
    for name, count in _grown(before, after):
        found[name] += count / took_s if took_s > 0 else nan
    for name, (durations, quantile) in QUANTILES.items():
        was, now = before.durations.get(durations, Buckets()), after.durations.get(durations, Buckets())
        found[name] = 1000 * quantile_s(was, now, quantile)
    return found | dict(after.gauges)


def _grown(before: Counted, after: Counted) -> Iterator[tuple[str, float]]:
    """By how much what only grows has grown."""
    yield "events", after.events - before.events
    yield "cpu", after.cpu_s - before.cpu_s
    for (method, status), count in after.requests.items():
        more = count - before.requests.get((method, status), 0)
        yield BY_METHOD.get(method, OTHER), more
        if status // 100 in ANSWERS:
            yield ANSWERS[status // 100], more


def quantile_s(before: Buckets, after: Buckets, quantile: float) -> float:
    """A quantile of the durations that came between, as Prometheus reckons it: evenly spread within a bucket; those
    beyond the last bound count as that. Not a number where there were none."""
    was = before.counts if before.bounds_s == after.bounds_s else (0,) * len(after.counts)
    counts = [now - then for now, then in zip(after.counts, was, strict=True)]
    upto = list(accumulate(counts))
    if upto[-1] <= 0 or not after.bounds_s:
        return nan
    rank = quantile * upto[-1]
    at = bisect_left(upto, rank)
    if at >= len(after.bounds_s):
        return after.bounds_s[-1]
    low_s = after.bounds_s[at - 1] if at else 0.0
    below = upto[at - 1] if at else 0
    return low_s + (after.bounds_s[at] - low_s) * (rank - below) / counts[at]
