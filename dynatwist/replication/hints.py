"""Hints: which keys a node missed while it was away.

A hint names a key, never a record: what is sent at replay is the record held then, or nothing at all. Hints are an
accelerator; one that is dropped because the queue is full costs time, not data, since anti-entropy covers it.
"""

from __future__ import annotations

from dynatwist.model.record import Key

MAX_HINTS_PER_NODE = 100_000
"""Of a node that is away; beyond it rounds find by themselves what it lacks."""
MAX_HINT_BYTES_PER_NODE = 16 << 20
"""Of the keys that are named, which may have a kilobyte each; usual ones are so short that the count is met first."""


class HintQueues:
    """The hints for every node, oldest first, each key once; bounded for each node in count and in bytes."""

    def __init__(self, limit: int = MAX_HINTS_PER_NODE, limit_bytes: int = MAX_HINT_BYTES_PER_NODE) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._queues: dict[bytes, dict[Key, None]] = {}
        self._bytes: dict[bytes, int] = {}
        self.dropped = 0

    def add(self, node: bytes, key: Key) -> bool:
        """Note a missed key.

        :returns: whether the hint is new (and is to be logged).
        """
        queue = self._queues.setdefault(node, {})
        if key in queue:
            return False
        size_bytes = self._bytes.get(node, 0) + _size(key)
        if len(queue) >= self._limit or size_bytes > self._limit_bytes:
            self.dropped += 1
            return False
        queue[key] = None
        self._bytes[node] = size_bytes
        return True

    def next(self, node: bytes, count: int) -> list[Key]:
        """The oldest hints for a node, at most `count`; they stay until `done`."""
        queue = self._queues.get(node, {})
        return [key for key, _ in zip(queue, range(count), strict=False)]

    def done(self, node: bytes, keys: list[Key]) -> bool:
        """The node has these keys now.

        :returns: whether there was a hint of any.
        """
        queue = self._queues.get(node)
        if queue is None:
            return False
        count = len(queue)
        for key in keys:
            if key in queue:
                del queue[key]
                self._bytes[node] -= _size(key)
        is_change = len(queue) < count
        if not queue:
            self.forget(node)
        return is_change

    def forget(self, node: bytes) -> bool:
        """The node will not return.

        :returns: whether there were hints for it.
        """
        self._bytes.pop(node, None)
        return self._queues.pop(node, None) is not None

    def nodes(self) -> list[bytes]:
        """Who has hints."""
        return sorted(self._queues)

    def all(self) -> dict[bytes, list[Key]]:
        """Everything, for a cold save."""
        return {node: list(queue) for node, queue in self._queues.items()}

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())


def _size(key: Key) -> int:
    return len(key[0]) + len(key[1])
