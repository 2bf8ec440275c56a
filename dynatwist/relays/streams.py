"""What this node has heard of partitions that it does not own, from the feeds of their owners.

An owner's bookmark counts only while its stream is unbroken: since it said that it relays, or since what it had relayed
to nobody was fetched; and only for partitions that it holds all of. For others its bookmark says what it was told
itself. What it relays counts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dynatwist.cluster.ownership import Ownership
from dynatwist.feed.heard import Heard
from dynatwist.model.dots import DotSet
from dynatwist.model.record import Key, Record
from dynatwist.model.replica import Replica
from dynatwist.model.ring import partition_of
from dynatwist.sometimes import sometimes


class _Stream:
    __slots__ = ("clock", "lapses_ms")

    def __init__(self) -> None:
        self.clock = DotSet()
        self.lapses_ms: dict[bytes, int] = {}


class Streams:
    """See the module.

    :param me: id of this node.
    :param is_whole_at: whether a node, an owner of a partition before any change under way, holds all of that.
    """

    def __init__(self, me: bytes, is_whole_at: Callable[[bytes, int], bool]) -> None:
        self._me = me
        self._is_whole_at = is_whole_at
        self._streams: dict[int, _Stream] = {}
        self._unbroken: set[bytes] = set()
        self._waiting: dict[bytes, Heard] = {}

    # Who is heard

    def breaks(self, node: bytes) -> None:
        """Something that a node announces may not reach this one, from now on."""
        self._unbroken.discard(node)

    def mend(self, node: bytes, ownership: Ownership) -> bool:
        """All that a node has announced has reached this one, also what a bookmark covers that came meanwhile.

        :returns: whether that says anything new.
        """
        self._unbroken.add(node)
        waiting = self._waiting.pop(node, None)
        return waiting is not None and self.take(node, waiting, ownership)

    # What is heard

    def note(self, key: Key, record: Record, ownership: Ownership) -> None:
        """An owner has relayed a record. While members change, to another owner perhaps, who does not hold it yet."""
        partition = partition_of(*key)
        stream = self._streams.get(partition)
        if stream is None and ownership.owns(partition):
            sometimes("an owner is told what it does not hold yet")
            stream = self._streams[partition] = _Stream()
        if stream is not None:
            stream.clock.add(record.dot)

    def has_any_of(self, partition: int) -> bool:
        """Whether listeners here may have been told what this node does not hold."""
        return partition in self._streams

    def has(self, key: Key, record: Record) -> bool:
        """Whether a record was told to listeners here before this node held it, or something newer was."""
        stream = self._streams.get(partition_of(*key))
        return stream is not None and stream.clock.covers(record.dot)

    def has_end(self, key: Key, record: Record) -> bool:
        """Whether a record was told to have ended by itself."""
        return record.expires_ms <= self.lapse_ms and self.has(key, record)

    def is_repeated(self, node: bytes, key: Key, record: Record, *, is_over: bool) -> bool:
        """Whether an owner relays what it has only just come to hold, and listeners here know that already: some from
        what was held elsewhere, which is remembered nowhere but in the clock."""
        if self._is_whole_at(node, partition_of(*key)):
            return False
        return self.has_end(key, record) if is_over else self.has(key, record)

    def take(self, node: bytes, heard: Heard, ownership: Ownership) -> bool:
        """A bookmark of an owner, behind all events that it covers.

        :returns: whether it says anything new.
        """
        if node not in self._unbroken:
            self._waiting[node] = heard
            return False
        is_news = False
        for partition, clock in heard.parts():
            if not ownership.owns(partition) and self._is_whole_at(node, partition):
                is_news |= self._join(partition, node, clock, heard.lapse_ms)
        return is_news

    def _join(self, partition: int, node: bytes, clock: DotSet, lapse_ms: int) -> bool:
        stream = self._streams.get(partition)
        if stream is None:
            stream = self._streams[partition] = _Stream()
        if node != self._me:
            stream.lapses_ms.pop(self._me, None)
        stream.lapses_ms[node] = lapse_ms
        return stream.clock.join(clock)

    def forget(self, node: bytes) -> None:
        """A node is no member any more: nobody waits for it to tell of ends."""
        self._unbroken.discard(node)
        self._waiting.pop(node, None)
        for stream in self._streams.values():
            if len(stream.lapses_ms) > 1:
                stream.lapses_ms.pop(node, None)

    def own_no_more(self, replica: Replica, lapse_ms: int) -> None:
        """This node ceases to own a partition: it has announced what it held of it."""
        self._join(replica.number, self._me, replica.clock, lapse_ms)

    def settle(self, replicas: Sequence[Replica], ownership: Ownership) -> None:
        """Forget what was heard of partitions that this node owns, once it holds all of that itself."""
        for partition, stream in list(self._streams.items()):
            replica = replicas[partition]
            if ownership.owns(partition) and replica.whole and replica.clock.covers_all(stream.clock):
                del self._streams[partition]

    def parts(self) -> dict[int, DotSet]:
        """What is known, by partition, as it is now."""
        return {number: one.clock.copy() for number, one in self._streams.items()}

    @property
    def lapse_ms(self) -> int:
        """Until when ends were told in all of these partitions, by whichever owner has told least."""
        lapses = (lapse_ms for stream in self._streams.values() for lapse_ms in stream.lapses_ms.values())
        return min(lapses, default=1 << 62)
