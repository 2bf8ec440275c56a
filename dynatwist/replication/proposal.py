"""A proposer's part in a register: reading it, or changing it. See `dynatwist.replication.register` for the rules.

States of a `Proposal`, by what it has asked of all owners:

=========  ==========================================================================================================
LOOK       what have you accepted? Where a majority says the same, that is chosen, whatever was promised since: a
           majority that had accepted something later would share a member with this one. One round trip. Where they
           differ a write is under way, as a rule: it is looked at again before it is completed, which would outbid it
PREPARE    promise this ballot, and tell what you have accepted
ACCEPT     accept this, under the ballot that a majority has promised; and promise the next one. A proposer whose last
           proposal was chosen begins here, since a majority has promised it a ballot with that. One round trip
=========  ==========================================================================================================

A change is a function of what is there. It answers what is to be there, or nothing when all is to stay as it is: a
refused condition, or a change that was made already. What a change was refused for has to be chosen too, so it is asked
for (LOOK), or completed (ACCEPT of what was met) before the refusal is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum, auto

import msgspec

from dynatwist.model.record import beats
from dynatwist.model.records import Packed, name_of, unpack
from dynatwist.model.registry import is_majority_of_each
from dynatwist.sometimes import sometimes

from .register import NEVER, Ballot, Cell


class Vote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an acceptor answers, durably.

    :ivar value: what it has accepted; ``None`` where the proposer knows that, or has not asked for it.
    :ivar version: the greatest version of what was forgotten; see `Floor`.
    :ivar has_met: whether it may have accepted something that the request asked about has become; see `Ask`.
    """

    promised: Ballot
    accepted: Ballot
    value: Packed | None
    version: int = 0
    has_met: bool = False


class Ask(msgspec.Struct, frozen=True):
    """To be asked of all owners; answers are to be given to `Proposal.hear` with its number.

    :ivar number: of the question; later ones void earlier ones.
    :ivar ballot: to promise, or under which to accept; ``None`` to look only.
    :ivar following: the ballot to promise besides, where something is to be accepted.
    :ivar value: to accept; ``None`` to promise.
    :ivar known: names the value that this node holds (see `name_of`); who holds the same need not repeat it.
    """

    number: int
    ballot: Ballot | None
    following: Ballot = NEVER
    value: Packed | None = None
    known: bytes = b""


class Chosen(msgspec.Struct, frozen=True):
    """It is over.

    :ivar value: what is chosen; empty for nothing.
    :ivar acceptors: the owners known to have accepted it.
    :ivar following: the ballot that a majority has promised with that; `NEVER` where nothing was asked to be accepted.
    """

    value: Packed
    acceptors: frozenset[bytes]
    following: Ballot = NEVER


class Outbid(msgspec.Struct, frozen=True):
    """Another proposer bids higher: wait a moment, then go on with `Proposal.again`."""


class Unsettled(msgspec.Struct, frozen=True):
    """Another proposer is at work: wait for about a round trip, then go on with `Proposal.again`."""


LOOKS = 3
"""So often a value that is under way is looked at before it is completed: by then its proposer is gone, or away."""


class Stuck(msgspec.Struct, frozen=True):
    """So many will not answer that a majority cannot: go on with `Proposal.again` later, or give up."""


Step = Ask | Chosen | Outbid | Unsettled | Stuck
Change = Callable[[Packed, int], Packed | None]
"""(what is there, the version that is to be exceeded) to what is to be there: a record written over what is there."""


class _State(Enum):
    LOOK = auto()
    PREPARE = auto()
    ACCEPT = auto()


