"""What becomes of a call: an answer, or one of three reasons why there is none."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from .messages import AnyMessage


class NoAnswer(Enum):
    """Why a call ended without an answer."""

    UNSENT = "not sent"
    """The peer is not connected; it has not heard of the call, and never will."""
    LOST = "lost"
    """The connection ended. The peer may have done what it was asked, or may be about to."""
    LATE = "late"
    """The peer did not answer in time. The same holds."""


Reply = AnyMessage | NoAnswer
OnReply = Callable[[Reply], None]
"""Called once."""
