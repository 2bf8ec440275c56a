"""An independent checker of histories of `majority` reads and writes.

It knows nothing of the store: not its records, stamps or merge order. It judges what clients can see, by definitions
that others published. A key is a *register* (Lamport, "On Interprocess Communication", 1986): concurrent writes are
put into some order by the store (arbitration, in the words of Burckhardt, "Principles of Eventual Consistency", 2014),
and each read returns the last of the writes visible to it. With majorities on both sides that has to satisfy, for all
clients as for one session (Terry et al., "Session Guarantees for Weakly Consistent Replicated Data", 1994):

- *Read your writes*: every write that was acknowledged before a read began is visible to it.
- *Monotonic reads*: whatever a read returned is visible to every read that begins after it ended.
- Nothing is read that was never written, that was refused, or whose write had not begun.

So a read of value v says of each write w visible to it that w does not come after v. The store kept its promise if
some order of the writes agrees with all of that, that is, if the relation has no cycle; each value is written once,
which makes this decidable in polynomial time (Gibbons and Korach, "Testing Shared Memories", 1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

ABSENT = 0
"""The value of a key before its first write; a delete writes absence too, under a number of its own."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation on one key.

    :ivar value: a number, written once; a delete's is negative. Of a read what it returned, `ABSENT` for nothing.
    :ivar start_s: when the client asked.
    :ivar end_s: when it was answered; infinite when it was not, or uncertainly.
    """

    is_read: bool
    value: int
    start_s: float
    end_s: float


class Fault(NamedTuple):
    """What is wrong with a history: a sentence, and the values concerned."""

    text: str
    values: tuple[int, ...]


def check(ops: list[Op], refused: frozenset[int] = frozenset()) -> list[Fault]:
    """Judge the history of one key.

    :param ops: reads that were answered, and all writes that may have taken effect.
    :param refused: values whose writes were answered with the promise that nothing was done.
    """
    writes = {op.value: op for op in ops if not op.is_read}
    reads = sorted((op for op in ops if op.is_read), key=lambda op: op.start_s)
    faults = _unfounded(writes, reads, refused)
    after: dict[int, set[int]] = {value: set() for value in (ABSENT, *writes)}
    """Which values may not come before a value."""
    for write in writes:
        after[ABSENT].add(write)
    vague: list[tuple[Op, set[int]]] = []
    for read in reads:
        visible = {write.value for write in writes.values() if write.end_s < read.start_s}
        visible |= {one.value for one in reads if one.end_s < read.start_s and one.value != ABSENT}
        if read.value == ABSENT:
            vague.append((read, visible))
        elif read.value in writes:
            for value in visible - {read.value}:
                after.setdefault(value, set()).add(read.value)
    if not faults:
        cycle = _cycle(after)
        if cycle:
            faults.append(Fault("reads contradict each other: no order of the writes agrees with them", cycle))
    return faults or _judge_absences(writes, vague, after)


def _unfounded(writes: dict[int, Op], reads: list[Op], refused: frozenset[int]) -> list[Fault]:
    faults: list[Fault] = []
    for read in reads:
        if read.value in refused:
            faults.append(Fault("a read returned a write that was refused", (read.value,)))
        elif read.value != ABSENT and read.value not in writes:
            faults.append(Fault("a read returned what nobody wrote", (read.value,)))
        elif read.value != ABSENT and writes[read.value].start_s > read.end_s:
            faults.append(Fault("a read returned what was not written yet", (read.value,)))
    return faults


def _judge_absences(writes: dict[int, Op], vague: list[tuple[Op, set[int]]], after: dict[int, set[int]]) -> list[Fault]:
    """A read of nothing saw some delete, or that nothing was written. Which one it saw is not known; there must be one
    that nothing visible to the read has to come after."""
    faults: list[Fault] = []
    reach = {value: _reachable(value, after) for value in after}
    for read, visible in vague:
        deletes = [write.value for write in writes.values() if write.value < 0 and write.start_s <= read.end_s]
        fitting = [delete for delete in deletes if not reach[delete] & (visible - {delete})]
        if visible and not fitting:
            faults.append(Fault("a read found nothing, though no delete explains it", tuple(sorted(visible))[-3:]))
    return faults


def _reachable(start: int, after: dict[int, set[int]]) -> set[int]:
    found: set[int] = set()
    left = [start]
    while left:
        for value in after.get(left.pop(), ()):
            if value not in found:
                found.add(value)
                left.append(value)
    return found


def _cycle(after: dict[int, set[int]]) -> tuple[int, ...]:
    """A cycle of the relation, or nothing. Depth first, without recursion."""
    done: set[int] = set()
    for root in after:
        if root in done:
            continue
        path: dict[int, None] = {root: None}
        stack = [iter(sorted(after[root]))]
        while stack:
            value = next(stack[-1], None)
            if value is None:
                stack.pop()
                done.add(path.popitem()[0])
            elif value in path:
                names = list(path)
                return tuple(names[names.index(value) :])
            elif value not in done:
                path[value] = None
                stack.append(iter(sorted(after.get(value, ()))))
    return ()
