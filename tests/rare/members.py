"""Agreement, changes of members, filling and collection in states that histories reach too seldom.

Each scenario holds, and breaks with a planted defect: so that would show.
"""

from __future__ import annotations

import json

from dynatwist.agreement.rewriting import Rewriting
from dynatwist.model.clock import Stamp
from dynatwist.model.record import Draft
from dynatwist.model.registry import Member, Registry
from dynatwist.model.ring import ALL_PARTITIONS, PARTITIONS, partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Poll, Question, Summaries
from dynatwist.repair import tombstones
from dynatwist.replication import filling
from dynatwist.replication.filling import Filling
from dynatwist.replication.paxos import Proposal, Vote
from dynatwist.sim.cluster import SimNode
from dynatwist.sim.world import Killed
from tests.test_findings import ask, settled


def key_of(cluster, *owners: SimNode):
    """A key that these nodes own, among others."""
    ids = {node.node_id for node in owners}
    keys = (("t", f"k{number}") for number in range(10_000))
    registry = cluster.registry()
    return next(key for key in keys if ids <= set(registry.owners(partition_of(*key))))


def isolate(cluster, *nodes: SimNode) -> None:
    for node in nodes:
        cluster.network.cut([node.host], [other.host for other in cluster.nodes if other is not node])


def changing(stall_s: float = 0.5):
    """Three nodes, and a fourth whose disk is so slow that its joining takes a while."""
    world, cluster = settled(3)
    joiner = cluster.add()
    joiner.disk.stall_s = stall_s
    joiner.start()
    assert world.run_until(lambda: cluster.nodes[0].core.cluster.registry.changing, 20, step_s=0.01)
    return world, cluster


def members(text: str) -> tuple[Member, ...]:
    return tuple(Member(name.encode() * 8, name, 1, 2) for name in text)


# Agreement


def a_proposer_takes_what_was_accepted_last():
    """Votes are divided: one that has promised accepted something, and another one something else later."""
    proposal = Proposal([[b"a", b"b", b"c"]], (3, b"c"), b"mine")
    assert not proposal.on_promise(b"a", Vote(proposal.ballot, (1, b"a"), b"earlier"))
    assert proposal.on_promise(b"b", Vote(proposal.ballot, (2, b"b"), b"later"))
    assert proposal.value == b"later"


def append(world, node, name, limit_s=4.0):
    """Have a node add a name to a register; answers all that it names then, or nothing."""
    key, ended = ("_rivals", "r"), []

    def draft(held):
        names = json.loads(held.value)["names"] if held is not None and held.value is not None else []
        return Draft(json.dumps({"names": [*names, name]}).encode(), "x")

    made = Rewriting(node.core.store, key, draft)
    until_s = node.process.seconds() + limit_s
    node.process.run(node.core.registers.change, key, made, until_s, ended.append)
    assert world.run_until(lambda: bool(ended), 2 * limit_s, step_s=0.01)
    mine = made.result(ended[0])
    return json.loads(mine.value)["names"] if mine is not None else None


def whoever_lost_its_votes_gives_none():
    """Two of three accepted something, one of them loses its log; the third and that one are the next majority."""
    world, cluster = settled(3)
    first, loser, third = cluster.nodes
    third.kill()
    assert append(world, first, "first") == ["first"]
    isolate(cluster, first)
    loser.kill()
    loser.disk.lose_log()
    loser.start()
    third.start()
    world.run(world.now_s + 3)
    assert append(world, third, "second") is None
    cluster.network.heal()
    assert world.run_until(cluster.is_settled, 60)
    assert append(world, third, "third") == ["first", "third"]


