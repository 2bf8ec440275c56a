"""Answers whose length is not known before: whole when they are short, else streamed, a piece at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from .request import JSON, Answer

SHORT_BYTES = 64 << 10
"""Up to here an answer is sent whole, with its length."""


async def answer_in_pieces(begin: bytes, pieces: AsyncIterator[list[bytes]], end: bytes, holder: str) -> Answer:
    """An array or an object of JSON.

    :param pieces: items of it, some at a time; taken only as fast as the client reads, once the answer is long.
    :param holder: whom the answer is charged to while it is not read.
    :raises ApiError: what `pieces` raises before the answer is long; later the connection ends instead.
    """
    items: list[bytes] = []
    size_bytes = 0
    async for piece in pieces:
        items += piece
        size_bytes += sum(map(len, piece))
        if size_bytes > SHORT_BYTES:
            return Answer(200, content_type=JSON, stream=_stream(begin + b",".join(items), pieces, end), holder=holder)
    return Answer(200, begin + b",".join(items) + end, holder=holder)


async def _stream(begun: bytes, pieces: AsyncIterator[list[bytes]], end: bytes) -> AsyncIterator[bytes]:
    yield begun
    async for piece in pieces:
        if piece:
            yield b"," + b",".join(piece)
    yield end
