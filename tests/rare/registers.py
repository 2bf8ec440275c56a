"""Registers in states that histories reach too seldom; each was found by a reviewer who tried to break them."""

from __future__ import annotations

import json

import msgspec
from twisted.internet.defer import ensureDeferred, succeed

from dynatwist.agreement.rewriting import Rewriting
from dynatwist.agreement.run import Run
from dynatwist.agreement.turns import Ended
from dynatwist.model.record import Draft
from dynatwist.model.records import pack, unpack
from dynatwist.model.ring import SYSTEM_PARTITION, partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Poll, Question
from dynatwist.replication.proposal import Chosen
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Kind, Operation, etag
from dynatwist.requests.table_changes import TableChanges
from dynatwist.requests.tables import TABLES_TABLE, Consistency
from dynatwist.storage import saved, snapshot
from dynatwist.storage.wal import Wal
from tests.test_findings import ask, settled

from .members import append, isolate

KEY = ("locks", "l")
RIVAL = ("_rivals", "r")


def strong(**settings):
    """Three nodes with a strong table."""
    world, cluster = settled(3, 1, **settings)
    node, over = cluster.nodes[0], []

    def draft(held):
        return Draft(b'{"consistency":"strong"}', "admin") if held is None else None

    made = Rewriting(node.core.store, (TABLES_TABLE, "locks"), draft)
    until_s = node.process.seconds() + 4
    node.process.run(node.core.registers.change, (TABLES_TABLE, "locks"), made, until_s, over.append)
    assert world.run_until(lambda: bool(over), 20, step_s=0.05)
    world.run(world.now_s + 2)
    return world, cluster


def first_owner(cluster):
    partition = partition_of(*KEY)
    return next(n for n in cluster.nodes if n.core.coordinator.candidates.of(partition)[:1] == [n.node_id])


def named(node):
    return json.loads(unpack(node.core.store.registers.cell(RIVAL).value).value)["names"]


def what_one_accepted_under_a_ballot_does_not_count_for_another_value():
    """A steady proposer whose own log is behind is not heard of; and goes on by the same ballot."""
    world, cluster = settled(3)
    mine, other, third = cluster.nodes
    assert append(world, mine, "a") == ["a"]
    assert append(world, mine, "b") == ["a", "b"]
    world.run(world.now_s + 1)
    original, over = Wal.is_behind, []
    Wal.is_behind = property(lambda wal: wal is mine.core.store.wal or original.fget(wal))
    try:
        cluster.network.cut([mine.host], [third.host])

        def draft(held):
            names = json.loads(held.value)["names"]
            return Draft(json.dumps({"names": [*names, "one"]}).encode(), "x")

        made = Rewriting(mine.core.store, RIVAL, draft)
        until_s = mine.process.seconds() + 1.5
        mine.process.run(mine.core.registers.change, RIVAL, made, until_s, over.append)
        assert world.run_until(lambda: len(named(other)) == 3, 1, step_s=0.0002)
        cluster.network.cut([mine.host], [other.host])
    finally:
        Wal.is_behind = original
    assert world.run_until(lambda: bool(over), 5, step_s=0.01)
    cluster.network.heal()
    isolate(cluster, third)
    assert world.run_until(lambda: mine.core.cluster.links.is_reachable(other.node_id), 10, step_s=0.001)
    mine.core.registers._polls.tell = lambda *rest: None  # it dies before it tells
    told = append(world, mine, "two")
    mine.kill()
    cluster.network.heal()
    isolate(cluster, mine)
    world.run(world.now_s + 6)
    later = append(world, other, "three")
    assert told is None or later[: len(told)] == told


def a_register_that_becomes_a_record_during_a_save_is_in_it():
    for seed in (3, 5, 7):  # a save of the node's own may come first, and leave nothing to be saved
        save_while_a_register_becomes_a_record(seed)


