"""This node's votes on registers: what its cells answer, durable each time before it is told.

See `dynatwist.replication.register` for the rules. A node votes on what it owns and holds all of, once it has met a
majority of the owners since its start: by then it has been told if its data folder is an old copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.fetch import fetch
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.dots import Dot
from dynatwist.model.flaws import is_moment, key_flaw, record_flaw
from dynatwist.model.record import Key, Record
from dynatwist.model.records import op_of, value_of
from dynatwist.model.ring import is_system_table, partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Chose, Poll, Polled, Question, Unable
from dynatwist.replication.met import Met
from dynatwist.replication.proposal import Vote, answer
from dynatwist.replication.register import Cell, comes_after
from dynatwist.replication.register_flaws import is_ballot, value_flaw
from dynatwist.sometimes import sometimes
from dynatwist.storage.effects import Effect
from dynatwist.storage.entries import AnyEntry, CellJoined

VOTES_OF_BEFORE = ("vote ", "abstains")
"""The small named values of former releases, which decided once and for ever whose a name is."""
LEARN_AFTER_S = 2.0
"""What was accepted here so long ago, and was not said to be chosen, is asked for: its proposer may be gone."""
ASKED_A_SECOND = 50
"""So many of these at a time: a large cluster that was started again may have thousands."""


def question_flaw(question: Question) -> str:
    """Why a question is none; empty when it is one."""
    if not (question.ballot is None or is_moment(question.ballot)) or not is_ballot(question.following):
        return "one of its ballots is none"
    return value_flaw(question.key, question.value) if question.value is not None else key_flaw(question.key)


class Voting:
    """See the module.

    :param complete: has this node find out what was chosen of a register.
    """

    def __init__(self, cluster: Cluster, complete: Callable[[Key], None]) -> None:
        self._cluster = cluster
        self._complete = complete
        self._unlearnt = dict.fromkeys(cluster.store.registers.unmerged(), 0.0)
        self._met = Met(cluster.runtime.monotonic_s())
        cluster.store.observe(self._changed)
        cluster.peers.on_call(Poll, self._on_poll)
        cluster.peers.on_notice(Chose, self._on_chose)

    def start(self) -> None:
        """The log takes entries: what former releases kept of names, for ever, is not needed any more."""
        store = self._cluster.store
        for name in [name for name in store.meta if name.startswith(VOTES_OF_BEFORE)]:
            store.set_meta(name, b"")

    def _changed(self, entry: AnyEntry, effect: Effect) -> None:
        """What another owner has accepted may be chosen too, and those that accepted it be members no more."""
        if type(entry) is CellJoined and effect.is_change:
            self._unlearnt.setdefault(entry.key, self._cluster.runtime.monotonic_s())

    # Votes

    def votes_on(self, partition: int) -> bool:
        """Whether this node votes on the registers of a partition."""
        cluster = self._cluster
        return (
            cluster.ownership.owns(partition)
            and cluster.store.replicas[partition].whole
            and cluster.standing.has_met_majority(partition)
        )

    def _on_poll(self, arrival: Arrival, message: Poll, respond: Respond) -> None:
        if arrival.is_late(self._cluster.replicate_deadline_ms):
            respond(Unable("too late"))
            return
        flaw = next(filter(None, map(question_flaw, message.questions)), "")
        if flaw:
            self._cluster.links.refuse_record(arrival.node, flaw)
        self.poll(message.questions if not flaw else (), lambda votes: respond(Polled(votes)))

    def poll(self, questions: Sequence[Question], told: Callable[[list[Vote | None]], None]) -> None:
        """Vote, and tell the votes once they are durable; where their values do not fit into one answer, on the first
        ones."""
        votes: list[Vote | None] = []
        room = self._cluster.answer_bytes
        for question in questions:
            vote = self._vote(question) if room > 0 else None
            room -= len(vote.value or b"") if vote is not None else 0
            votes.append(vote)
        wal = self._cluster.store.wal
        wal.when_durable(wal.lsn, lambda: told(votes))

    def _vote(self, question: Question) -> Vote | None:
        store, key = self._cluster.store, question.key
        partition = partition_of(*key)
        if not self.votes_on(partition):
            sometimes("an owner does not vote on a register")
            return None
        before = cell = store.registers.cell(key)
        if question.ballot is not None and question.value is None:
            cell = before.promise(question.ballot)
            if cell is not before:
                store.registers.promise(key, question.ballot)
        elif question.ballot is not None and question.value is not None:
            held = store.replicas[partition].records.packed(key)
            if held is not None and not comes_after(question.value, held):
                sometimes("a value arrives that was superseded long ago")
                return None
            cell = before.accept(question.ballot, question.following, question.value)
            if cell is not before:
                if store.wal.is_behind or store.wal.refusal(adds=_takes_room(before, question)):
                    sometimes("an owner does not accept what its log has no room for")
                    return None
                store.registers.accept(key, question.ballot, question.following, question.value)
                self._unlearnt[key] = self._cluster.runtime.monotonic_s()
                self._met.note(op_of(question.value), self._cluster.runtime.monotonic_s())
        vote = answer(cell, question.value, question.known, store.registers.floor(partition).version)
        if question.op and self._met.may_have_met(question.op, self._cluster.runtime.monotonic_s()):
            sometimes("an owner may have accepted what another proposer made of a request")
            return msgspec.structs.replace(vote, has_met=True)
        return vote

    # What is chosen

    def _on_chose(self, arrival: Arrival, message: Chose) -> None:
        missed = [key for key, dot in message.chosen if not self.learn(key, dot)]
        if missed:
            sometimes("what was chosen is fetched from its proposer, since this node had not accepted it")
            fetch(self._cluster, arrival.node, missed, self._merge, lambda ok: None)

    def learn(self, key: Key, dot: Dot) -> bool:
        """What was accepted is chosen: it is a record from now on.

        :returns: whether it is one here.
        """
        store, partition = self._cluster.store, partition_of(*key)
        if not self._cluster.ownership.owns(partition):
            return True
        store.registers.learn(key, dot)
        if not store.replicas[partition].clock.covers(dot):
            return False
        self._is_learnt(key)
        return True

    def _merge(self, records: list[tuple[Key, Record]]) -> None:
        for key, record in records:
            if not record_flaw(key, record) and self._cluster.ownership.owns(partition_of(*key)):
                self._cluster.store.merge(key, record)
                self._is_learnt(key)

    def _is_learnt(self, key: Key) -> None:
        if self._cluster.store.registers.is_merged(key):
            self._unlearnt.pop(key, None)

    @property
    def unlearnt(self) -> int:
        """How many registers have accepted something that is not known to be chosen."""
        return len(self._unlearnt)

    def unlearnt_keys(self) -> list[Key]:
        """The keys of these registers."""
        return list(self._unlearnt)

    def tick(self) -> None:
        """Find out what became of what was accepted and never said to be chosen; to be called every second."""
        before_s = self._cluster.runtime.monotonic_s() - LEARN_AFTER_S
        self._met.sweep(self._cluster.runtime.monotonic_s())
        late = [key for key, accepted_s in self._unlearnt.items() if accepted_s < before_s][:ASKED_A_SECOND]
        for key in late:
            self._is_learnt(key)
            if key in self._unlearnt:
                sometimes("an owner finds out what was chosen, since nobody has told it")
                self._unlearnt[key] = self._cluster.runtime.monotonic_s()
                self._complete(key)


def _takes_room(before: Cell, question: Question) -> bool:
    """Whether accepting takes room on the disk for good: not a delete, nor a change of a user that there is."""
    assert question.value is not None
    return value_of(question.value) is not None and not (before.value and is_system_table(question.key[0]))
