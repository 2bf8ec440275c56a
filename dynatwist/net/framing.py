"""Frames of a peer link: length u32 | version u8 | msgpack of [sent, clock, log, [[id, message], ...], wall, lapse].

All that is due for a peer in one turn of the reactor goes into one frame, or, when that is much, into a few. `id` is
positive for a call, negative for its reply, 0 for one-way messages; `sent` is the sender's monotonic clock in
milliseconds, which tells how long a frame was under way when compared with the fastest frame of the same connection;
`clock` is the sender's hybrid time, `log` how far its log is durable, `wall` its wall clock, and `lapse` the time that
is over by the wall clocks of a majority, as far as the sender knows (see `dynatwist.replication.lapse`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from dynatwist.model.flaws import BEYOND, NOT_DECODED
from dynatwist.sometimes import sometimes

from .messages import WIRE_VERSION, AnyMessage

Millis = Annotated[int, Meta(ge=0, lt=BEYOND)]
"""A time; what is added to it stays a number that log and frames can hold."""


class FrameSizes(NamedTuple):
    """How long frames are.

    :ivar full_bytes: beyond this a frame takes no further message: so no frame comes near the bound below, whatever is
        due in one turn, and whoever gets it can do something else in between.
    :ivar max_bytes: a longer one is no frame: whoever sends it is broken, or hostile.
    """

    full_bytes: int = 1 << 20
    max_bytes: int = 32 << 20


FRAME_SIZES = FrameSizes()
_HEADER_BYTES = 5
MAX_OVERHEAD_BYTES = 100
"""Of a frame with one message, beside that: three numbers, a position, and the beginnings of arrays."""


class FrameError(Exception):
    """What arrived is no frame of this version; the connection is of no more use."""


State = tuple[int, tuple[int, int]] | tuple[int, tuple[int, int], int, int]
"""(hybrid time in ms, position of the log, wall clock in ms, lapse in ms): what a sender says of itself in every frame.
The last two are left out by nodes that do not know of them."""


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One frame; see the module. What stands behind the messages is 0 in frames of nodes that do not know of it."""

    sent_ms: Millis
    clock_ms: Millis
    position: tuple[int, int]
    messages: list[tuple[int, AnyMessage]]
    wall_ms: Millis = 0
    lapse_ms: Millis = 0


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Frame)


def encode(sent_ms: int, state: State, messages: Sequence[tuple[int, AnyMessage | msgspec.Raw]]) -> bytes:
    """The bytes of a frame."""
    body = _ENCODER.encode((sent_ms, *state[:2], messages, *state[2:]))
    return (len(body) + 1).to_bytes(4) + bytes((WIRE_VERSION,)) + body


def encode_all(
    sent_ms: int, state: State, messages: list[tuple[int, AnyMessage]], sizes: FrameSizes = FRAME_SIZES
) -> tuple[list[bytes], list[int]]:
    """The bytes of as few frames as these messages fit into, in order.

    :returns: the frames, and the ids of messages that are too long for any frame, and are left out.
    """
    data = encode(sent_ms, state, messages)
    if len(data) <= sizes.full_bytes or (len(messages) == 1 and len(data) <= sizes.max_bytes):
        return [data], []
    sometimes("what is due for a peer is too much for one frame")
    frames: list[bytes] = []
    too_long: list[int] = []
    part: list[tuple[int, msgspec.Raw]] = []
    room = sizes.full_bytes
    for call_id, message in messages:
        packed = _ENCODER.encode(message)
        if len(packed) > sizes.max_bytes - MAX_OVERHEAD_BYTES:
            too_long.append(call_id)
            continue
        if part and len(packed) > room:
            frames.append(encode(sent_ms, state, part))
            part, room = [], sizes.full_bytes
        part.append((call_id, msgspec.Raw(packed)))
        room -= len(packed)
    if part:
        frames.append(encode(sent_ms, state, part))
    return frames, too_long


class FrameReader:
    """Turns a stream of bytes, cut anywhere, into frames. It keeps what has arrived, whatever length is announced.

    :param max_bytes: a longer frame is none.
    """

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_bytes: int = FRAME_SIZES.max_bytes) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def allow(self, max_bytes: int) -> None:
        """How long a frame may be is another question now, since more is known of the sender."""
        self._max_bytes = max_bytes

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Frames completed by some bytes; each is to be dealt with before the next one is asked for, since one decides
        how long the next may be.

        :raises FrameError: when they are none.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _HEADER_BYTES:
            length = int.from_bytes(buffer[start : start + 4])
            if not 1 <= length <= self._max_bytes:
                raise FrameError(f"a frame of {length} bytes")
            if buffer[start + 4] != WIRE_VERSION:
                raise FrameError(f"wire version {buffer[start + 4]}; this node speaks {WIRE_VERSION}")
            if len(buffer) - start < 4 + length:
                break
            try:
                frame = _DECODER.decode(memoryview(buffer)[start + 5 : start + 4 + length])
            except NOT_DECODED as error:
                raise FrameError(f"not a frame: {error}") from None
            start += 4 + length
            yield frame
        if start:
            del buffer[:start]
