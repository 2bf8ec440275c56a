"""Collecting tombstones, in two steps, so that nothing deleted returns.

First every registered owner's durable clock must be known to cover the tombstone; then the owner notes J, the union
of those clocks. The tombstone is dropped when every owner's durable clock covers J (so no owner can still be about to
send what the tombstone deleted) and the grace period, counted from the noting, has passed; it is longer where writes
have names that still count (see `dynatwist.model.named`). A member that does not own the partition must hold nothing
of it: one that owned it until lately may still hand off a record that the tombstone has beaten, and nobody else has
met.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dynatwist.model.dots import Dot, DotSet
from dynatwist.model.named import KEPT_MS
from dynatwist.model.record import Key
from dynatwist.model.replica import Replica

PAGE_RECORDS = 256
"""Records looked at, or dropped, in one turn of the reactor: about a millisecond's work."""


@dataclass(frozen=True, slots=True)
class _Noted:
    registry_version: int
    at_s: float
    union: DotSet
    has_names: bool
    entries: tuple[tuple[Key, Dot], ...]


class Collection:
    """The collection of one partition's tombstones on one owner.

    :param named_s: how long tombstones that remember named writes are kept at least.
    """

    __slots__ = ("_clocks", "_empty", "_named_s", "_noted")

    def __init__(self, named_s: float = KEPT_MS / 1000) -> None:
        self._named_s = named_s
        self._clocks: dict[bytes, DotSet] = {}
        self._empty: set[bytes] = set()
        self._noted: _Noted | None = None

    def know(self, owner: bytes, durable_clock: DotSet) -> None:
        """Take note of an owner's durable clock, as it said itself."""
        self._clocks[owner] = durable_clock

    def know_empty(self, member: bytes) -> None:
        """Take note that a member that is no owner holds nothing."""
        self._empty.add(member)

    def begin(self) -> None:
        """A new look at all members: what they said before does not count, one may have been damaged since."""
        self._clocks.clear()
        self._empty.clear()

    def forget_clocks(self) -> None:
        """Start over: the registry changed, or an owner was damaged."""
        self.begin()
        self._noted = None

    def is_waiting(self, now_s: float, grace_s: float) -> bool:
        """Whether all there is to do is to wait for a grace period to pass; nobody needs to be asked."""
        return self._noted is not None and now_s - self._noted.at_s < self._wait_s(self._noted, grace_s)

    def _wait_s(self, noted: _Noted, grace_s: float) -> float:
        return max(grace_s, self._named_s) if noted.has_names else grace_s

    def steps(
        self,
        replica: Replica,
        owners: tuple[bytes, ...],
        members: frozenset[bytes],
        registry_version: int,
        lapse_ms: int,
        now_s: float,
        grace_s: float,
    ) -> Iterator[list[tuple[Key, Dot]]]:
        """What may be dropped now; call it only while the replica is whole and no registry change runs.

        It comes in pages, for each of which a bounded number of records was looked at; some are empty. Give it up when
        the registry changes, or the replica is reset, between two pages: nothing is noted then.

        :param owners: all registered owners, this node too; each must have been told with `know`.
        :param members: all registered nodes; those that are no owners must have been told with `know_empty`.
        :param lapse_ms: the time that is over, which decides what has expired.
        :param now_s: a clock that never jumps, by which the grace period goes.
        :returns: (key, dot) pairs to drop, each with G raised to its lineage's generation + 1.
        """
        if self._noted is not None and self._noted.registry_version != registry_version:
            self.forget_clocks()
        if not self._clocks.keys() >= set(owners) or not self._empty >= members.difference(owners):
            return
        clocks = [self._clocks[owner] for owner in owners]
        if self._noted is None:
            yield from self._note(replica, clocks, registry_version, lapse_ms, now_s)
            return
        noted = self._noted
        if now_s - noted.at_s < self._wait_s(noted, grace_s) or not all(
            clock.covers_all(noted.union) for clock in clocks
        ):
            return
        self._noted = None
        for start in range(0, len(noted.entries), PAGE_RECORDS):
            page = noted.entries[start : start + PAGE_RECORDS]
            yield [(key, dot) for key, dot in page if replica.records.dot(key) == dot]

    def _note(
        self, replica: Replica, clocks: list[DotSet], registry_version: int, lapse_ms: int, now_s: float
    ) -> Iterator[list[tuple[Key, Dot]]]:
        union = DotSet()
        for clock in clocks:
            union.join(clock)
        entries: list[tuple[Key, Dot]] = []
        has_names = False
        keys = list(replica.tombstones)
        for start in range(0, len(keys), PAGE_RECORDS):
            for key in keys[start : start + PAGE_RECORDS]:
                record = replica.records.get(key)
                if (
                    record is not None
                    and record.is_dead(lapse_ms)
                    and all(clock.covers(record.dot) for clock in clocks)
                ):
                    entries.append((key, record.dot))
                    has_names = has_names or bool(record.named)
            yield []
        if entries:
            self._noted = _Noted(registry_version, now_s, union, has_names, tuple(entries))