def save_while_a_register_becomes_a_record(seed):
    world, cluster = settled(3, seed)
    first, saver, third = cluster.nodes
    for number in range(4):  # so that the save takes several turns for the system's partition
        over = []
        made = Rewriting(first.core.store, ("_rivals", f"x{number}"), lambda held: Draft(b'{"n":1}', "x"))
        until_s = first.process.seconds() + 3
        first.process.run(first.core.registers.change, ("_rivals", f"x{number}"), made, until_s, over.append)
        assert world.run_until(lambda over=over: bool(over), 5, step_s=0.01)
    world.run(world.now_s + 3)
    isolate(cluster, third)
    world.run(world.now_s + 1)
    cold = saver.core.folder.saver
    cold.go_in_steps(1, cold.chunk_bytes)
    voting, held_back = saver.core.registers.voting, []
    learn, walk = voting.learn, saved.walk
    voting.learn = lambda key, dot: held_back.append(dot) or True if key == RIVAL else learn(key, dot)
    assert append(world, first, "first") == ["first"]
    world.run(world.now_s + 0.05)
    registers = saver.core.store.state.registers[partition_of(*RIVAL)]

    def watched(replica, those):
        for number, found in enumerate(walk(replica, those)):
            yield found
            if those is registers and not number:
                saver.core.runtime.later(lambda: learn(RIVAL, held_back[0]))

    snapshot.walk, done = watched, []
    try:
        saver.process.run(lambda: cold.save().addBoth(done.append))
        assert world.run_until(lambda: bool(done), 20, step_s=0.001)
    finally:
        snapshot.walk = walk
    isolate(cluster, first)
    saver.kill()
    saver.start()
    world.run(world.now_s + 5)
    assert saver.core.store.registers.kept(RIVAL) is not None
    assert append(world, third, "second") in (None, ["first", "second"])


def a_change_that_was_never_proposed_is_not_made():
    """It is refused by what its node knows, granted by what is chosen, and waits for its turn behind others."""
    world, cluster = strong()
    owner = first_owner(cluster)
    assert ask(world, owner, "put", KEY, b'{"by":"first"}', level="majority").code is Code.OK
    world.run(world.now_s + 0.5)
    original, start, behind, runs, acks = Wal.is_behind, Run.start, [], [], {}

    def started(run):
        if run.is_change and run not in runs:
            runs.append(run)
            if len(runs) == 2:
                behind.append(True)
        try:
            start(run)
        finally:
            behind.clear()

    def put(name):
        operation = Operation(Kind.PATCH, KEY, Level.MAJORITY, json.dumps({name: 1}).encode(), "alice")
        owner.core.coordinator.submit(operation, lambda result: acks.__setitem__(name, result))

    Wal.is_behind = property(lambda wal: (bool(behind) and wal is owner.core.store.wal) or original.fget(wal))
    Run.start = started
    try:
        owner.process.run(lambda: [put(name) for name in ("a", "x", "b", "c", "d")])
        world.run(world.now_s + 2)
    finally:
        Wal.is_behind, Run.start = original, start
    held = json.loads(ask(world, cluster.nodes[1], "get", KEY, level="majority").record.value)
    good = {name for name, result in acks.items() if result.code is Code.OK}
    assert good <= held.keys(), "what was acknowledged is there"


def slow_to_collect(cluster, *nodes):
    """These do not follow a collection: their next look and their next round are up to a second away."""
    rounds = {node: node.core.repair.run_round for node in nodes}
    for node in nodes:
        node.core.repair.tombstones._wanted = list
        node.core.repair.tombstones._collections.clear()
        node.core.repair.run_round = lambda peer: None
    return lambda: [setattr(node.core.repair, "run_round", run) for node, run in rounds.items()]


