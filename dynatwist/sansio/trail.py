"""What goes along with each request, by which it is found again: an id, for the logs of nodes, and the trace that the
program is in.

Both are looked up where a request is made, in the context of whoever makes it; so all faces have them alike.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from random import Random

HEADER = "X-Request-Id"
MADE = "dk-"
"""An id that a client makes begins so: nodes log of such a request what went wrong or took long, and nothing else."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_present: ContextVar[str] = ContextVar("dynatwist_request_id", default="")


@contextmanager
def request_id(text: str) -> Iterator[None]:
    """Give an id to all requests that are made within, so that each node that has a part in them logs that::

        with request_id("checkout-7f3a"):
            await kv.put("orders", "17", order)

    :raises ValueError: nodes would not take it for an id.
    """
    if _ID.fullmatch(text) is None:
        raise ValueError(f"{text[:80]!r} is no id of requests: use up to 64 letters, digits, '.', '_' and '-'")
    before = _present.set(text)
    try:
        yield
    finally:
        _present.reset(before)


@contextmanager
def one_id(random: Random) -> Iterator[None]:
    """All requests that are made within are one call of a program's: they have one id, made here if none was given."""
    with request_id(_present.get() or _made(random)):
        yield


def trail(random: Random) -> dict[str, str]:
    """The headers of a request that tell whose it is."""
    headers = {HEADER: _present.get() or _made(random)}
    if "opentelemetry.trace" in sys.modules:  # else the program has no span that could be current
        _name_span(headers)
    return headers


def id_of(headers: Mapping[str, str]) -> str:
    """The id under which a request is sent; empty for none."""
    return headers.get(HEADER, "")


def _made(random: Random) -> str:
    return f"{MADE}{random.getrandbits(64):016x}"


def _name_span(headers: dict[str, str]) -> None:
    """Say by W3C's ``traceparent`` which span is current, if one is."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    TraceContextTextMapPropagator().inject(headers)
