"""The probe of this period, and the pings that are made for others (SWIM, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .actions import Whom


@dataclass(slots=True)
class Probe:
    """A ping that was sent, and what became of it.

    :ivar again_s: when it is pinged again, without an ack; the first time, others are asked to ping it as well.
    :ivar wait_s: from the last ping till then.
    :ivar deadline_s: when the member is suspected, without an ack.
    :ivar pings: how many were sent. A lost one costs a round trip, and not a suspicion that everybody hears of.
    :ivar helpers: the others that were asked.
    :ivar nacks: those of them that answered that they did not reach it either.
    :ivar heard: whether something else came from the member meanwhile: it lives, and it is our packets that are lost.
    """

    seq: int
    node: bytes
    sent_s: float
    again_s: float
    wait_s: float
    deadline_s: float
    pings: int = 1
    helpers: frozenset[bytes] = frozenset()
    nacks: set[bytes] = field(default_factory=set)
    heard: bool = False

    @property
    def due_s(self) -> float:
        """When something is to be done about it."""
        return min(self.again_s, self.deadline_s)


@dataclass(frozen=True, slots=True)
class Relay:
    """A ping that is made for somebody else."""

    requester: Whom
    their_seq: int
    node: bytes
    deadline_s: float


@dataclass(slots=True)
class Relays:
    """The pings that are made for others, by their number here.

    :ivar missed_s: when a member did not answer one: evidence of one's own, should another accuse it.
    """

    open: dict[int, Relay] = field(default_factory=dict)
    missed_s: dict[bytes, float] = field(default_factory=dict)

    def answered(self, seq: int, sender: bytes) -> Relay | None:
        """The one of this number, if it is its target that answers."""
        relay = self.open.get(seq)
        return self.open.pop(seq) if relay is not None and relay.node == sender else None

    def expired(self, now_s: float) -> list[Relay]:
        """Those that were not answered in time, once."""
        due = [seq for seq, relay in self.open.items() if now_s >= relay.deadline_s]
        relays = [self.open.pop(seq) for seq in due]
        for relay in relays:
            self.missed_s[relay.node] = now_s
        return relays

    def has_missed(self, node: bytes, since_s: float) -> bool:
        """Whether a member has not answered one, not long ago."""
        self.missed_s = {one: at_s for one, at_s in self.missed_s.items() if at_s >= since_s}
        return node in self.missed_s
