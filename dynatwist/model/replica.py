"""One node's copy of one partition: records, clock, generation and digests, with the rules by which they change.

Every change is one of five, and each is what the log records: a merge, a joined clock, a drop, a reset, and becoming
whole. Nothing here knows of disk or network; what is durable is the store's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from hashlib import blake2b
from typing import NamedTuple

from dynatwist.heart import Succession

from .digest import BucketDigests, bucket_of
from .dots import Actor, Dot, DotSet
from .lease import ENDED_MS
from .record import Key, Record, beats, had_seen
from .records import Packed, Records, pack


class Outcome(Enum):
    """What a merge did."""

    COVERED = "covered"
    """The clock had the dot: nothing changed."""
    LOST = "lost"
    """The dot is new, the held record stays."""
    WON = "won"
    """The record is held now."""


class Merge(NamedTuple):
    """The outcome of a merge.

    :ivar loser: the other record of a concurrent pair, when the pair was concurrent.
    """

    outcome: Outcome
    loser: Record | None = None


_WON = Merge(Outcome.WON)


class Replica:
    """See the module.

    :ivar whole: whether it holds all that a replica should; else it coordinates nothing, answers no majority read and
        drops no tombstone.
    :ivar aside: records kept from before damage, to be merged once the replica is whole again.
    :ivar tombstones: keys whose record is dead, as far as this replica was told (see `end`), the first one first.
    :ivar ends: when the other records end that do so by themselves.
    :ivar walks: that are under way; see `BucketWalk`.
    """

    __slots__ = (
        "_summary",
        "aside",
        "clock",
        "digests",
        "ends",
        "generation",
        "issued",
        "number",
        "records",
        "resets",
        "seen",
        "tombstones",
        "walks",
        "whole",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.records = Records()
        self.seen: dict[Key, tuple[Dot, ...]] = {}
        self.clock = DotSet()
        self.generation = 0
        self.digests = BucketDigests()
        self.tombstones: dict[Key, None] = {}
        self.ends: dict[Key, int] = {}
        self.whole = True
        self.aside = Records()
        self.issued = 0
        self.resets = 0
        self.walks: list[BucketWalk] = []
        self._summary: bytes | None = None

    def next_dot(self, actor: Actor) -> Dot:
        """A dot never issued before. The count outlives a `reset`, and a new process is another actor."""
        self.issued += 1
        return Dot(actor, self.issued)

    def merge(self, key: Key, record: Record, packed: Packed | None = None) -> Merge:
        """Take in a record, from whomever it comes. A dot that the clock covers wins nothing.

        :param packed: the same record, when it is packed already.
        """
        if not self.clock.add(record.dot):
            return Merge(Outcome.COVERED)
        self._summary = None
        if record.lineage.generation > self.generation:
            self.generation = record.lineage.generation
        held = self.records.get(key)
        if held is None:
            self._hold(key, record, None, packed)
            return _WON
        saw_it = had_seen(record, held.dot)
        concurrent = not saw_it and not had_seen(held, record.dot)
        if beats(record, held):
            self._hold(key, record, held.dot, packed)
            if not saw_it or key in self.seen:
                self._note_seen(key, record, held.dot)
            return Merge(Outcome.WON, held) if concurrent else _WON
        self._note_seen(key, held, record.dot)
        return Merge(Outcome.LOST, record if concurrent else None)

    def succeed(self, key: Key, packed: Packed, found: Succession, record: Record | None) -> bool:
        """Merge a record that comes to be held in the place of what is held, where that is all that `merge` does.

        :param packed: the record.
        :param found: what `heart.succession` says of it and what is held.
        :param record: the same, where somebody has unpacked it.
        :returns: whether it is held now; else nothing was done, and `merge` is to look at it.
        """
        dot, generation, _, _, _, bucket, turned = found
        if key in self.seen or not self.clock.add(dot):
            return False
        self._summary = None
        if generation > self.generation:
            self.generation = generation
        if self.walks and key not in self.records:
            self._note_new(key)
        self.digests.turn(bucket, turned)
        if record is not None:
            self.records.hold(key, record, packed)
        else:
            self.records.keep(key, packed)
        return True

    def _hold(self, key: Key, record: Record, held: Dot | None, packed: Packed | None = None) -> None:
        if self.walks and held is None:
            self._note_new(key)
        self.digests.change(key, held, record.dot)
        self.records.hold(key, record, packed if packed is not None else pack(record))
        if record.value is None or record.expires_ms == ENDED_MS:
            self.tombstones[key] = None
            self.ends.pop(key, None)
            return
        self.tombstones.pop(key, None)
        if record.expires_ms:
            self.ends[key] = record.expires_ms
        else:
            self.ends.pop(key, None)

    def _note_new(self, key: Key) -> None:
        for walk in self.walks:
            walk.note(key)

    def end(self, key: Key) -> None:
        """The record of a key is over: it is a tombstone from now on, with the same dot."""
        if self.ends.pop(key, None) is not None:
            self.tombstones[key] = None

    def lose(self, key: Key, dot: Dot) -> bool:
        """Note the dot of a record that lost against the one that is held, as `merge` did when it came.

        :returns: whether the dot is new.
        """
        if not self.clock.add(dot):
            return False
        self._summary = None
        held = self.records.get(key)
        if held is not None:
            self._note_seen(key, held, dot)
        return True

    def comes_back(self, key: Key, dot: Dot) -> bool:
        """A record was merged that may be among those that are set aside: there it is no more.

        :returns: whether it was.
        """
        if self.aside.dot(key) != dot:
            return False
        del self.aside[key]
        return True

    def _note_seen(self, key: Key, winner: Record, loser: Dot) -> None:
        """Remember dots merged besides the winner's own past; they enter the next write's version vector."""
        seen = self.seen.get(key)
        if seen is None and had_seen(winner, loser):
            return
        if seen is not None and loser in seen:  # a cold save has it, and the log that is replayed over it too
            return
        extra = (*(seen or ()), loser)
        left = tuple(dot for dot in extra if not had_seen(winner, dot))[-16:]
        if left:
            self.seen[key] = left
        else:
            self.seen.pop(key, None)

    def take(self, key: Key, record: Record, packed: Packed | None = None) -> bool:
        """Hold a record whose dot the clock may cover already: digest comparison's last resort, and recovery.

        :returns: whether it is held now and was not before.
        """
        self._summary = None
        self.clock.add(record.dot)
        if record.lineage.generation > self.generation:
            self.generation = record.lineage.generation
        held = self.records.get(key)
        if held is not None and not beats(record, held):
            return False
        self._hold(key, record, held.dot if held is not None else None, packed)
        return True

    def join(self, clock: DotSet, generation: int) -> bool:
        """Adopt a peer's clock and G, after everything that the peer still held was merged.

        :returns: whether anything changed.
        """
        self._summary = None
        raised = generation > self.generation
        self.generation = max(self.generation, generation)
        return self.clock.join(clock) or raised

    def drop(self, key: Key, dot: Dot, generation: int) -> bool:
        """Forget a record that is held with exactly this dot, and raise G.

        :returns: whether it was held.
        """
        self._summary = None
        self.generation = max(self.generation, generation)
        if self.records.dot(key) != dot:
            return False
        self.digests.change(key, dot, None)
        del self.records[key]
        self.seen.pop(key, None)
        self.tombstones.pop(key, None)
        self.ends.pop(key, None)
        return True

    def reset(self, whole: bool) -> Records:
        """Start over, empty, with an empty clock and G.

        :returns: what was held.
        """
        self.resets += 1
        self._summary = None
        held, self.records = self.records, Records()
        self.seen.clear()
        self.tombstones.clear()
        self.ends.clear()
        self.clock = DotSet()
        self.generation = 0
        self.digests = BucketDigests()
        self.whole = whole
        self.aside = Records()
        return held

    def count_as_whole(self, whole: bool) -> bool:
        """Count as whole, or not, from now on; what is still set aside is forgotten.

        :returns: whether anything changed.
        """
        is_change = self.whole != whole or bool(self.aside)
        self.whole, self.aside = whole, Records()
        return is_change

    def set_aside(self) -> Records:
        """Damage: keep what verified out of the way, clock and records together, and start over not whole.

        Where something of a key is out of the way already, the greater one stays: a log is replayed over a save of
        later, and what was fetched meanwhile may be less.

        :returns: what was held.
        """
        records, aside = self.records, self.aside.copy()
        kept = [(key, other) for key, other in aside.items() if key in records and beats(other, records[key])]
        aside.update_packed(records)
        for key, other in kept:
            aside[key] = other
        self.reset(whole=False)
        self.aside = aside
        return records

    def in_buckets(self, numbers: Iterable[int]) -> list[tuple[Key, Dot]]:
        """The (key, dot) entries of some digest buckets."""
        walk = BucketWalk(self, numbers)
        walk.step(len(self.records))
        return walk.entries()

    def summary(self) -> bytes:
        """Eight bytes that are equal on replicas with equal clock, G and records."""
        if self._summary is None:
            text = repr((self.clock.to_wire(), self.generation, self.digests.root)).encode()
            self._summary = blake2b(text, digest_size=8, person=b"summary").digest()
        return self._summary


class BucketWalk:
    """Finds the entries of some digest buckets, a few at a time, however many records there are.

    To be stepped through to its end, which ends it. Keys that come to be held meanwhile are noted.
    """

    def __init__(self, replica: Replica, numbers: Iterable[int]) -> None:
        self._replica = replica
        self._wanted = frozenset(numbers)
        self._left = list(replica.records)
        self._found: dict[Key, None] = {}
        replica.walks.append(self)

    def note(self, key: Key) -> None:
        """A key is held that was not."""
        if bucket_of(key) in self._wanted:
            self._found[key] = None

    def step(self, count: int) -> bool:
        """Look at some more keys.

        :returns: whether all were looked at.
        """
        at = max(0, len(self._left) - count)
        for key in self._left[at:]:
            self.note(key)
        del self._left[at:]
        return not self._left

    def entries(self) -> list[tuple[Key, Dot]]:
        """The (key, dot) entries of this instant; ends the walk."""
        self._replica.walks.remove(self)
        dots = ((key, self._replica.records.dot(key)) for key in self._found)
        return [(key, dot) for key, dot in dots if dot is not None]