def a_creation_beats_the_tombstone_that_others_have_collected():
    world, cluster = strong(tombstone_grace_s=0.5)
    first, _, late = cluster.nodes
    for kind in ("put", "delete", "put", "delete"):
        assert ask(world, first, kind, KEY, level="majority").code is Code.OK
    go_on = slow_to_collect(cluster, late)
    held = [False, False, True]
    stores = [node.core.store for node in cluster.nodes]
    assert world.run_until(lambda: [one.held(KEY) is not None for one in stores] == held, 30, step_s=0.002)
    late.disk.stall_s = 0.03
    assert ask(world, late, "put", KEY, b'{"holder":"alice"}', level="majority").code is Code.OK
    late.disk.stall_s = 0.0
    go_on()
    world.run(world.now_s + 15)
    for node in cluster.nodes:
        assert ask(world, node, "get", KEY, level="majority").code is Code.OK


def a_tombstone_that_is_accepted_again_after_its_collection_is_forgotten_again():
    world, cluster = strong(tombstone_grace_s=0.5)
    first, *late = cluster.nodes
    for kind in ("put", "delete"):
        assert ask(world, first, kind, KEY, level="majority").code is Code.OK
    go_on = slow_to_collect(cluster, *late)
    stores = [node.core.store for node in cluster.nodes]
    assert world.run_until(
        lambda: [one.held(KEY) is not None for one in stores] == [False, True, True], 30, step_s=0.002
    )
    assert ask(world, first, "get", KEY, level="majority").code is Code.ABSENT
    go_on()
    for node in late:
        del node.core.repair.tombstones._wanted
    world.run(world.now_s + 60)
    assert [store.registers.kept(KEY) for store in stores] == [None, None, None]


def what_is_late_does_not_return_where_a_tombstone_came_by_a_round():
    """An owner hears of nothing but the tombstone, by a round; it is collected, and then the first value arrives."""
    world, cluster = strong(tombstone_grace_s=0.5)
    first, second, late = cluster.nodes
    isolate(cluster, late)
    world.run(world.now_s + 2)
    ballot = first.core.store.clock.stamp()
    early = ask(world, first, "put", KEY, level="majority").record
    assert ask(world, first, "delete", KEY, level="majority").code is Code.OK
    cluster.network.heal()
    stores = [node.core.store for node in cluster.nodes]
    assert world.run_until(lambda: late.core.store.held(KEY) is not None, 20, step_s=0.01)
    assert world.run_until(lambda: all(store.held(KEY) is None for store in stores), 60)
    question = Question(KEY, ballot, first.core.store.clock.stamp(), pack(early))
    poll = Poll(late.core.cluster.version, [question])
    late.process.run(late.core.cluster.peers.handle, Arrival(first.node_id), poll, lambda reply: None)
    world.run(world.now_s + 0.5)
    assert second.core.store.registers.kept(KEY) is None
    assert late.core.store.registers.kept(KEY) is None


def what_was_told_as_over_is_not_renewed():
    world, cluster = strong()
    owner = first_owner(cluster)
    reader = next(node for node in cluster.nodes if node is not owner)
    held = ask(world, owner, "put", KEY, level="majority", ttl_ms=3000)
    end_ms = held.record.expires_ms
    cluster.network.slow(reader.host, owner.host, 0.3)
    assert world.run_until(lambda: reader.wall_ms() >= end_ms + 30, 10, step_s=0.001)
    assert ask(world, reader, "get", KEY, level="majority").code is Code.ABSENT
    over = []
    renewal = Operation(Kind.PUT, KEY, Level.MAJORITY, b'{"n":2}', "alice", False, 15000, (etag(held.record),))
    owner.process.run(owner.core.coordinator.submit, renewal, over.append)
    assert world.run_until(lambda: bool(over), 5, step_s=0.001)
    assert over[0].code is not Code.OK


