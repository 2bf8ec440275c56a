"""Small mistakes in agreement, changes of members, filling and rounds: one line each."""

from __future__ import annotations

from dynatwist.agreement.agreement import Acceptors, Agreement
from dynatwist.agreement.registrar import Registrar
from dynatwist.cluster import standing
from dynatwist.model.registry import Registry, is_majority_of_each
from dynatwist.model.replica import Replica
from dynatwist.repair import tombstones
from dynatwist.repair.answers import RoundAnswers
from dynatwist.repair.cells import CellPages
from dynatwist.repair.hand_off import HandOff
from dynatwist.repair.rounds import RoundRun
from dynatwist.repair.takeover import Takeover
from dynatwist.repair.wholeness import Wholeness
from dynatwist.replication import filling, paxos
from dynatwist.replication.collection import Collection
from dynatwist.replication.filling import Filling
from dynatwist.replication.losses import Losses
from dynatwist.replication.paxos import Proposal
from dynatwist.replication.round import PartitionRound

from .edits import edit
from .faults import under

CHANGES = ("upheavals", "joins", "forgets", "partitions")
"""Members change all the time, and not everybody hears of it."""

# Agreement


def an_acceptor_that_breaks_its_promise(patch):
    """Whatever is to be accepted is accepted, whatever was promised since."""
    from dynatwist.agreement import agreement

    edit(patch, paxos, "accept", "vote if vote.promised > ballot else Vote", "Vote")
    patch.setattr(agreement, "accept", paxos.accept)


def a_proposer_ignores_what_was_accepted(patch):
    """A proposer has its own value accepted, whatever others have accepted before."""
    edit(patch, Proposal, "on_promise", "if vote.accepted > self._best:", "if False:")


def a_proposer_takes_the_first_accepted_value_it_hears_of(patch):
    """Not the one accepted under the greatest ballot."""
    edit(patch, Proposal, "on_promise", "vote.accepted > self._best:", "vote.accepted > self._best == NO_BALLOT:")


def a_proposer_counts_promises_of_any_ballot(patch):
    """An answer to `prepare` counts, though a higher ballot was promised."""
    edit(patch, Proposal, "on_promise", "if vote.promised != self.ballot:", "if False:")


def a_proposer_counts_whatever_was_accepted(patch):
    """An answer to `accept` counts, though another value was accepted."""
    edit(patch, Proposal, "on_accepted", "if vote.accepted != self.ballot:", "if False:")


@under(*CHANGES)
def agreement_by_the_new_members_alone(patch):
    """While members change, the old ones need not agree."""
    edit(
        patch,
        Agreement,
        "_start_ballot",
        "[registry.ids, registry.previous_ids] if registry.changing else [registry.ids]",
        "[registry.ids]",
    )


def a_ballot_that_is_used_twice(patch):
    """A ballot names its round and its node."""
    edit(patch, Acceptors, "ballot", " + identity.epoch", "")
    edit(patch, Proposal, "__init__", " + next(_numbers).to_bytes(8)", "")


def two_proposals_of_one_node_at_once(patch):
    """A node proposes twice for one slot at the same time, by ballots of its own."""
    edit(patch, Acceptors, "enter", "return len(queue) == 1", "return True")


# Changes of members


@under(*CHANGES)
def an_amended_change_forgets_the_members_before_it(patch):
    """A change that is amended counts the members of its first version as the old ones."""
    edit(
        patch,
        Registrar,
        "_goal",
        "registry.without(self._unwanted)",
        "registry.with_members(registry.without(self._unwanted).members)",
    )


def an_earlier_version_of_a_change_is_confirmed(patch):
    """Who is asked whether a change may end does not look at its version."""
    edit(patch, Registrar, "_on_settle", "message.registry != self._cluster.version", "False")


def only_joiners_have_to_be_whole(patch):
    """An owner that stays need not fetch, though owners become fewer."""
    edit(patch, filling, "owes", "node not in old or", "node not in old or False and")


def what_was_fetched_for_an_earlier_version_counts(patch):
    """A change is amended, and what was fetched before from some owners counts on."""
    edit(patch, Filling, "begin", "self._fetched.clear()", "pass")


def one_source_less_is_enough(patch):
    """A majority less one may have what none of the sources has."""
    from dynatwist.repair import wholeness

    edit(patch, filling, "sources_needed", "- majority(len(owners)) + 1", "- majority(len(owners))")
    patch.setattr(wholeness, "sources_needed", filling.sources_needed)


@under(*CHANGES)
def a_joiner_fetches_from_the_new_owners(patch):
    """Whoever owns the partition by the new members may be a source."""
    from dynatwist.repair import wholeness

    edit(patch, filling, "sources_of", "registry.old_owners(partition) or ", "")
    patch.setattr(wholeness, "sources_of", filling.sources_of)


def who_is_struck_out_and_away_is_lost_at_once(patch):
    """A member that is struck out while it is cut off is not waited for."""
    edit(patch, Losses, "is_lost", "> self._lost_after_looks", "> 0")


def a_returning_owner_keeps_what_it_has(patch):
    """A new owner that owned the partition once counts what it holds of it."""
    from dynatwist.repair import takeover

    edit(
        patch,
        filling,
        "starts_over",
        "if not had or (is_joining and not is_amended):",
        "if before is None or not (had or before.version + 1 < after.version):",
    )
    patch.setattr(takeover, "starts_over", filling.starts_over)


