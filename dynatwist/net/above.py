"""What links ask of, and tell to, the node above them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .arrival import Arrival
from .framing import State
from .messages import AnyMessage, Hello


class Above(Protocol):
    """What one link needs."""

    def hello(self) -> Hello:
        """What to say first."""

    def state(self) -> State:
        """What to say of this node in every frame."""

    def passed(self, lapse_ms: int) -> None:
        """A member says that so much time is over; see `dynatwist.replication.lapse`."""


class Members(Protocol):
    """Who is let in."""

    def judge(self, hello: Hello) -> str | None:
        """Why a peer is refused, or ``None``."""

    def is_served(self, node: bytes) -> bool:
        """Whether a node is a member."""

    @property
    def is_founded(self) -> bool:
        """Whether this node is in a cluster; before that nobody is a member."""


class AboveLinks(Above, Members, Protocol):
    """What all links together need."""

    def linked(self, node: bytes, hello: Hello) -> None:
        """A peer is connected."""

    def unlinked(self, node: bytes) -> None:
        """A peer's connection is gone."""

    def reachability_changed(self, node: bytes) -> None:
        """A peer stalled or came back."""

    def handle(self, arrival: Arrival, message: AnyMessage, respond: Callable[[AnyMessage], None] | None) -> None:
        """A call (with `respond`) or a one-way message."""
