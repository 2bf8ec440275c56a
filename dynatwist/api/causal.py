"""Causal tokens: what a client has written or seen, in a header, so that any node can show at least that."""

from __future__ import annotations

import base64
import binascii

import msgspec

from dynatwist.errors import ApiError
from dynatwist.model.dots import Dot

MAX_PARTITIONS = 64
MAX_CHARS = 8192
_DECODER = msgspec.msgpack.Decoder(dict[int, list[tuple[bytes, int]]])


class CausalToken:
    """Per partition the dots to be seen; the newest 64 partitions."""

    def __init__(self, dots: dict[int, dict[bytes, int]]) -> None:
        self._dots = dots

    @classmethod
    def parse(cls, text: str) -> CausalToken:
        """Read a header; 400 when it is none of ours."""
        if not text:
            return cls({})
        try:
            if len(text) > MAX_CHARS:
                raise ValueError
            wire = _DECODER.decode(base64.urlsafe_b64decode(text.encode("ascii")))
            if any(len(actor) != 16 or not 0 < seq < 1 << 53 for dots in wire.values() for actor, seq in dots):
                raise ValueError
        except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
            raise ApiError(400, "bad_causal_token", "X-Causal-Token is not one that this store gave") from None
        return cls({partition: dict(dots) for partition, dots in list(wire.items())[:MAX_PARTITIONS]})

    def dots(self, partition: int) -> tuple[Dot, ...]:
        """What has to be seen of a partition."""
        return tuple(Dot(actor, seq) for actor, seq in self._dots.get(partition, {}).items())

    def with_dot(self, partition: int, dot: Dot) -> CausalToken:
        """The token after a dot was written or seen."""
        dots = dict(self._dots)
        mine = dict(dots.pop(partition, {}))
        mine[dot.actor] = max(dot.seq, mine.get(dot.actor, 0))
        dots = dict(list(dots.items())[-MAX_PARTITIONS + 1 :])
        dots[partition] = dict(list(mine.items())[-16:])
        return CausalToken(dots)

    def render(self) -> str:
        """The header's text."""
        wire = {partition: list(dots.items()) for partition, dots in self._dots.items()}
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(wire)).decode()
