"""Judges what was told of one register: can it all have happened one after another, in the time that it took?

Each value is told with its version, which grows with each change, also over a delete, and with the requests that it
came from since the register was created. So each answer shows where it stands, and no search is needed:

- one version is one record;
- a version has come from those before it: its requests begin with theirs, or are other ones, after a delete;
- no request changes a register twice;
- what was told before a request began is what it was answered by, or came before that;
- nothing is absent but before the first change, and after a delete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dynatwist.model.dots import Dot
from dynatwist.model.record import Record


@dataclass(slots=True, eq=False)
class Told:
    """One request, and what it was told.

    :ivar began_s: when it was asked.
    :ivar number: that it adds to the value; 0 for a read or a delete.
    :ivar is_removal: whether it deletes.
    :ivar ended_s: when it was answered; ``None`` when it was not, and may have changed something or not.
    :ivar version: of the record that it was told, or has made; 0 when it was told that there is nothing.
    :ivar dot: of that record.
    :ivar ids: the requests that its value names.
    :ivar is_mine: whether the request itself has made it.
    """

    began_s: float
    number: int = 0
    is_removal: bool = False
    ended_s: float | None = None
    version: int = 0
    dot: Dot | None = None
    ids: tuple[int, ...] = ()
    is_mine: bool = False

    def end(self, now_s: float, record: Record | None, ids: tuple[int, ...], *, is_mine: bool) -> None:
        """It was answered."""
        self.ended_s, self.ids, self.is_mine = now_s, ids, is_mine
        if record is not None:
            self.version, self.dot = record.version, record.dot

    @property
    def is_absent(self) -> bool:
        """Whether it was told that there is nothing."""
        return not self.ids


def judge(all_told: Sequence[Told], new: Told) -> Iterator[str]:
    """What is wrong with what a request was told, beside what others were told before.

    :param all_told: of the same register, the new one included.
    """
    assert new.ended_s is not None
    if len(set(new.ids)) != len(new.ids):
        yield f"a request changed it twice: {new.ids}"
    if new.is_mine and new.number and new.ids[-1:] != (new.number,):
        yield f"request {new.number} has made something else: {new.ids}"
    removals = any(one.is_removal for one in all_told)
    for one in all_told:
        if one is new or one.ended_s is None:
            continue
        if one.version and one.version == new.version:
            if one.dot != new.dot:
                yield f"version {one.version} is two records"
            if one.is_mine and new.is_mine:
                yield f"version {one.version} was made twice"
        if one.ended_s < new.began_s:
            yield from _after(one, new, removals=removals)
        yield from _in_line(*sorted((one, new), key=lambda each: each.version), removals=removals)


def _after(one: Told, new: Told, *, removals: bool) -> Iterator[str]:
    """`new` began when `one` had been answered."""
    if new.version < one.version and not (removals and new.is_absent):
        yield f"{new.ids} (version {new.version}) is told after {one.ids} (version {one.version})"
    if new.is_mine and one.version >= new.version > 0:
        yield f"version {new.version} is made after version {one.version} was told"


def _in_line(one: Told, two: Told, *, removals: bool) -> Iterator[str]:
    """Of two values the later one has come from the earlier one, if nothing was deleted between."""
    if not removals and two.ids[: len(one.ids)] != one.ids:
        yield f"two histories: {one.ids} and {two.ids}"
    if set(one.ids) & set(two.ids) and two.ids[: len(one.ids)] != one.ids:
        yield f"two histories, after deletes: {one.ids} and {two.ids}"