def a_read_behind_changes_that_fail_is_answered_in_its_time():
    world, cluster = strong()
    first, *others = cluster.nodes
    assert ask(world, first, "put", KEY, level="majority").code is Code.OK
    for node in others:
        node.disk.stall_s = 20.0
    began_s, ended = world.now_s, []
    put = Operation(Kind.PUT, KEY, Level.MAJORITY, b'{"n":2}', "alice")
    for number in range(100):
        world.later(0.05 * number, lambda: first.core.coordinator.submit(put, lambda _: None), first.process)
    get = Operation(Kind.GET, KEY, Level.MAJORITY, b"", "alice")
    world.later(0.12, lambda: first.core.coordinator.submit(get, lambda _: ended.append(world.now_s)), first.process)
    world.run(began_s + 7)
    assert ended
    assert ended[0] < began_s + 2.5


def as_strong(held):
    return msgspec.structs.replace(held, consistency=Consistency.STRONG)


def changes_of(node):
    return TableChanges(node.core.cluster, node.core.registers, node.core.coordinator)


def a_member_that_has_something_aside_keeps_a_table_from_becoming_strong():
    world, cluster = settled(3)
    damaged, other, _ = cluster.nodes
    isolate(cluster, damaged)
    world.run(world.now_s + 2)
    assert ask(world, damaged, "put", KEY, b'{"old":1}', level="one").code is Code.OK
    damaged.core.repair._wholeness.check = lambda: False
    damaged.core.repair._wholeness.serve_lone = lambda: None
    damaged.process.run(damaged.core.store.cease_whole, partition_of(*KEY))
    cluster.network.heal()
    world.run(world.now_s + 4)
    over = []
    other.process.run(lambda: ensureDeferred(changes_of(other).set("locks", as_strong)).addBoth(over.append))
    assert world.run_until(lambda: bool(over), 20, step_s=0.05)
    assert other.core.coordinator.tables.consistency("locks") is not Consistency.STRONG


def a_member_that_knows_a_table_as_closing_reads_what_is_agreed_on():
    world, cluster = settled(3)
    first, second, late = cluster.nodes
    first.core.coordinator.spread = lambda key: succeed(None)  # others are not waited for
    over = []
    first.process.run(lambda: ensureDeferred(changes_of(first).set("locks", as_strong)).addBoth(over.append))
    known = late.core.coordinator.tables
    assert world.run_until(lambda: known.consistency("locks") is Consistency.CLOSING, 10, step_s=0.001)
    world.run(world.now_s + 1.5)
    for node in (second, late):  # the word of what comes is on its way
        voting = node.core.registers.voting
        voting.learn = lambda key, dot, learn=voting.learn: key[0] in (TABLES_TABLE, "locks") or learn(key, dot)
    assert world.run_until(lambda: bool(over), 20, step_s=0.001)
    assert ask(world, first, "put", KEY, level="majority").code is Code.OK
    isolate(cluster, first)  # the only one that holds it as a record
    assert ask(world, late, "get", KEY, level="majority").code is Code.OK


def an_owner_that_does_not_know_the_settings_leaves_requests_to_others():
    """Its log was lost; it holds all of the key's partition again, and not yet all of the system's."""
    world, cluster = strong()
    first, second, damaged = cluster.nodes
    assert ask(world, first, "put", KEY, level="majority").code is Code.OK
    world.run(world.now_s + 1)
    damaged.core.repair._wholeness.check = lambda: False
    damaged.core.repair._wholeness.serve_lone = lambda: None
    damaged.process.run(damaged.core.store.cease_whole, SYSTEM_PARTITION)
    damaged.process.run(damaged.core.store.drop, partition_of(*KEY), [(KEY, damaged.core.store.held(KEY).dot)], 0)
    for node in (first, second):
        isolate(cluster, node)
    world.run(world.now_s + 10)
    told = ask(world, damaged, "get", KEY)
    assert told.code is Code.UNAVAILABLE


