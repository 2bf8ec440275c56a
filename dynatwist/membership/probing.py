"""The probe of this period, and the pings that are made for others (SWIM, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .actions import Address


@dataclass(slots=True)
class Probe:
    """A ping that was sent, and what became of it.

    :ivar ask_s: when others are asked, without an ack.
    :ivar deadline_s: when the member is suspected, without one.
    :ivar helpers: how many were asked; 0 before.
    :ivar nacks: how many of them answered that they did not reach it either.
    :ivar heard: whether something else came from the member meanwhile: it lives, and it is our packets that are lost.
    """

    seq: int
    node: bytes
    sent_s: float
    ask_s: float
    deadline_s: float
    helpers: int = 0
    nacks: int = 0
    heard: bool = False

    @property
    def due_s(self) -> float:
        """When something is to be done about it."""
        return self.deadline_s if self.helpers else self.ask_s


@dataclass(frozen=True, slots=True)
class Relay:
    """A ping that is made for somebody else."""

    requester: Address
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
