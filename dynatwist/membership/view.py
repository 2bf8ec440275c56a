"""All members as one node sees them, and digests by which two nodes find out where they differ.

What is known of a member is the greatest claim heard: first by incarnation, then alive < dead < left. That is a total
order, so views that heard the same, in whatever order, are equal. A suspicion is not part of it: it ends by itself.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from .members import State
from .messages import Alive

BUCKETS = 64
"""Of digests of the view: one packet holds them all, and each covers some twenty of a thousand members."""
_RANK = {State.ALIVE: 0, State.DEAD: 1, State.LEFT: 2}


class Fate(NamedTuple):
    """How a member went down.

    :ivar state: dead or left.
    """

    state: State
    incarnation: int
    since_s: float


class View:
    """See the module.

    :ivar alive: the newest that each member ever met said of itself.
    :ivar fates: of those that are down.
    """

    __slots__ = ("_digests", "alive", "fates")

    def __init__(self) -> None:
        self.alive: dict[bytes, Alive] = {}
        self.fates: dict[bytes, Fate] = {}
        self._digests = [0] * BUCKETS

    def __len__(self) -> int:
        """How many are up."""
        return len(self.alive) - len(self.fates)

    def is_up(self, node: bytes) -> bool:
        """Whether a member takes part."""
        return node in self.alive and node not in self.fates

    def incarnation(self, node: bytes) -> int:
        """The newest known of a member that was met."""
        fate = self.fates.get(node)
        return fate.incarnation if fate is not None else self.alive[node].incarnation

    def state(self, node: bytes) -> State:
        """Of a member that was met; suspected ones are alive here."""
        fate = self.fates.get(node)
        return fate.state if fate is not None else State.ALIVE

    def hear_alive(self, alive: Alive) -> bool:
        """Take in what a member says of itself.

        :returns: whether it is news.
        """
        node = alive.node
        if node in self.alive and alive.incarnation <= self.incarnation(node):
            return False
        self._toggle(node)
        self.fates.pop(node, None)
        self.alive[node] = alive
        self._toggle(node)
        return True

    def hear_fate(self, node: bytes, fate: Fate) -> bool:
        """Take in that a member went down.

        :returns: whether it is news.
        """
        if node not in self.alive:
            return False
        if (fate.incarnation, _RANK[fate.state]) <= (self.incarnation(node), _RANK[self.state(node)]):
            return False
        self._toggle(node)
        self.fates[node] = fate
        self._toggle(node)
        return True

    def forget(self, node: bytes) -> None:
        """A member that was struck out, or of whom nobody needs to know any more."""
        self._toggle(node)
        self.alive.pop(node, None)
        self.fates.pop(node, None)

    def oldest_down(self) -> bytes:
        """The member that went down first."""
        return min(self.fates, key=lambda node: (self.fates[node].since_s, node))

    @property
    def digest(self) -> int:
        """A number that is equal for equal views, and with luck of 2^-64 for others."""
        return sum(self._digests) & 0xFFFFFFFFFFFFFFFF

    def digests(self) -> bytes:
        """The digests of all buckets, eight bytes each."""
        return b"".join(digest.to_bytes(8) for digest in self._digests)

    def bucket_digest(self, bucket: int) -> bytes:
        """The digest of one bucket."""
        return self._digests[bucket].to_bytes(8)

    def differing(self, digests: bytes) -> list[int]:
        """The buckets in which another view, of which the digests were sent, is not equal."""
        return [n for n in range(BUCKETS) if digests[8 * n : 8 * n + 8] != self.bucket_digest(n)]

    def become(self, other: View) -> None:
        """Know what another view does; what each member says of itself is shared."""
        self.alive, self.fates, self._digests = dict(other.alive), dict(other.fates), list(other._digests)

    def _toggle(self, node: bytes) -> None:
        """Take what is known of a member into its bucket's digest, or out of it again."""
        if node in self.alive:
            known = b"%b %d %d" % (node, self.incarnation(node), _RANK[self.state(node)])
            self._digests[bucket_of(node)] ^= int.from_bytes(blake2b(known, digest_size=8).digest())


def bucket_of(node: bytes) -> int:
    """Where in the digests a member is; ids are random."""
    return node[-1] % BUCKETS