def what_was_deleted_and_collected_does_not_return_with_its_slow_proposer():
    """A proposer hears that its value was chosen when somebody else has deleted that, and all have collected it."""
    world, cluster = strong(tombstone_grace_s=0.5)
    first = cluster.nodes[0]
    partition, over = partition_of(*KEY), []
    registers, tell = first.core.registers, first.core.registers._tell
    registers._tell = lambda key, chosen: over.append(chosen) if key == KEY and not over else tell(key, chosen)
    put = Operation(Kind.PUT, KEY, Level.MAJORITY, b'{"n":1}', "alice")
    first.process.run(first.core.coordinator.submit, put, lambda _: None)
    assert world.run_until(lambda: bool(over), 5, step_s=0.001)
    assert ask(world, cluster.nodes[1], "delete", KEY, level="majority").code is Code.OK
    assert world.run_until(lambda: all(n.core.store.held(KEY) is None for n in cluster.nodes), 60)
    assert first.core.store.registers.kept(KEY) is None
    first.process.run(tell, KEY, over[0])
    world.run(world.now_s + 2)
    assert ask(world, first, "get", KEY, level="majority").code is Code.ABSENT
    assert not first.core.store.replicas[partition].records


def while_a_member_leaves_the_old_owners_have_to_agree_too():
    """Of four members one is struck out; two of the three that stay are no majority of the four."""
    world, cluster = settled(4)
    first, _, third, leaving = cluster.nodes
    for node in (third, leaving):
        node.core.registers.voting.votes_on = lambda partition: False
    first.process.run(first.core.registrar.forget, leaving.node_id)
    assert world.run_until(lambda: first.core.cluster.registry.changing, 10, step_s=0.001)
    assert append(world, first, "first", limit_s=0.5) is None
    assert first.core.cluster.registry.changing


def what_was_voted_by_an_older_registry_is_asked_anew():
    """Votes are on their way while a member is struck out: its vote, which came with them, does not count any more."""
    world, cluster = settled(4)
    first, *others = cluster.nodes
    polls, held = first.core.registers._polls, []
    ask = polls.ask
    polls.ask = lambda owner, question, heard: ask(owner, question, lambda vote: held.append((heard, vote)))
    draft, over = Draft(b'{"names":["first"]}', "x"), []
    made, until_s = Rewriting(first.core.store, RIVAL, lambda _: draft), first.process.seconds() + 60
    first.process.run(first.core.registers.change, RIVAL, made, until_s, over.append)
    assert world.run_until(lambda: len(held) == 4, 5, step_s=0.001)
    version = first.core.cluster.version
    first.process.run(first.core.registrar.forget, others[-1].node_id)
    assert world.run_until(lambda: first.core.cluster.version == version + 2, 20, step_s=0.01)
    asked = []
    polls.ask = lambda owner, question, heard: asked.append((owner, question.value)) or ask(owner, question, heard)
    for heard, vote in held:
        first.process.run(heard, vote)
    assert world.run_until(lambda: bool(over), 10, step_s=0.001)
    assert [value for _, value in asked[:3]] == [None] * 3, "it asks for promises anew"
    assert others[-1].node_id not in {owner for owner, _ in asked}


def two_changes_of_a_table_do_not_undo_each_other():
    """One closes the table and opens it as strong; the other one found it closed, and comes too late."""
    for delay_s in (0.05, 0.5, 1.0, 1.9):
        world, cluster = settled(3)
        first, second, _ = cluster.nodes
        made, other = [], []

        def as_available(held):
            return msgspec.structs.replace(held, consistency=Consistency.AVAILABLE, default_ttl=50)

        def change(node, how, over):
            node.process.run(lambda: ensureDeferred(changes_of(node).set("locks", how)).addBoth(over.append))

        change(first, as_strong, made)
        world.run(world.now_s + delay_s)
        change(second, as_available, other)
        assert world.run_until(lambda made=made, other=other: made and other, 30, step_s=0.05)
        told = [one.consistency for one in (*made, *other) if not hasattr(one, "value")]
        assert len(told) <= 1, "two changes at once are answered as made"
        kept = first.core.coordinator.tables.consistency("locks")
        assert kept is not Consistency.STRONG or told == [Consistency.STRONG]
        assert Consistency.STRONG not in told or kept is Consistency.STRONG


