"""What a read does next: ask the owners what they hold, choose the greatest of it, make them equal, and answer.

The rule is that of Attiya, Bar-Noy and Dolev ("Sharing Memory Robustly in Message-Passing Systems", 1995): the answer
is the greatest record that any of enough owners holds, and it is given only when enough of them are known to hold it
durably, or something newer. So a later read that asks any majority finds no less.

=========  ===================================  ======================================================================
phase      what is counted                      how it ends
=========  ===================================  ======================================================================
asking     owners that said what they hold      enough have: `Choose`; too few are left: `Give`, not enough
equal      owners known to hold what was        enough do: `Give`; too few are left: `Give`, not enough. An owner that
           chosen                               was heard and holds something else is given the record: `Push`
=========  ===================================  ======================================================================

An owner that answers after the choice counts too, once it holds what was chosen. Nobody is waited for while enough
others answer: neither a paused node, nor this node's own log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dynatwist.model.dots import Dot

from .quorum import Group, Level, Reach, Tally, Verdict


@dataclass(frozen=True, slots=True)
class Choose:
    """Say with `Reading.choose` what this node holds now: it has merged whatever was heard."""


@dataclass(frozen=True, slots=True)
class Push:
    """Have these owners hold what was chosen, durably; then say `Reading.hold`, or `Reading.lose`."""

    owners: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Give:
    """The answer is what was chosen."""

    reach: Reach


Todo = Choose | Push | Give | None


class Reading:
    """One read; see the module.

    :param me: this node. What it has merged is in the hands of its log, so it is asked when that has it.
    :param counts: whether an owner can contribute at all; asked at each count.
    """

    __slots__ = ("_chosen", "_equal", "_has_chosen", "_heard", "_held", "_me", "_to_push")

    def __init__(self, level: Level, groups: tuple[Group, ...], me: bytes, counts: Callable[[bytes], bool]) -> None:
        self._me = me
        self._heard = Tally(level, groups, counts)
        self._equal = Tally(level, groups, counts)
        self._held: dict[bytes, Dot | None] = {}
        self._has_chosen = False
        self._chosen: Dot | None = None
        self._to_push: list[bytes] = []

    # What happened

    def expect(self, owner: bytes) -> None:
        """An owner is asked what it holds."""
        self._heard.expect(owner)

    def expects(self, owner: bytes) -> bool:
        """Whether it was asked, and may still say."""
        return owner in self._heard.expected

    def hear(self, owner: bytes, dot: Dot | None) -> None:
        """An owner holds this durably, and so does this node, or will once its log has what was merged."""
        self._heard.count(owner)
        self._held[owner] = dot
        if self._has_chosen:
            self._equalize(owner)

    def choose(self, dot: Dot | None) -> None:
        """The greatest of all that was heard."""
        self._has_chosen, self._chosen = True, dot
        self._equal.expect(*self._heard.expected, *self._held)
        for owner in sorted(self._held):
            self._equalize(owner)

    def _equalize(self, owner: bytes) -> None:
        # What this node said may have been superseded since by what others brought.
        is_mine = owner == self._me and self._chosen is not None
        if is_mine or not (self._chosen is None or self._held[owner] == self._chosen):
            self._equal.expect(owner)
            self._to_push.append(owner)
        else:
            self._equal.count(owner)

    def hold(self, owner: bytes) -> None:
        """An owner holds durably what was chosen, or something newer."""
        self._equal.count(owner)

    def lose(self, owner: bytes) -> None:
        """An owner has refused, or will not be heard of."""
        self._heard.give_up_on(owner)
        self._equal.give_up_on(owner)

    # What is to be done

    def next(self) -> Todo:
        """To be asked at the beginning, and after whatever happened; ``None``: wait."""
        tally = self._equal if self._has_chosen else self._heard
        if self._to_push:
            push, self._to_push = Push(tuple(self._to_push)), []
            return push
        verdict = tally.verdict()
        if verdict is Verdict.OPEN:
            return None
        if verdict is Verdict.REACHED and not self._has_chosen:
            return Choose()
        return Give(tally.reach(verdict is Verdict.REACHED))

    def give_up(self) -> Give:
        """It took too long."""
        return Give((self._equal if self._has_chosen else self._heard).reach(False))
