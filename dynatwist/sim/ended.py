"""Which records have ended by themselves, as far as listeners can have been told."""

from __future__ import annotations

from dynatwist.model.record import Record

from .cluster import SimCluster

TOLD_MS = 3000
"""A node buries what is over a few times a second, and tells it once that is durable."""


class Ended:
    """See the module. Whether the lapse of some node is right, others judge."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self._latest_ms = 0

    def has(self, record: Record) -> bool:
        """Whether any node may have found that a record is over."""
        if record.value is None or not record.expires_ms:
            return False
        if record.expires_ms > self._latest_ms:
            lapses_ms = (core.store.lapse_ms for core in self._cluster.cores())
            self._latest_ms = max(self._latest_ms, *lapses_ms)
        return record.expires_ms <= self._latest_ms

    def is_long_over(self, record: Record) -> bool:
        """Whether all nodes that run have found so a while ago."""
        lapses_ms = [core.store.lapse_ms for core in self._cluster.cores()]
        over_ms = record.expires_ms + TOLD_MS
        return record.value is not None and record.expires_ms > 0 and bool(lapses_ms) and over_ms <= min(lapses_ms)
