"""The table of members, and the rules by which news replaces what is known (SWIM, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """What is believed of a member."""

    ALIVE = "Active"
    SUSPECT = "Suspect"
    DEAD = "Dead"
    LEFT = "Left"


@dataclass(slots=True)
class Peer:
    """One member as known here.

    :ivar incarnation: raised only by the member itself.
    :ivar since_s: when the state was entered.
    :ivar accusers: who suspects it independently.
    """

    node: bytes
    host: str
    port: int
    peer_port: int
    incarnation: int
    state: State
    since_s: float
    suspect_until_s: float = 0.0
    accusers: frozenset[bytes] = frozenset()
    rtt_s: float = 0.0

    @property
    def address(self) -> tuple[str, int]:
        """Where its gossip port is."""
        return self.host, self.port

    @property
    def is_up(self) -> bool:
        """Whether it takes part: alive or merely suspected."""
        return self.state in (State.ALIVE, State.SUSPECT)
