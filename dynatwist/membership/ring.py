"""Whom to probe, and whom to tell (SWIM, section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .actions import Random

FEW = 32
"""Up to so many members all are looked at; it is as quick as drawing."""


class ProbeRing:
    """The other members in an order of their own: each is probed once a round, a new one at a random place of it; so a
    dead one is probed within two rounds."""

    __slots__ = ("_at", "_nodes", "_random")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._nodes: list[bytes] = []
        self._at = 0

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, node: bytes) -> None:
        """A new member, somewhere in what is left of this round, or at the end."""
        self._nodes.append(node)
        last = len(self._nodes) - 1
        place = self._random.randrange(min(self._at, last), last + 1)
        self._nodes[last], self._nodes[place] = self._nodes[place], node

    def fill(self, nodes: Iterable[bytes]) -> None:
        """Start over with these members."""
        self._nodes = list(nodes)
        self._random.shuffle(self._nodes)
        self._at = 0

    def remove(self, node: bytes) -> None:
        """A member that is forgotten."""
        place = self._nodes.index(node)
        del self._nodes[place]
        self._at -= place < self._at

    def next(self, wanted: Callable[[bytes], bool]) -> bytes | None:
        """The next member in the round of whom something is true."""
        for _ in range(len(self._nodes)):
            if self._at >= len(self._nodes):
                self._random.shuffle(self._nodes)
                self._at = 0
            node = self._nodes[self._at]
            self._at += 1
            if wanted(node):
                return node
        return None

    def choose(self, count: int, wanted: Callable[[bytes], bool]) -> list[bytes]:
        """Some different members, at random, of whom something is true; all of them when there are no more."""
        if len(self._nodes) > FEW:  # mostly all are wanted, and a few draws are cheaper than a look at thousands
            drawn = dict.fromkeys(self._random.sample(self._nodes, min(len(self._nodes), 4 * count)))
            found = [node for node in drawn if wanted(node)][:count]
            if len(found) == count:
                return found
        found = [node for node in self._nodes if wanted(node)]
        return self._random.sample(found, min(count, len(found)))
