"""What can be believed of a member."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """What is believed of a member, as people see it."""

    ALIVE = "Active"
    SUSPECT = "Suspect"
    DEAD = "Dead"
    LEFT = "Left"


@dataclass(frozen=True, slots=True)
class Peer:
    """One member as known here at one time.

    :ivar incarnation: raised only by the member itself.
    :ivar since_s: when the state was entered.
    :ivar accusers: who suspects it by its own evidence.
    :ivar version: of its program.
    :ivar zone: where it runs, as its operator says.
    :ivar rtt_s: the usual round trip of a probe; ``None`` before the first.
    """

    node: bytes
    host: str
    port: int
    peer_port: int
    incarnation: int
    state: State
    since_s: float = 0.0
    accusers: frozenset[bytes] = frozenset()
    version: str = ""
    zone: str = ""
    rtt_s: float | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where its gossip port is."""
        return self.host, self.port

    @property
    def is_up(self) -> bool:
        """Whether it takes part: alive or merely suspected."""
        return self.state in (State.ALIVE, State.SUSPECT)
