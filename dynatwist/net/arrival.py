"""The circumstances in which a message came: from whom, and how old it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """What goes with a message to whoever handles it.

    :ivar node: the sender.
    :ivar age_ms: how long the message was under way, at most; see `dynatwist.net.ways`.
    :ivar is_from_before_sleep: whether it waited for this process while that was stopped.
    """

    node: bytes
    age_ms: int = 0
    is_from_before_sleep: bool = False

    def is_late(self, deadline_ms: int) -> bool:
        """Whether it was under way for longer than it may, or is from before this process was stopped and thawed: a
        thawed node must not replay the past."""
        return self.age_ms > deadline_ms or self.is_from_before_sleep
