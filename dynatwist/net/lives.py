"""Whether two processes run as one node: a machine was copied while it ran, or a data folder, and both copies run.

What a process says of itself only grows: its monotonic clock, and how far its log is durable. So its answer to a ping
that was sent after an earlier word had come says no less than that word did. One that says less comes from another
process, or from one that was set back to a snapshot, which is as bad: both name writes that others have the names of.
That process, and its twin, are refused until they are started anew, with another epoch.

A process is also refused once a later one of the same node was met: its data folder has been copied, since one folder
is locked by one process. So of two that were started by themselves the later one stays. Which one that is says the
count of starts, and of equal counts the order in which they were met. The order alone would not do: what a process has
sent before it died may be read after the next one was met.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from dynatwist.sometimes import sometimes

from .messages import Hello

EPOCHS_KEPT = 16
"""Of earlier processes of a node: more than anybody starts while one of them still runs."""


class Word(NamedTuple):
    """What a process has said of itself last on some connection.

    :ivar sent_ms: by its monotonic clock.
    :ivar position: how far its log was durable.
    """

    epoch: bytes
    sent_ms: int
    position: tuple[int, int]


class Lives:
    """See the module; remembers the processes of each node that were met, since this one was started."""

    def __init__(self) -> None:
        self._words: dict[bytes, Word] = {}
        self._present: dict[bytes, tuple[bytes, int]] = {}
        self._past: dict[bytes, deque[bytes]] = {}
        self._doubled: dict[bytes, bytes] = {}

    def refusal(self, hello: Hello) -> str | None:
        """Why a process is refused that says who it is, or ``None``."""
        node, epoch, address = hello.member.node_id, hello.epoch, hello.member.address
        if self._doubled.get(node) == epoch:
            return (
                f"two processes run as {address} (node {node.hex()}), or one was set back: was its machine copied, or "
                "resumed from a snapshot? Stop all but one, and start that one anew"
            )
        if epoch in self._past.get(node, ()) and hello.starts <= self._present[node][1]:
            return (
                f"a later process runs as {address} (node {node.hex()}): was its data folder copied? Stop one of them; "
                "a node of its own begins with an empty folder"
            )
        return None

    def met(self, hello: Hello) -> None:
        """A process that is not refused."""
        node = hello.member.node_id
        before = self._present.get(node)
        if before is not None and before[0] != hello.epoch:
            past = self._past.setdefault(node, deque(maxlen=EPOCHS_KEPT))
            if hello.epoch in past:
                sometimes("an earlier process of a node is heard of after a later one")
                past.remove(hello.epoch)
            past.append(before[0])
            self._words.pop(node, None)
        self._present[node] = hello.epoch, hello.starts

    def heard(self, node: bytes, word: Word) -> None:
        """What was said last on a connection that ends."""
        before = self._words.get(node)
        if node not in self._present or self._present[node][0] != word.epoch:
            return
        if before is not None:
            word = Word(word.epoch, max(word.sent_ms, before.sent_ms), max(word.position, before.position))
        self._words[node] = word

    def answered(self, node: bytes, word: Word) -> bool:
        """A ping was answered that was sent on a new connection, after all that was heard before.

        :returns: whether that was another process, which is refused from now on.
        """
        before = self._words.get(node)
        if before is None or before.epoch != word.epoch:
            return False
        if word.sent_ms >= before.sent_ms and word.position >= before.position:
            return False
        self._doubled[node] = word.epoch
        return True