def a_crash_after_a_new_registry_is_forgotten(patch):
    """After a restart nobody looks whether what a registry means for the replicas was done."""
    edit(patch, Takeover, "resume", "if before is not None or cluster.identity.logs_registry:", "if False:")


def a_change_ends_before_what_was_fetched_is_durable(patch):
    """A node says that it has all it needs, and a power cut takes it back."""
    edit(patch, Registrar, "_on_settle", "wal.when_durable(wal.lsn, lambda: respond(Done()))", "respond(Done())")
    edit(patch, Registrar, "_settle", "wal.when_durable(wal.lsn, durable)", "durable()")


def one_group_met_is_enough(patch):
    """After a start, a majority of the old owners or of the new is enough to serve."""

    def of_any(those, groups):
        return any(is_majority_of_each(those, [group]) for group in groups)

    patch.setattr(standing, "is_majority_of_each", of_any)


# Filling, rounds, collection


def a_source_does_not_say_that_it_is_not_whole(patch):
    """A damaged owner with nothing to give counts as a source."""
    edit(patch, RoundAnswers, "_on_summaries", "sorted(message.summaries.keys() & set(filling))", "[]")
    edit(patch, CellPages, "_on_pull", "cluster.store.replicas[partition].whole", "True")


def whoever_answered_is_a_source(patch):
    """A round with an owner that is not whole fills too."""
    edit(patch, Wholeness, "fetched", " and (partition in whole or self._is_nobody_whole(partition))", "")


def buckets_of_an_owner_that_is_not_whole_are_compared(patch):
    """What an owner that is not whole does not hold counts as collected."""
    edit(patch, PartitionRound, "may_settle", "None if mine_whole and peer_whole else self._over()", "None")
    edit(patch, PartitionRound, "joined", " and mine.whole and page.side.whole", "")


def a_round_does_not_adopt_the_generation(patch):
    """A peer's clock is joined, and its G is not."""
    edit(patch, RoundRun, "_do", "side.generation)", "0)")


def a_merge_does_not_adopt_the_generation(patch):
    """A record of a later generation is held, and G stays."""
    edit(patch, Replica, "merge", "if record.lineage.generation > self.generation:", "if False:")
    edit(patch, Replica, "succeed", "if generation > self.generation:", "if False:")


def the_generation_of_the_first_that_is_dropped(patch):
    """G is raised beyond the first tombstone of a page, not beyond all."""
    edit(
        patch,
        tombstones.Tombstones,
        "_pages",
        "max(replica.records[key].lineage.generation for key, _ in drops)",
        "replica.records[drops[0][0]].lineage.generation",
    )


def a_walk_misses_what_comes_meanwhile(patch):
    """A look at digest buckets takes several turns, and does not see the keys that come between."""
    edit(patch, Replica, "_note_new", "walk.note(key)", "pass")


def clocks_of_the_look_before_count(patch):
    """An owner that does not answer is taken by what it said before."""
    edit(patch, Collection, "begin", "self._clocks.clear()", "pass")


def an_owner_that_is_not_whole_answers_for_its_clock(patch):
    """Collection goes by the clock of an owner that has to fetch what it acknowledged."""
    from dynatwist.repair import hand_off

    edit(patch, tombstones, "answer_clocks", "replica.whole if partition in owned", "True if partition in owned")
    patch.setattr(hand_off, "answer_clocks", tombstones.answer_clocks)


def a_partition_is_handed_off_after_a_reset(patch):
    """What was confirmed before the partition came back counts when it is dropped."""
    edit(patch, HandOff, "_drop_covered", "replica.resets == resets[partition] and ", "")


def partitions_are_handed_off_while_members_change(patch):
    """An owner on its way out lets go before the change has ended."""
    edit(patch, HandOff, "surplus", "registry is None or registry.changing", "registry is None")


def a_page_of_another_round(patch):
    """Rounds of one peer are told apart by the last key of a page alone."""

    def by_key(self, node, message):
        walks, place = self._walks.get(node, {}), (message.partition, message.after)
        fitting = [number for number, one in walks.items() if (one.replica.number, one.last) == place]
        return walks.pop(fitting[-1]) if fitting else None

    patch.setattr(RoundAnswers, "_find", by_key)


# Zones


@under("moves", "kills", "partitions")
def zones_count_from_one_moment_to_the_next(patch):
    """Members that are in other zones own other partitions at once, and nobody moves any data for it."""
    edit(patch, Registry, "with_members", "== _zones(self.members, self.zoned)", "is not None")


@under("moves", "kills", "partitions")
def the_old_owners_are_looked_for_by_the_new_rule(patch):
    """While zones begin to count, those that they would have made owners are taken for the old ones."""
    edit(patch, Registry, "old_owners", "self.previously_zoned", "self.zoned")


@under("moves", "kills", "partitions")
def zones_are_forgotten_when_a_change_ends(patch):
    """The version that ends a change places partitions as if no zones were known."""
    edit(patch, Registry, "settled", "previously_zoned=False", "previously_zoned=False, zoned=False")