class Proposal:
    """See the module.

    :param groups: the sets of owners; a majority of each is needed.
    :param mine: asked for this node's own cell.
    :param change: ``None`` to read.
    :param ballot_after: gives a ballot that was never given, beyond one.
    :param proposed: told of each value of `change` that is about to be asked to be accepted.
    :param is_repeated: whether another proposer may have made this change before: then what this process was promised
        does not count, since all owners are to be asked whether they have met it.
    :ivar in_doubt: whether something was asked to be accepted of which nobody knows what became.
    :ivar was_met: whether an owner may have accepted this change from another proposer.
    """

    def __init__(
        self,
        *,
        groups: Collection[Collection[bytes]],
        mine: Callable[[], Cell],
        change: Change | None,
        ballot_after: Callable[[Ballot], Ballot],
        is_repeated: bool = False,
        proposed: Callable[[Packed], None] = lambda value: None,
    ) -> None:
        self._groups = groups
        self._owners: frozenset[bytes] = frozenset().union(*groups)
        self._mine = mine
        self._change = change
        self._ballot_after = ballot_after
        self._is_repeated = is_repeated
        self._proposed = proposed
        self._number = 0
        self._state = _State.LOOK
        self._ballot = self._following = NEVER
        self._value: Packed = b""
        self._is_mine = False
        self._is_guess = False
        self._known: Packed = b""
        self._votes: dict[bytes, Vote] = {}
        self._lost: set[bytes] = set()
        self._highest: Ballot = NEVER
        self._version = 0
        self._looks = 0
        self.in_doubt = self.was_met = False

    # What is to be done

    def begin(self, version: int = 0, steady: Ballot = NEVER) -> Ask:
        """The first question.

        :param version: the greatest version of what was forgotten here.
        :param steady: what this process was promised with what it had chosen last, and has not used; see `Chosen`.
        """
        self._version = version
        if self._change is None:
            return self._look()
        cell = self._mine()
        if cell.promised != steady or steady == NEVER or self._is_repeated:
            return self._prepare()
        if not self._take(cell.value):
            return self._look()  # it is refused by what this node knows; others may know more
        self._ballot, self._is_guess = cell.promised, True
        return self._ask_to_accept()

    def again(self) -> Ask:
        """After a pause: look again, or bid higher than all that was met."""
        return self._look() if self._state is _State.LOOK and self._looks < LOOKS else self._prepare()

    def hear(self, number: int, owner: bytes, vote: Vote | None) -> Step | None:
        """An owner's answer.

        :param vote: ``None`` when it gives none.
        :returns: what is to be done now; ``None``: wait for more.
        """
        if number != self._number or owner not in self._owners:
            return None
        if vote is None:
            self._lost.add(owner)
        else:
            self._votes[owner] = vote
            self._highest = max(self._highest, vote.promised, vote.accepted)
            self._version = max(self._version, vote.version)
            self.was_met = self.was_met or vote.has_met
        match self._state:
            case _State.LOOK:
                return self._looked()
            case _State.PREPARE:
                return self._promised()
            case _State.ACCEPT:
                return self._accepted()

    # What follows from the answers

    def _looked(self) -> Step | None:
        if not self._is_majority(set(self._votes)):
            return None if self._is_majority(self._owners - self._lost) else Stuck()
        told = {(vote.accepted, name_of(self._value_of(vote))) for vote in self._votes.values()}
        if len(told) > 1:
            sometimes("a reader of a register meets a write that is under way")
            return Unsettled()
        found = self._value_of(next(iter(self._votes.values())))
        if self._take(found):
            return self._prepare()
        return Chosen(found, frozenset(self._votes))

    def _promised(self) -> Step | None:
        promised = {owner for owner, vote in self._votes.items() if vote.promised == self._ballot}
        if not self._is_majority(promised):
            return self._missed(promised)
        votes = [vote for owner, vote in self._votes.items() if owner in promised]
        found = _latest([(vote.accepted, self._value_of(vote)) for vote in votes])
        if not self._take(found):
            if not found or (votes[0].accepted != NEVER and len({vote.accepted for vote in votes}) == 1):
                return Chosen(found, frozenset(promised))
            sometimes("a proposer completes what another one began")
            self._value, self._is_mine = found, False
        return self._ask_to_accept()

    def _accepted(self) -> Step | None:
        # An owner that has accepted something else under this ballot, of which this process has not heard, has
        # promised another ballot with that.
        asked = self._ballot, self._following
        accepted = {owner for owner, vote in self._votes.items() if (vote.accepted, vote.promised) == asked}
        if self._is_majority(accepted):
            return Chosen(self._value, frozenset(accepted), self._following)
        return self._missed(accepted)

    def _missed(self, good: set[bytes]) -> Step | None:
        """Not enough yet, and perhaps not any more."""
        if not self._lost and len(good) == len(self._votes):
            return None
        if self._is_majority(self._owners - self._lost - (self._votes.keys() - good)):
            return None
        if len(self._votes) == len(good):
            return Stuck()
        if self._is_guess:
            sometimes("a proposer that was steady finds that another one was at work")
            return self._prepare()
        return Outbid()

    # Asking

    def _take(self, found: Packed) -> bool:
        """Have the change made; answers whether there is something to propose."""
        value = self._change(found, self._version) if self._change is not None else None
        if value is None:
            return False
        self._value, self._is_mine = value, True
        return True

    def _look(self) -> Ask:
        self._looks += 1
        return self._ask(_State.LOOK, None)

    def _prepare(self) -> Ask:
        cell = self._mine()
        self._ballot = self._ballot_after(max(self._highest, cell.promised, cell.accepted))
        self._is_guess = False
        return self._ask(_State.PREPARE, self._ballot)

    def _ask_to_accept(self) -> Ask:
        self.in_doubt = True
        if self._is_mine:
            self._proposed(self._value)
        self._highest = max(self._highest, self._ballot)
        self._following = self._ballot_after(self._ballot)
        return self._ask(_State.ACCEPT, self._ballot, self._following, self._value)

    def _ask(self, state: _State, ballot: Ballot | None, following: Ballot = NEVER, value: Packed | None = None) -> Ask:
        self._state = state
        self._number += 1
        self._votes, self._lost = {}, set()
        self._known = self._mine().value if value is None else b""
        return Ask(self._number, ballot, following, value, name_of(self._known))

    def _value_of(self, vote: Vote) -> Packed:
        return self._known if vote.value is None else vote.value

    def _is_majority(self, owners: set[bytes] | frozenset[bytes]) -> bool:
        return is_majority_of_each(owners, self._groups)


def _latest(accepted: list[tuple[Ballot, Packed]]) -> Packed:
    """The value under the greatest ballot; before all ballots the one that wins the usual merge."""
    latest: tuple[Ballot, Packed] = NEVER, b""
    for ballot, value in accepted:
        is_later = ballot > latest[0] or (
            ballot == latest[0] and value and (not latest[1] or beats(unpack(value), unpack(latest[1])))
        )
        if is_later:
            latest = ballot, value
    return latest[1]


def answer(cell: Cell, ask_value: Packed | None, known: bytes, version: int) -> Vote:
    """What an acceptor tells of its cell.

    :param ask_value: what it was asked to accept; ``None`` when it was asked for what it has.
    :param known: see `Ask`.
    :param version: the greatest version of what was forgotten.
    """
    is_told = ask_value is None and name_of(cell.value) != known
    return Vote(cell.promised, cell.accepted, cell.value if is_told else None, version)
