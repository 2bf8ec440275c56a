"""Causal tokens: what a client has written or seen, in a header, so that any node can show at least that.

A token names single dots. It must not keep the greatest number of an actor only: what a replica has merged has gaps,
and one that has met a later write of an actor need not have met an earlier one.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from dynatwist import heart
from dynatwist.errors import ApiError
from dynatwist.model.dots import Dot

MAX_DOTS = 160
"""The newest are kept; as many as fit a header."""
MAX_CHARS = 8192
"""What most servers and proxies take as one header."""
_DECODER = msgspec.msgpack.Decoder(list[tuple[int, bytes, int]])


class CausalToken:
    """The (partition, dot) pairs to be seen, oldest first."""

    def __init__(self, dots: dict[tuple[int, Dot], None]) -> None:
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
            if any(len(actor) != 16 or not 0 < seq < 1 << 53 for _, actor, seq in wire):
                raise ValueError
        except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
            raise ApiError(400, "bad_causal_token", "X-Causal-Token is not one that this store gave") from None
        return cls({(partition, Dot(actor, seq)): None for partition, actor, seq in wire[-MAX_DOTS:]})

    def dots(self, partition: int) -> tuple[Dot, ...]:
        """What has to be seen of a partition."""
        if not self._dots:
            return ()
        return tuple(dot for number, dot in self._dots if number == partition)

    def with_dot(self, partition: int, dot: Dot) -> CausalToken:
        """The token after a dot was written or seen."""
        named = (partition, dot)
        if not self._dots:
            return CausalToken({named: None})
        kept = [pair for pair in self._dots if pair != named]
        return CausalToken(dict.fromkeys([*kept[-MAX_DOTS + 1 :], named]))

    def render_with(self, partition: int, dot: Dot) -> str:
        """The text of the token after a dot was written or seen; of most requests it is the first one."""
        return self.with_dot(partition, dot).render() if self._dots else heart.token_of([(partition, dot)])

    def render(self) -> str:
        """The header's text."""
        return heart.token_of(list(self._dots))


NOTHING_SEEN = CausalToken({})