def an_owner_that_was_damaged_knows_what_others_have_promised():
    """An owner promises a ballot, and forgets it; it votes again once it knows from others what it had promised."""
    world, cluster = settled(3)
    first, loser, third = cluster.nodes
    key, ballot = ("_rivals", "r"), Stamp(first.wall_ms() + 1000, 0, b"p" * 16)
    for node in (loser, third):
        poll = Poll(node.core.cluster.version, [Question(key, ballot)])
        node.process.run(node.core.cluster.peers.handle, Arrival(first.node_id), poll, lambda reply: None)
    world.run(world.now_s + 0.5)
    loser.kill()
    loser.disk.lose_log()
    loser.start()
    assert world.run_until(
        lambda: cluster.is_settled() and not loser.core.cluster.standing.not_whole(), 60, step_s=0.05
    )
    assert loser.core.store.registers.cell(key).promised == ballot


def versions_go_on_over_a_delete_that_was_collected():
    world, cluster = settled(3, tombstone_grace_s=0.5)
    first = cluster.nodes[0]
    assert append(world, first, "first") == ["first"]
    key, over = ("_rivals", "r"), []

    def draft(held):
        return Draft(None, "x") if held is not None and held.value is not None else None

    made = Rewriting(first.core.store, key, draft)
    first.process.run(first.core.registers.change, key, made, first.process.seconds() + 5, over.append)
    assert world.run_until(lambda: bool(over), 10, step_s=0.01)
    stores = [node.core.store for node in cluster.nodes]
    assert world.run_until(lambda: all(store.registers.kept(key) is None for store in stores), 60)
    assert append(world, cluster.nodes[1], "second") == ["second"]
    assert cluster.nodes[1].core.store.held(key).version == 3


# Registries


def a_change_that_is_amended_goes_on_from_the_members_before_it():
    world, cluster = changing()
    first = cluster.nodes[0].core
    before = first.cluster.registry
    first.registrar.forget(cluster.nodes[2].node_id)
    assert world.run_until(lambda: first.cluster.version > before.version, 5, step_s=0.001)
    assert first.cluster.registry.changing
    assert first.cluster.registry.previous == before.previous


def an_owner_that_stays_fetches_where_owners_become_few():
    """One of three may lack what two have; of the two that stay, none may."""
    registry = Registry(b"c", 2, 3, members("bc"), members("abc"))
    assert all(filling.owes(registry, b"b" * 8, partition) for partition in range(ALL_PARTITIONS))


def what_a_change_needs_is_fetched_under_its_last_version():
    """What one source had is not what it has by now; and the one asked next need not have the difference."""
    joiner = Filling()
    joiner.begin(Registry(b"c", 2, 3, members("abd"), members("abc")), b"d" * 8)
    joiner.fetched(0, 0, b"a" * 8)
    joiner.begin(Registry(b"c", 3, 3, members("acd"), members("abc")), b"d" * 8)
    assert joiner.sources(0, 0) == set()


def whoever_is_struck_out_while_away_for_a_moment_is_waited_for():
    """Two that alone have a write are cut off for some seconds, in which they are struck out."""
    world, cluster = settled(5)
    key = key_of(cluster)
    owners = [node for node in cluster.nodes if node.node_id in cluster.registry().owners(partition_of(*key))]
    ignorant, *struck = owners
    isolate(cluster, ignorant)
    world.run(world.now_s + 3)
    assert ask(world, struck[0], "put", key, level="majority").code.value == "ok"
    cluster.network.heal()
    isolate(cluster, *struck)
    for node in struck:
        ignorant.core.registrar.forget(node.node_id)
    world.run(world.now_s + 7)
    assert ask(world, ignorant, "get", key, level="majority").code.value != "absent"
    cluster.network.heal()
    assert world.run_until(lambda: not cluster.registry().changing, 30)
    assert ask(world, ignorant, "get", key, level="majority").code.value == "ok"


