"""What this node has heard of partitions that it does not own, from the feeds of their owners.

An owner's bookmark counts only while its stream is unbroken: since it said that it relays, or since what it had relayed
to nobody was fetched. What it relays counts at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from dynatwist.cluster.ownership import Ownership
from dynatwist.feed.heard import Heard, Part
from dynatwist.model.dots import DotSet
from dynatwist.model.record import Key, Record
from dynatwist.model.replica import Replica
from dynatwist.model.ring import partition_of
from dynatwist.sometimes import sometimes


class _Stream:
    __slots__ = ("clock", "generation", "lapse_ms")

    def __init__(self) -> None:
        self.clock = DotSet()
        self.generation = 0
        self.lapse_ms = 0


class Streams:
    """See the module.

    :param me: id of this node.
    """

    def __init__(self, me: bytes) -> None:
        self._me = me
        self._streams: dict[int, _Stream] = {}
        self._unbroken: set[bytes] = set()

    # Who is heard

    def breaks(self, node: bytes) -> None:
        """Something that a node announces may not reach this one, from now on."""
        self._unbroken.discard(node)

    def mend(self, node: bytes) -> None:
        """All that a node has announced has reached this one."""
        self._unbroken.add(node)

    def forget(self) -> None:
        """Nothing that was heard counts any more: listeners read afresh."""
        self._streams.clear()

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

    def take(self, node: bytes, heard: Heard, ownership: Ownership) -> None:
        """A bookmark of an owner, behind all events that it covers."""
        if node not in self._unbroken:
            return
        for partition, part in heard.parts():
            owners = ownership.owners(partition)
            if node in owners and self._me not in owners:
                self._join(partition, part, heard.lapse_ms)

    def _join(self, partition: int, part: Part, lapse_ms: int) -> None:
        stream = self._streams.get(partition)
        if stream is None:
            stream = self._streams[partition] = _Stream()
        stream.clock.join(part.clock)
        stream.generation = max(stream.generation, part.generation)
        stream.lapse_ms = max(stream.lapse_ms, lapse_ms)

    def own_no_more(self, replica: Replica, lapse_ms: int) -> None:
        """This node ceases to own a partition: it has announced what it held of it."""
        self._join(replica.number, Part(replica.clock, replica.generation), lapse_ms)

    def settle(self, replicas: Sequence[Replica], ownership: Ownership) -> None:
        """Forget what was heard of partitions that this node owns, once it holds all of that itself."""
        for partition, stream in list(self._streams.items()):
            replica = replicas[partition]
            if ownership.owns(partition) and replica.whole and replica.clock.covers_all(stream.clock):
                del self._streams[partition]

    def parts(self) -> dict[int, Part]:
        """What is known, by partition, as it is now."""
        return {number: Part(one.clock.copy(), one.generation) for number, one in self._streams.items()}

    @property
    def lapse_ms(self) -> int:
        """Until when ends were told in all of these partitions."""
        return min((stream.lapse_ms for stream in self._streams.values()), default=1 << 62)
