"""Registers: each of their rules taken away, and plain mistakes."""

from __future__ import annotations

from dynatwist.agreement import registers, run, turns
from dynatwist.agreement.rewriting import Rewriting
from dynatwist.agreement.voting import Voting
from dynatwist.cluster.standing import Standing
from dynatwist.model import record
from dynatwist.model.clock import Stamp
from dynatwist.model.records import unpack
from dynatwist.repair.cells import CellPull
from dynatwist.replication import proposal
from dynatwist.replication.collection import Collection
from dynatwist.replication.proposal import Proposal
from dynatwist.replication.register import Cell, Registers
from dynatwist.requests import deciding, strong
from dynatwist.requests.coordinator import Coordinator
from dynatwist.requests.table_changes import TableChanges
from dynatwist.storage import saved
from dynatwist.storage.register_store import RegisterStore

from .edits import edit
from .faults import under

AWAY = ("partitions", "one_way", "slow_links", "kills")
"""Who proposes is not heard by all, and others are."""
LOST = ("wipes", "lost_logs", "flips", "kills", "partitions")
"""What an owner keeps is gone, and others go on."""
CHANGES = ("upheavals", "joins", "forgets", "partitions")

# Acceptors


@under(*AWAY)
def a_register_breaks_its_promise(patch):
    """Whatever is to be accepted is accepted, whatever was promised since."""
    edit(patch, Cell, "accept", "self if ballot < self.promised else Cell", "Cell")


@under("power_cuts", "kills", *AWAY)
def a_promise_that_is_kept_in_memory(patch):
    """A promise is not in the log."""

    def promise(self, key, ballot):
        found = self._state.registers[self._state.replica_of(key).number]
        found.keep(key, self.cell(key).promise(ballot))

    patch.setattr(RegisterStore, "promise", promise)


@under("power_cuts", "kills", *AWAY)
def a_vote_is_told_before_it_is_durable(patch):
    """An acceptor answers at once."""
    edit(patch, Voting, "poll", "wal.when_durable(wal.lsn, lambda: told(votes))", "told(votes)")


@under(*AWAY)
def what_is_accepted_is_a_record(patch):
    """An acceptor merges what it has accepted, before anybody knows whether it is chosen."""
    accept = RegisterStore.accept

    def accept_and_learn(self, key, ballot, following, value):
        accept(self, key, ballot, following, value)
        self.learn(key, proposal.unpack(value).dot)

    patch.setattr(RegisterStore, "accept", accept_and_learn)


@under(*LOST)
def an_owner_that_may_have_forgotten_votes(patch):
    """A node votes on what it does not hold all of."""
    edit(patch, Voting, "votes_on", "and cluster.store.replicas[partition].whole", "")


@under(*LOST)
def registers_are_not_fetched(patch):
    """A damaged owner is whole once it has the records, without what other owners have promised and accepted."""
    patch.setattr(CellPull, "_join", lambda self, partition, reply: None)


@under(*LOST)
def registers_of_damaged_owners_keep_the_lower_promise(patch):
    """Of what two owners tell, the one counts that comes last."""
    edit(patch, Cell, "joined", "max(self.promised, other.promised)", "other.promised")


@under("kills", *AWAY)
def registers_are_not_saved(patch):
    """A cold save leaves registers out."""
    edit(patch, saved, "item_of", "registers.cells.get(key)", "None")
    from dynatwist.storage import snapshot

    patch.setattr(snapshot, "item_of", saved.item_of)


def a_floor_that_does_not_rise(patch):
    """What is forgotten leaves nothing behind: no ballot, and no version."""
    edit(patch, Registers, "forget", "before.raised(floor)", "before")


def a_register_is_proposed_to_below_the_floor(patch):
    """Where there is no register any more, any ballot is promised."""
    edit(patch, Registers, "cell", "Cell(self.floor.ballot, NEVER", "Cell(NEVER, NEVER")


@under(*AWAY)
def a_register_is_forgotten_whatever_it_has_accepted(patch):
    """A tombstone is collected, and with it what was accepted over it."""
    edit(patch, Registers, "forgettable", "and dot_of(cell.value) == dot", "")


@under(*AWAY)
def what_is_chosen_takes_the_place_of_what_came_after(patch):
    """A record that is merged replaces what a register has accepted, also what was written over that record."""
    edit(patch, Cell, "learn", "return self if comes_after(self.value, value) else Cell", "return Cell")


# Proposers


