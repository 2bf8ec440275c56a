"""Frames of a peer link: length u32 | version u8 | msgpack of [sent, clock, log, [[id, message], ...]].

All that is due for a peer in one turn of the reactor goes into one frame. `id` is positive for a call, negative for
its reply, 0 for one-way messages; `sent` is the sender's monotonic clock in milliseconds, which tells how long a frame
was under way when compared with the fastest frame of the same connection; `clock` is the sender's hybrid time, `log`
how far its log is durable.
"""

from __future__ import annotations

import msgspec

from .messages import WIRE_VERSION, AnyMessage

MAX_FRAME_BYTES = 32 << 20
_HEADER_BYTES = 5


class FrameError(Exception):
    """What arrived is no frame of this version; the connection is of no more use."""


State = tuple[int, tuple[int, int]]
"""(hybrid time in ms, position of the log): what a sender says of itself in every frame."""


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One frame."""

    sent_ms: int
    clock_ms: int
    position: tuple[int, int]
    messages: list[tuple[int, AnyMessage]]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Frame)


def encode(sent_ms: int, state: State, messages: list[tuple[int, AnyMessage]]) -> bytes:
    """The bytes of a frame."""
    body = _ENCODER.encode((sent_ms, *state, messages))
    return (len(body) + 1).to_bytes(4) + bytes((WIRE_VERSION,)) + body


class FrameReader:
    """Turns a stream of bytes, cut anywhere, into frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Frames completed by some bytes.

        :raises FrameError: when they are none.
        """
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        start = 0
        while len(buffer) - start >= _HEADER_BYTES:
            length = int.from_bytes(buffer[start : start + 4])
            if not 1 <= length <= MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {length} bytes")
            if buffer[start + 4] != WIRE_VERSION:
                raise FrameError(f"wire version {buffer[start + 4]}; this node speaks {WIRE_VERSION}")
            if len(buffer) - start < 4 + length:
                break
            try:
                frames.append(_DECODER.decode(memoryview(buffer)[start + 5 : start + 4 + length]))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise FrameError(f"not a frame: {error}") from None
            start += 4 + length
        if start:
            del buffer[:start]
        return frames