def what_was_proposed_may_be_chosen_after_its_request_is_over():
    """A request ends by hearing of what it was written over; the next proposer finds what it made at one owner."""
    world, cluster = strong()
    node = cluster.nodes[0]
    store = node.core.store
    assert ask(world, node, "put", KEY, b'{"n":1}', "majority").code is Code.OK
    world.run(world.now_s + 1)
    base = store.replica_of(KEY).records.packed(KEY)
    rewriting = Rewriting(store, KEY, lambda held: Draft(b'{"n":2}', "alice"))
    made = rewriting(base, 1)
    assert made is not None
    rewriting.proposed(made)
    node.process.run(rewriting.result, Ended(Chosen(base, frozenset())))
    assert store.merge(KEY, unpack(made)).is_change, "what may be chosen yet counts as merged"


def what_was_taken_over_from_another_owner_is_found_out():
    """All that accepted a value are gone; those that took their cells over find out that it is chosen."""
    world, cluster = strong()
    node = cluster.nodes[0]
    store = node.core.store
    assert ask(world, node, "put", KEY, b'{"n":1}', "majority").code is Code.OK
    world.run(world.now_s + 1)
    base = store.replica_of(KEY).records.packed(KEY)
    made = Rewriting(store, KEY, lambda held: Draft(b'{"n":2}', "alice"))(base, 1)
    ballot = store.clock.stamp()
    cell = store.registers.cell(KEY).accept(ballot, ballot, made)
    for one in cluster.nodes:
        one.process.run(one.core.store.registers.join, KEY, cell)
    world.run(world.now_s + 5)
    assert all(one.core.store.held(KEY).value == b'{"n":2}' for one in cluster.nodes)


SCENARIOS = {
    "cells_that_were_taken_over_are_nobodys": what_was_taken_over_from_another_owner_is_found_out,
    "what_may_be_chosen_yet_is_given_up": what_was_proposed_may_be_chosen_after_its_request_is_over,
    "registers_by_the_new_owners_alone": while_a_member_leaves_the_old_owners_have_to_agree_too,
    "votes_by_another_registry_count": what_was_voted_by_an_older_registry_is_asked_anew,
    "an_owner_without_the_settings_coordinates": an_owner_that_does_not_know_the_settings_leaves_requests_to_others,
    "what_is_chosen_is_merged_however_late": what_was_deleted_and_collected_does_not_return_with_its_slow_proposer,
    "a_ballot_is_used_for_two_values": what_one_accepted_under_a_ballot_does_not_count_for_another_value,
    "registers_that_become_records_during_a_save_are_left_out": a_register_that_becomes_a_record_during_a_save_is_in_it,
    "what_was_drafted_counts_as_made": a_change_that_was_never_proposed_is_not_made,
    "a_creation_in_the_generation_of_a_tombstone": a_creation_beats_the_tombstone_that_others_have_collected,
    "a_tombstone_accepted_again_stays": a_tombstone_that_is_accepted_again_after_its_collection_is_forgotten_again,
    "a_floor_that_rises_where_there_was_a_register": what_is_late_does_not_return_where_a_tombstone_came_by_a_round,
    "a_steady_proposer_judges_ends_by_itself": what_was_told_as_over_is_not_renewed,
    "a_read_follows_whatever_comes": a_read_behind_changes_that_fail_is_answered_in_its_time,
    "what_is_aside_is_not_counted": a_member_that_has_something_aside_keeps_a_table_from_becoming_strong,
    "a_closing_table_is_read_by_the_old_rules": a_member_that_knows_a_table_as_closing_reads_what_is_agreed_on,
    "whoever_comes_too_late_opens_a_table": two_changes_of_a_table_do_not_undo_each_other,
}