def what_was_set_aside_is_handed_off_though_its_node_dies_as_it_loses_the_partition():
    """Only its disk has some writes; it is damaged, others take over while it is down, and it dies hearing that."""
    world, cluster = settled(4)
    lost = cluster.nodes[3]
    keys = [("t", f"k{number}") for number in range(60)]
    mine = [key for key in keys if lost.node_id in cluster.registry().owners(partition_of(*key))]
    isolate(cluster, lost)
    world.run(world.now_s + 3)
    for key in mine:
        assert ask(world, lost, "put", key, level="one").code.value == "ok"
    for partition in {partition_of(*key) for key in mine}:
        lost.process.run(lost.core.store.cease_whole, partition)
    world.run(world.now_s + 0.1)
    lost.kill()
    cluster.add().start()
    assert world.run_until(lambda: len(cluster.registry().ids) == 5 and not cluster.registry().changing, 20)
    taken = [key for key in mine if lost.node_id not in cluster.registry().owners(partition_of(*key))]
    assert taken
    cluster.network.heal()

    def dies(before, after):
        lost.kill(power=True)
        raise Killed

    cluster.on_core = lambda node, core: core.cluster.on_registry.insert(0, dies)
    lost.start()
    assert world.run_until(lambda: not lost.running, 20, step_s=0.001)
    cluster.on_core = lambda node, core: None
    lost.start()
    world.run(world.now_s + 10)
    for key in taken:
        assert ask(world, cluster.nodes[0], "get", key, level="majority").code.value == "ok"


def whoever_confirms_a_change_has_it_on_its_disk():
    world, cluster = settled(4)
    joiner, answers = cluster.nodes[3], []
    joiner.disk.stall_s = 0.5
    joiner.core.store.set_meta("something", b"fetched just now")
    message = type("Settle", (), {"registry": cluster.registry().version})
    joiner.process.run(joiner.core.registrar._on_settle, b"", message, answers.append)
    assert answers == []
    world.run(world.now_s + 2)
    assert len(answers) == 1


def after_a_start_the_old_owners_count_as_much_as_the_new():
    """Joiners do not know how often a node has started: they do not tell it that its disk is an old one."""
    _, cluster = changing(stall_s=5.0)
    first, joiner = cluster.nodes[0], cluster.nodes[3]
    first.core.cluster.standing._met = frozenset({joiner.node_id})
    first.core.cluster.standing._met_majorities.clear()
    registry = first.core.cluster.registry
    moving = [p for p in range(PARTITIONS) if {first.node_id, joiner.node_id} <= set(registry.owners(p))]
    assert moving
    assert not any(first.core.cluster.standing.has_met_majority(partition) for partition in moving)


# Filling


def a_damaged_owner_is_no_source():
    """Of three old owners one has a write, and is away; one has lost it; one never had it."""
    world, cluster = settled(3)
    ignorant, away, damaged = cluster.nodes
    joiner, key = cluster.add(), ("t", "k")
    isolate(cluster, ignorant)
    world.run(world.now_s + 3)
    assert ask(world, away, "put", key, level="majority").code.value == "ok"
    isolate(cluster, away, damaged)
    world.run(world.now_s + 3)
    for partition in range(ALL_PARTITIONS - 1):
        damaged.process.run(damaged.core.store.reset, partition, False)
    world.run(world.now_s + 1)
    cluster.network.heal()
    isolate(cluster, away)
    joiner.start()
    world.run(world.now_s + 10)
    assert cluster.registry().changing
    assert joiner.core.cluster.standing.filling.due


def a_damaged_owner_says_so_where_nothing_differs():
    world, cluster = settled(3)
    first, damaged = cluster.nodes[0].core, cluster.nodes[1].core
    damaged.store.replicas[7].whole = False
    answers = []
    damaged.repair.answers._on_summaries(
        Arrival(b""), Summaries(1, {7: damaged.store.replicas[7].summary()}, first.store.wall_ms()), answers.append
    )
    world.run(world.now_s + 1)
    assert [(answer.partitions, answer.not_whole) for answer in answers] == [([], [7])]


# Collection


def a_joiner_goes_on_from_the_generation_of_those_it_fetches_from():
    world, cluster = settled(3, tombstone_grace_s=0.5)
    key = ("t", "k")
    ask(world, cluster.nodes[0], "put", key)
    ask(world, cluster.nodes[0], "delete", key)
    partition = partition_of(*key)
    assert world.run_until(lambda: all(one.store.replicas[partition].generation for one in cluster.cores()), 20)
    found = 0
    while not found:
        joiner = cluster.add()
        joiner.start()
        assert world.run_until(cluster.is_settled, 60)
        found = joiner.node_id in cluster.registry().owners(partition)
    assert joiner.core.store.replicas[partition].generation == 1