@under(*AWAY)
def a_register_is_written_over_whatever_was_accepted(patch):
    """A proposer makes its change of nothing, whatever others have accepted."""
    edit(patch, Proposal, "_promised", "found = _latest(", "found = b'' and _latest(")


@under(*AWAY)
def the_first_accepted_value_counts(patch):
    """Not the one that was accepted under the greatest ballot."""

    def first(accepted):
        return next((value for _, value in accepted if value), b"")

    patch.setattr(proposal, "_latest", first)


@under(*AWAY)
def promises_of_any_ballot_count(patch):
    """An answer counts as a promise, though a higher ballot was promised."""
    edit(patch, Proposal, "_promised", "if vote.promised == self._ballot}", "}")


@under(*AWAY)
def anything_accepted_counts(patch):
    """An answer counts as an acceptance, though the ballot was refused."""
    edit(patch, Proposal, "_accepted", "if (vote.accepted, vote.promised) == asked}", "}")


@under(*AWAY)
def a_read_shows_what_was_only_accepted(patch):
    """A reader takes what one of a majority has accepted, where they differ."""
    edit(patch, Proposal, "_looked", "len(told) > 1", "False")


@under(*AWAY)
def a_reader_asks_itself(patch):
    """One answer is enough for a read."""
    edit(patch, Proposal, "_looked", "if not self._is_majority(set(self._votes)):", "if not self._votes:")


@under(*AWAY)
def a_refusal_by_what_this_node_knows(patch):
    """A steady proposer refuses a change by its own cell, without asking anybody."""
    edit(patch, Proposal, "begin", "return self._look()  #", "return Chosen(cell.value, frozenset())  #")


@under("kills", *AWAY)
def a_ballot_that_does_not_name_the_process(patch):
    """The ballots of all proposers are alike: a time, and a count that begins anew."""

    def ballot(self, after):
        return Stamp(max(after.ms + 1, 1), 0, b"0" * 16)

    original = Proposal.__init__

    def init(self, **arguments):
        arguments["ballot_after"] = lambda after: ballot(self, after)
        original(self, **arguments)

    patch.setattr(Proposal, "__init__", init)


@under(*AWAY)
def a_proposer_is_always_steady(patch):
    """A proposer asks to accept at once, under whatever ballot its own register has promised."""
    edit(
        patch,
        Proposal,
        "begin",
        "if cell.promised != steady or steady == NEVER or self._is_repeated:",
        "if cell.promised == NEVER:",
    )


@under(*CHANGES)
def registers_by_the_new_owners_alone(patch):
    """While members change, the old owners need not agree."""
    edit(
        patch,
        run.Run,
        "start",
        "cluster.ownership.groups(partition)",
        "cluster.ownership.groups(partition)[-1:]",
    )


@under(*CHANGES)
def votes_by_another_registry_count(patch):
    """What was asked by one registry goes on though there is another."""
    edit(patch, run.Run, "_ask", "if self._version == self._registers.cluster.version:", "if True:")


@under(*AWAY)
def a_change_is_made_twice(patch):
    """A proposer whose change was chosen without its knowledge makes it again."""
    patch.setattr(Rewriting, "made_in", lambda self, held: next((o for o in self._made if o.dot == held.dot), None))


def versions_begin_anew(patch):
    """A key that was deleted and collected begins with version 1 again."""
    edit(patch, Rewriting, "_write", "store.exact_creations, version)", "store.exact_creations, 0)")


@under(*AWAY)
def a_ballot_is_used_for_two_values(patch):
    """A proposer goes on by the ballot that it was promised, though it has used it, and counts whatever was accepted
    under it."""
    edit(
        patch,
        registers.Registers,
        "take_steady",
        "self._steady.pop(key, (0, NEVER))",
        "self._steady.get(key, (0, NEVER))",
    )
    edit(patch, Proposal, "_accepted", "(vote.accepted, vote.promised) == asked", "vote.accepted == self._ballot")


def registers_that_become_records_during_a_save_are_left_out(patch):
    """A cold save lists registers without records after the records, and leaves out what became one meanwhile."""
    edit(patch, saved, "walk", "key not in listed", "key not in replica.records")
    from dynatwist.storage import snapshot

    patch.setattr(snapshot, "walk", saved.walk)


def what_was_drafted_counts_as_made(patch):
    """A change counts as made though it was drafted only, and never proposed."""
    edit(patch, Rewriting, "__call__", "self._drafted.append((record, packed))", "self._made.append((record, packed))")
    patch.setattr(Rewriting, "proposed", lambda self, value: None)


