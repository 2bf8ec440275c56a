"""A batch as a client carries it out: sent again as a whole when its answer is lost, and in part when a node could not
carry out all of it.

Each operation has an outcome of its own. Those that came to nothing for want of nodes (503) are sent once more, to
another node. An operation on a key that the batch names twice is not: it would then come behind the other one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from .errors import KvError
from .failover import TELLS
from .naming import Op
from .values import encoded

MORE_TRIES = 2
"""As many as other nodes of a small cluster: one may be cut off, and the next just starting."""

Outcome = dict[str, Any]
Ask = Callable[[list[Op]], Awaitable[list[Outcome]]]
"""Sends operations to a node, and answers their outcomes in the same order."""


def op_of(given: Mapping[str, Any]) -> Op:
    """An operation of a batch, its value as JSON.

    :raises TypeError: the value is none that JSON can say.
    """
    if "value" not in given or isinstance(given["value"], msgspec.Raw):
        return dict(given)
    return {**given, "value": msgspec.Raw(encoded(given["value"], f"the value of {given.get('key')!r}"))}


async def carried_out(ops: list[Op], ask: Ask, ask_another: Ask) -> list[Outcome]:
    """The outcome of each operation.

    :param ask_another: a moment later, and another node than the one that answered last.
    :raises KvError: when the batch was refused as a whole; `Unavailable` with code ``uncertain`` when it was carried
        out perhaps, or in part.
    """
    outcomes = await ask(ops)
    times = Counter(op.get("key") for op in ops)
    alone = [place for place, op in enumerate(ops) if times[op.get("key")] == 1]
    for _ in range(MORE_TRIES):
        again = [place for place in alone if _may_repeat(ops[place], outcomes[place])]
        if not again:
            break
        try:
            told = await ask_another([ops[place] for place in again])
        except KvError as error:
            told = [{"status": error.status or 503, "error": str(error), "code": error.code} for _ in again]
        for place, outcome in zip(again, told, strict=True):
            outcomes[place] = _later(outcomes[place], outcome)
    return outcomes


def _may_repeat(op: Op, outcome: Outcome) -> bool:
    return outcome["status"] == 503 and (outcome.get("code") != "uncertain" or "idempotency_key" in op)


def _later(before: Outcome, outcome: Outcome) -> Outcome:
    """What is known of an operation after another try: a refusal that tells nothing of the first leaves it in doubt."""
    is_told = outcome["status"] < 400 or outcome["status"] in TELLS or outcome.get("code") == "uncertain"
    return outcome if is_told or before.get("code") != "uncertain" else before