def a_generation_is_beyond_all_that_are_dropped_together():
    for seed in (3, 4, 6):  # both deletes have to come between the same two looks
        drop_two_together(seed)


def drop_two_together(seed):
    world, cluster = settled(3, seed, tombstone_grace_s=0.5)
    names = [f"k{number}" for number in range(5000)]
    first, old, young = [("t", one) for one in names if partition_of("t", one) == partition_of("t", names[0])][:3]
    node = cluster.nodes[0]
    replica = node.core.store.replicas[partition_of(*first)]
    for key in (old, first):
        ask(world, node, "put", key, level="all")
    ask(world, node, "delete", first, level="all")
    assert world.run_until(lambda: replica.generation == 1, 20)
    ask(world, node, "put", young, level="all")
    for key in (old, young):
        ask(world, node, "delete", key, level="all")
    generations = [replica.records[key].lineage.generation for key in (old, young)]
    assert generations == [0, 1]
    assert world.run_until(lambda: not replica.records, 20)
    assert replica.generation == 2


def whoever_is_not_whole_does_not_answer_for_its_clock():
    world, cluster = settled(3)
    core = cluster.nodes[0].core
    core.store.replicas[7].whole = False
    answers = []
    tombstones.answer_clocks(core.cluster, [7, 8], answers.append)
    world.run(world.now_s + 1)
    assert list(answers[0].clocks) == [8]


def nothing_is_handed_off_while_members_change():
    _, cluster = changing(stall_s=5.0)
    registry = cluster.nodes[0].core.cluster.registry
    core = cluster.nodes[3].core
    partition = next(p for p in range(PARTITIONS) if core.identity.node_id not in registry.all_owners(p))
    core.store.burn_dot(partition)
    assert core.store.replicas[partition].clock
    assert core.repair.surplus() == []


SCENARIOS = {
    "a_proposer_takes_the_first_accepted_value_it_hears_of": a_proposer_takes_what_was_accepted_last,
    "an_owner_that_may_have_forgotten_votes": whoever_lost_its_votes_gives_none,
    "versions_begin_anew": versions_go_on_over_a_delete_that_was_collected,
    "registers_are_not_fetched": an_owner_that_was_damaged_knows_what_others_have_promised,
    "an_amended_change_forgets_the_members_before_it": a_change_that_is_amended_goes_on_from_the_members_before_it,
    "only_joiners_have_to_be_whole": an_owner_that_stays_fetches_where_owners_become_few,
    "what_was_fetched_for_an_earlier_version_counts": what_a_change_needs_is_fetched_under_its_last_version,
    "who_is_struck_out_and_away_is_lost_at_once": whoever_is_struck_out_while_away_for_a_moment_is_waited_for,
    "a_crash_after_a_new_registry_is_forgotten": (
        what_was_set_aside_is_handed_off_though_its_node_dies_as_it_loses_the_partition
    ),
    "a_change_ends_before_what_was_fetched_is_durable": whoever_confirms_a_change_has_it_on_its_disk,
    "one_group_met_is_enough": after_a_start_the_old_owners_count_as_much_as_the_new,
    "whoever_answered_is_a_source": a_damaged_owner_is_no_source,
    "a_source_does_not_say_that_it_is_not_whole": a_damaged_owner_says_so_where_nothing_differs,
    "a_round_does_not_adopt_the_generation": a_joiner_goes_on_from_the_generation_of_those_it_fetches_from,
    "the_generation_of_the_first_that_is_dropped": a_generation_is_beyond_all_that_are_dropped_together,
    "an_owner_that_is_not_whole_answers_for_its_clock": whoever_is_not_whole_does_not_answer_for_its_clock,
    "partitions_are_handed_off_while_members_change": nothing_is_handed_off_while_members_change,
}
"""By the defect that breaks it."""