def a_creation_in_the_generation_of_a_tombstone(patch):
    """Whoever holds a tombstone that others have collected creates the key in its generation."""
    edit(patch, Rewriting, "_write", "if held is None and here is not None:", "if False:")


def a_tombstone_accepted_again_stays(patch):
    """A register that completes a tombstone which was collected here is kept for ever."""
    edit(patch, RegisterStore, "learn", "if self._state.held(key) is None and", "if False and")


def a_steady_proposer_judges_ends_by_itself(patch):
    """A change of what has an end is tried by the time that this node knows to be over."""
    edit(patch, strong._Write, "_propose", "has_end = known is not None", "has_end = False")


def a_read_follows_whatever_comes(patch):
    """A read waits for one change after another, as long as there are any."""
    patch.setattr(turns.Follower, "__init__", _patient)
    patch.setattr(turns.Turns, "tell", _again)


def _patient(self, runtime, until_s, done):
    self.until_s, self._done, self._timer = until_s, done, None


def _again(self, key, followers, ended):
    for one in followers:
        if ended.chosen is None:
            self.read(key, one.until_s, one._done)
        else:
            one.end(ended)


def what_is_aside_is_not_counted(patch):
    """A damaged member says that it holds nothing of a table, though it has something set aside."""
    edit(patch, TableChanges, "_change_consistency", "if not all(one.is_whole for one in counted):", "if False:")


def whoever_comes_too_late_opens_a_table(patch):
    """Of two changes of how a table is kept, the one that found the table closed undoes the other one."""
    rule = "if held.consistency is not Consistency.CLOSING or held.claim != claim:"
    edit(patch, TableChanges, "_change_consistency", rule, "if False:")


def a_closing_table_is_read_by_the_old_rules(patch):
    """A member that has not heard that a table is open reads what it has of it."""
    edit(patch, Coordinator, "_carry_out", "consistency is Consistency.CLOSING and not operation.is_write", "False")


def a_floor_that_rises_where_there_was_a_register(patch):
    """A tombstone that came by a round, and has no register here, leaves no floor when it is dropped."""
    edit(patch, RegisterStore, "follow_drop", "if stamps:", "if stamps and keys:")


@under(*AWAY)
def a_late_value_is_accepted_over_what_is_chosen(patch):
    """Whatever arrives late is accepted, though its writer had not seen the record that is held."""
    from dynatwist.agreement import voting
    from dynatwist.replication import register

    patch.setattr(voting, "comes_after", lambda value, chosen: True)
    patch.setattr(register, "comes_after", lambda value, chosen: True)


# Names of writes


def a_name_is_not_looked_for(patch):
    """A write that is sent again under its name is made again."""
    patch.setattr(deciding, "made_before", lambda held, name, now_ms: None)


def only_the_last_name_is_remembered(patch):
    """A record forgets its writes' names when it is written over."""
    patch.setattr(record, "remembered", lambda before, new, now_ms: (new,) if new is not None else ())


def names_go_with_the_grace(patch):
    """Deletes that remember names are collected as all others."""
    edit(patch, Collection, "_wait_s", "max(grace_s, self._named_s)", "grace_s")


def a_name_is_anybodys_body(patch):
    """What is written under a name that is taken already is taken for what was."""
    edit(patch, deciding.Deciding, "made_before", "before.name != operation.name", "False")


# What histories found later


def an_owner_without_the_settings_coordinates(patch):
    """A node that does not hold all of the system's partition carries out requests, on strong tables by itself."""
    edit(
        patch, Standing, "may_coordinate", "if partition != SYSTEM_PARTITION and not self.knows_settings:", "if False:"
    )


def what_is_chosen_is_merged_however_late(patch):
    """A proposer that hears late that its value was chosen merges it, though it was deleted and collected."""

    def merge(self, key, chosen):
        self._cluster.store.merge(key, unpack(chosen.value), chosen.value)

    patch.setattr(registers.Registers, "_merge", merge)


def what_may_be_chosen_yet_is_given_up(patch):
    """The name of what an owner has accepted counts as merged, since its request was told what it was written over."""
    edit(patch, Rewriting, "_is_in_vain", "return False", "return True")


def cells_that_were_taken_over_are_nobodys(patch):
    """Nobody finds out what became of a value that only members of before have accepted by themselves."""
    edit(patch, Voting, "_changed", "if type(entry) is CellJoined", "if False")
