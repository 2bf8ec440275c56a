"""The heart: what a node works out for each request from values alone, pure or compiled. The choice is made here.

There are two implementations of one interface: `dynatwist.heart.pure`, which is the definition and runs anywhere, and
``dynatwist._native``, the same functions compiled from ``native/``. The compiled one is chosen where it was built, by
this release, and ``DYNAKV_PURE`` does not switch it off. Whoever needs a function of the heart calls it as
``heart.change_of(...)``, and does not know which one answers: they give the same, byte for byte.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Protocol, cast

from . import pure

INTERFACE = 30
"""Of this release. A library that says another number was built before the functions changed, and is not used."""
SWITCH = "DYNAKV_PURE"
"""The environment variable that, set to anything but nothing and 0, has the pure heart chosen."""
Pair = tuple[bytes, int]
"""A dot, as `dynatwist.model.dots.Dot` is one: actor and number."""
Succession = tuple[Pair, int, tuple[int, int], int, int, int, int]
"""What changes where a record comes to be held; see `pure.succession`."""


class Heart(Protocol):
    """The interface; `dynatwist.heart.pure` says what each function gives."""

    def bucket_of(self, table: str, name: str, /) -> int:
        """See `pure.bucket_of`."""

    def change_of(self, table: str, name: str, before: Pair | None, after: Pair | None, /) -> tuple[int, int]:
        """See `pure.change_of`."""

    def tag_of(self, actor: bytes, seq: int, ms: int, counter: int, /) -> bytes:
        """See `pure.tag_of`."""

    def etag_of(self, actor: bytes, seq: int, ms: int, counter: int, /) -> str:
        """See `pure.etag_of`."""

    def name_of(self, uid: str, name: str, body: tuple[bytes, ...], /) -> bytes:
        """See `pure.name_of`."""

    def minified(self, body: bytes, most_levels: int, /) -> bytes | None:
        """See `pure.minified`."""

    def record_json(
        self,
        value: bytes | None,
        dot: Pair,
        seen: tuple[Pair, ...],
        version: int,
        ms: int,
        owner: bytes,
        tag: str,
        rest: bytes,
        /,
    ) -> bytes:
        """See `pure.record_json`."""

    def token_of(self, dots: list[tuple[int, Pair]], /) -> str:
        """See `pure.token_of`."""

    def answer_of(
        self, status_line: bytes, shared: bytes, content_type: str, headers: Mapping[str, str], body: bytes, /
    ) -> bytes:
        """See `pure.answer_of`."""

    def sound(self, table: str, name: str, packed: bytes, /) -> tuple[Pair, int] | None:
        """See `pure.sound`."""

    def succession(self, table: str, name: str, packed: bytes, held: bytes | None, /) -> Succession | None:
        """See `pure.succession`."""

    def weight(self, packed: bytes, /) -> tuple[int, int] | None:
        """See `pure.weight`."""

    def request_of(self, data: bytes, most_head_bytes: int, /) -> tuple[str, str, str, str, bytes, int] | None:
        """See `plain.request_of`."""

    def apart(self, block: bytes, /) -> tuple[bytes, dict[str, str] | None]:
        """See `plain.apart`."""

    def headers_of(self, block: bytes, /) -> tuple[dict[str, str], int] | None:
        """See `plain.headers_of`."""


def compiled() -> Heart | None:
    """The compiled heart, of whatever release; ``None`` where there is none."""
    try:
        return cast(Heart, importlib.import_module("dynatwist._native"))
    except ImportError:
        return None


def choose(native: Heart | None, environment: Mapping[str, str]) -> tuple[Heart, str]:
    """Which heart beats, and how the log says it.

    :param native: the compiled one, if there is one.
    :param environment: of the process.
    """
    if environment.get(SWITCH, "0") not in ("", "0"):
        return pure, f"heart: pure ({SWITCH} is set)"
    if native is None:
        return pure, "heart: pure (no compiled one was built)"
    if getattr(native, "INTERFACE", 0) != INTERFACE:
        return pure, "heart: pure (the compiled one is of another release; install DynaTwist anew)"
    return native, "heart: compiled"


chosen, SAYS = choose(compiled(), os.environ)
bucket_of = chosen.bucket_of
change_of = chosen.change_of
tag_of = chosen.tag_of
etag_of = chosen.etag_of
name_of = chosen.name_of
minified = chosen.minified
record_json = chosen.record_json
token_of = chosen.token_of
answer_of = chosen.answer_of
request_of = chosen.request_of
apart = chosen.apart
headers_of = chosen.headers_of
sound = chosen.sound
succession = chosen.succession
weight = chosen.weight
