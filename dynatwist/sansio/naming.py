"""Names for writes, so that each is made once however often it is sent (``Idempotency-Key``).

A client gives every write a name of its own, unless its caller does. The name has to be there from the first try: a
write without one cannot be told from somebody else's later, and to repeat it, even a put of a whole value or a delete,
could undo what others wrote between the lost answer and the repetition. So all writes have names, and not only those
that come to be repeated.

What that costs: fifty bytes for each of the last 32 writes of ten minutes that a record remembers, on disks and links
as in memory (``docs/performance.rst`` has what was measured). Whoever would rather have the space, and read what became
of a write whose answer was lost, gives an empty name: then the write has none, and is not repeated.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

NAME_BYTES = 12
"""Of randomness: no two of a user's writes are called the same by chance."""

Op = dict[str, Any]
"""An operation of a batch."""


def name_of(given: str | None, random: Random) -> str:
    """The name of a write: the one that its caller gave, or a fresh one; empty for none."""
    return fresh_name(random) if given is None else given


def fresh_name(random: Random) -> str:
    """One that nothing else is called."""
    return urlsafe_b64encode(random.randbytes(NAME_BYTES)).decode()


def named(ops: Iterable[Mapping[str, Any]], random: Random) -> list[Op]:
    """Operations of a batch, each with a name; without one where its caller gave an empty one.

    One fresh name does for all, with the place of each: several may be of one key.
    """
    fresh = fresh_name(random)
    found: list[Op] = []
    for place, given in enumerate(ops):
        op = dict(given)
        name = op.pop("idempotency_key", None)
        name = f"{fresh}.{place}" if name is None else name
        found.append({**op, "idempotency_key": name} if name != "" else op)
    return found
