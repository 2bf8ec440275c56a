"""Agreement on one value per slot: single-decree Paxos (Lamport, "Paxos Made Simple", 2001).

Each version of the registry is decided so: by the members of the version before, and for ever. What has one value at a
time, rather than one for ever, is a register (`dynatwist.replication.register`). The rules:

- An acceptor promises a ballot by refusing all lower ones, and answers with what it accepted last, if anything.
- A proposer that holds promises of a majority of every group proposes the value accepted under the greatest ballot
  among them, or its own if there is none.
- A value accepted by a majority of every group is chosen, for ever. Acceptors write before they answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import msgspec

from dynatwist.model.registry import is_majority_of_each

Ballot = tuple[int, bytes]
"""(round, who proposes): the bytes name the node, its process and the number of the proposal within that, so that none
is used twice. Nodes of earlier releases named themselves by their id alone; the two compare."""

_numbers = count(1)

NO_BALLOT: Ballot = (0, b"")


class Vote(msgspec.Struct, frozen=True, array_like=True):
    """What an acceptor durably holds of a slot, and what it answers.

    :ivar promised: the greatest ballot promised.
    :ivar accepted: the ballot under which `value` was accepted; `NO_BALLOT` when none was.
    """

    promised: Ballot = NO_BALLOT
    accepted: Ballot = NO_BALLOT
    value: bytes = b""


def prepare(vote: Vote, ballot: Ballot) -> Vote:
    """The vote after a request to promise; the promise is given when ``promised == ballot``."""
    return vote if vote.promised >= ballot else Vote(ballot, vote.accepted, vote.value)


def accept(vote: Vote, ballot: Ballot, value: bytes) -> Vote:
    """The vote after a request to accept; it is accepted when ``accepted == ballot``."""
    return vote if vote.promised > ballot else Vote(ballot, ballot, value)


class Proposal:
    """One ballot's way to a decision.

    Each numbers itself: two of one process for one slot, however they come about, never share a ballot.

    :param groups: the acceptor sets; a majority of each is needed.
    :param ballot: the round, and the node and process that propose.
    :ivar ballot: the same, with the number of this proposal.
    """

    def __init__(self, groups: Iterable[Iterable[bytes]], ballot: Ballot, value: bytes) -> None:
        self._groups = [frozenset(group) for group in groups]
        self.ballot = ballot[0], ballot[1] + next(_numbers).to_bytes(8)
        self.value = value
        self._best = NO_BALLOT
        self._promised: set[bytes] = set()
        self._accepted: set[bytes] = set()
        self.outbid = NO_BALLOT

    def _is_majority(self, voters: set[bytes]) -> bool:
        return is_majority_of_each(voters, self._groups)

    def on_promise(self, acceptor: bytes, vote: Vote) -> bool:
        """Count an answer to `prepare`.

        :returns: whether it completed the majority: now ask everybody to accept `value`.
        """
        if vote.promised != self.ballot:
            self.outbid = max(self.outbid, vote.promised)
            return False
        if acceptor in self._promised or self._is_majority(self._promised):
            return False
        self._promised.add(acceptor)
        if vote.accepted > self._best:
            self._best, self.value = vote.accepted, vote.value
        return self._is_majority(self._promised)

    def on_accepted(self, acceptor: bytes, vote: Vote) -> bool:
        """Count an answer to `accept`.

        :returns: whether the value is chosen.
        """
        if vote.accepted != self.ballot:
            self.outbid = max(self.outbid, vote.promised)
            return False
        self._accepted.add(acceptor)
        return self._is_majority(self._accepted)
