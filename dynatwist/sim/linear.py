"""An independent checker of linearizability (Herlihy and Wing, "Linearizability", 1990), for one key at a time.

It searches for an order of all requests that agrees with the time that they took, and with what one register would have
answered: Wing and Gong's search ("Testing and Verifying Concurrent Objects", 1993) with Lowe's cache of what was tried
("Testing for Linearizability", 2017). It knows nothing of the store. A request that nobody has heard of may have had
its effect at any time since it began, or have none.

Those would double the work each, so:

- What nobody ever read or named is one value: which write it came from makes no difference to any answer.
- Of requests that nobody has heard of, and that would do the same, the one that began first is tried first: in every
  order that uses a later one in its place, the two can change places.
- Such a request is only tried where it changes something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

ABSENT = 0
"""The state of a key that nobody has written, or that was deleted; every other state is the number of a write."""
UNSEEN = -1
"""The state that any write leaves whose number nobody has read or named."""


class Does(Enum):
    """What a request does."""

    READ = auto()
    PUT = auto()
    CREATE = auto()
    """Only if there is nothing."""
    SWAP = auto()
    """Only if what is there is what is named."""
    DELETE = auto()


@dataclass(frozen=True, slots=True)
class Request:
    """One request on one key.

    :ivar number: that it writes, unlike any other; of a read that it was told, or `ABSENT`.
    :ivar named: what has to be there, of a swap.
    :ivar is_done: whether it was answered that it is done; otherwise, that it was refused for what is there.
    :ivar end_s: when it was answered; infinite when it was not, or only that nobody knows.
    """

    does: Does
    start_s: float
    end_s: float
    number: int = ABSENT
    named: int = ABSENT
    is_done: bool = True

    @property
    def is_known(self) -> bool:
        """Whether it is known what became of it."""
        return self.end_s != float("inf")


def step(state: int, request: Request) -> int | None:
    """What a register becomes by a request that is answered as this one was; ``None`` when it would not be."""
    match request.does:
        case Does.READ:
            return state if state == request.number else None
        case Does.PUT:
            fits, after = True, request.number
        case Does.CREATE:
            fits, after = state == ABSENT, request.number
        case Does.SWAP:
            fits, after = state == request.named != ABSENT, request.number
        case Does.DELETE:
            fits, after = state != ABSENT, ABSENT
    if fits:
        return after if request.is_done else None
    return state if not request.is_done or not request.is_known else None


def is_linearizable(requests: Sequence[Request]) -> bool:
    """Whether some order of all requests agrees with time and answers."""
    ordered = sorted(_simplified(requests), key=lambda one: one.start_s)
    needed = sum(1 << at for at, one in enumerate(ordered) if one.is_known)
    equals = _earlier_equals(ordered)
    tried: set[tuple[int, int]] = set()
    left = [(0, ABSENT)]
    while left:
        taken, state = left.pop()
        if taken & needed == needed:
            return True
        until_s = min(one.end_s for at, one in enumerate(ordered) if not taken >> at & 1)
        for at, one in enumerate(ordered):
            if taken >> at & 1 or equals[at] & ~taken:
                continue
            if one.start_s > until_s:
                break  # something else was over before this one began
            after = step(state, one)
            if after is None or (after == state and not one.is_known):
                continue
            found = (taken | 1 << at, after)
            if found not in tried:
                tried.add(found)
                left.append(found)
    return False


def _simplified(requests: Sequence[Request]) -> list[Request]:
    """The same requests, all numbers that nobody has read or named being one."""
    seen = {one.number for one in requests if one.does is Does.READ} | {one.named for one in requests}
    return [one if one.does is Does.READ or one.number in seen else replace(one, number=UNSEEN) for one in requests]


def _earlier_equals(ordered: Sequence[Request]) -> list[int]:
    """For each request that nobody has heard of, those before it that would do the same, as bits."""
    equals, known = [0] * len(ordered), dict[tuple[Does, int, int], int]()
    for at, one in enumerate(ordered):
        if not one.is_known:
            does = one.does, one.number, one.named
            equals[at] = known.get(does, 0)
            known[does] = equals[at] | 1 << at
    return equals
