"""What the membership protocol wants done, and the source of chance that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from .members import Peer, State
from .messages import AnyGossip

Address = tuple[str, int]
T = TypeVar("T")


class Random(Protocol):
    """The source of chance: `random.Random` is one."""

    def choice(self, seq: Sequence[T], /) -> T:
        """Any one."""

    def shuffle(self, x: list[Any], /) -> None:
        """Any order, in place."""

    def randrange(self, start: int, stop: int, /) -> int:
        """Any number from `start` to below `stop`."""

    def sample(self, population: Sequence[T], k: int, /) -> list[T]:
        """Any `k` different ones."""


class Whom(NamedTuple):
    """Whom a packet is for.

    :ivar node: its id; empty for whoever is at the address.
    """

    node: bytes
    address: Address


@dataclass(frozen=True, slots=True)
class Send:
    """Send one packet."""

    whom: Whom
    messages: list[AnyGossip]

    @property
    def address(self) -> Address:
        """Where to."""
        return self.whom.address


@dataclass(frozen=True, slots=True)
class Changed:
    """A member's state or address changed.

    :ivar reason: why, for people.
    """

    peer: Peer
    before: State | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PingLink:
    """Ask a member over its stream connection whether it is there, and tell `Swim.link_answered` if it is."""

    node: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class Doubled:
    """Somebody else announces itself as this node, from another address.

    :ivar address: host and port.
    """

    address: Address


Action = Send | Changed | PingLink | Doubled
