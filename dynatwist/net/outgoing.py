"""What is due for a peer: gathered during a turn of the reactor, sent in as few frames as it fits into at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynatwist.runtime import Runtime

from .framing import FrameSizes, State, encode_all
from .messages import AnyMessage

MAX_QUEUED_BYTES = 64 << 20
"""Whoever makes much waits for acknowledgements, so this is never reached by a peer that reads at all."""


class Outgoing:
    """See the module. It is also the transport's producer: so it learns that the peer does not read.

    :param state: what to say of this node in every frame.
    :param left_out: hears the number of a message that no frame can hold.
    :param too_much: hears that the peer does not read, and how much waits for it is beyond `MAX_QUEUED_BYTES`.
    """

    __slots__ = (
        "_is_due", "_is_paused", "_left_out", "_messages", "_queued_bytes",
        "_runtime", "_sizes", "_state", "_too_much", "_transport",
    )  # fmt: skip

    def __init__(
        self,
        *,
        runtime: Runtime,
        sizes: FrameSizes,
        state: Callable[[], State],
        left_out: Callable[[int], None],
        too_much: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._sizes = sizes
        self._state = state
        self._left_out = left_out
        self._too_much = too_much
        self._messages: list[tuple[int, AnyMessage]] = []
        self._is_due = False
        self._is_paused = False
        self._queued_bytes = 0
        self._transport: Any = None

    def begin(self, transport: Any) -> None:
        """There is a connection."""
        self._transport = transport
        transport.registerProducer(self, True)

    def end(self) -> None:
        """There is none any more; what is due is not sent."""
        self._transport = None

    def add(self, call_id: int, message: AnyMessage) -> None:
        """One more message; see `dynatwist.net.framing` for its number."""
        self._messages.append((call_id, message))
        if not self._is_due:
            self._is_due = True
            self._runtime.at_turn_end(self.flush)

    def flush(self) -> None:
        """Send what is due now."""
        self._is_due = False
        transport = self._transport
        if transport is None or not self._messages:
            return
        messages, self._messages = self._messages, []
        now_ms = int(self._runtime.monotonic_s() * 1000)
        frames, too_long = encode_all(now_ms, self._state(), messages, self._sizes)
        for data in frames:
            if self._is_paused:
                self._queued_bytes += len(data)
                if self._queued_bytes > MAX_QUEUED_BYTES:
                    self._too_much()
                    return
            transport.write(data)
        for call_id in too_long:
            self._left_out(call_id)

    def pauseProducing(self) -> None:
        """The peer reads more slowly than we write."""
        if not self._is_paused:
            self._is_paused, self._queued_bytes = True, 0

    def resumeProducing(self) -> None:
        """All is sent."""
        self._is_paused = False

    def stopProducing(self) -> None:
        """The connection ends."""
