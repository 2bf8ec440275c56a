"""Reads, writes, forwarding and listings in states that histories reach too seldom.

Each scenario holds, and breaks with a planted defect: so that would show.
"""

from __future__ import annotations

from dynatwist.model.record import Draft, beats
from dynatwist.model.records import pack
from dynatwist.model.registry import Member
from dynatwist.model.replica import BucketWalk, Replica
from dynatwist.model.ring import ALL_PARTITIONS, partition_of
from dynatwist.net.messages import ReadDot, Replicate, Unable
from dynatwist.replication.forwarding import ATTEMPT_S, Forwarding, Give
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Kind, Operation, Result, etag
from dynatwist.requests.forwarding import Origin
from dynatwist.requests.reads import ReadRun
from dynatwist.storage.effects import Won
from tests.test_feed import record
from tests.test_findings import ask, settled

from .members import isolate

KEY = ("t", "k")


def code(result) -> str:
    return "nothing" if result is None else result.code.value


# Reads


def one_of_three_refuses():
    """A majority read of the only one that has the last write, and of one that does not take it."""
    world, cluster = settled(3)
    able, unwilling, away = cluster.nodes
    assert code(ask(world, able, "put", KEY, level="all")) == "ok"
    isolate(cluster, unwilling)
    unwilling.core.repair.run_round = lambda node: None
    unwilling.core.cluster.peers.on_call(Replicate, lambda node, message, respond: respond(Unable("no room")))
    world.run(world.now_s + 3)
    assert code(ask(world, able, "put", KEY, b'{"n":2}', level="majority")) == "ok"
    assert code(ask(world, able, "put", ("t", "other"), level="majority")) == "ok"
    cluster.network.heal()
    isolate(cluster, away)
    assert world.run_until(lambda: able.core.cluster.peers.is_reachable(unwilling.node_id), 20)
    world.run(world.now_s + 3)
    return world, able


def a_read_gives_nothing_that_a_later_one_may_miss():
    world, able = one_of_three_refuses()
    assert code(ask(world, able, "get", KEY, level="majority")) == "unavailable"


def a_read_gives_nothing_new_that_a_later_one_may_miss():
    world, able = one_of_three_refuses()
    assert code(ask(world, able, "get", ("t", "other"), level="majority")) == "unavailable"


def a_damaged_one_and_one_that_was_away():
    """The only two that can be reached: a write was acknowledged by the damaged one and by another."""
    world, cluster = settled(3)
    ignorant, damaged, away = cluster.nodes
    isolate(cluster, ignorant)
    world.run(world.now_s + 3)
    assert code(ask(world, away, "put", KEY, level="majority")) == "ok"
    isolate(cluster, away, damaged)
    world.run(world.now_s + 3)
    for partition in range(ALL_PARTITIONS - 1):
        damaged.process.run(damaged.core.store.reset, partition, False)
    world.run(world.now_s + 1)
    cluster.network.heal()
    isolate(cluster, away)
    assert world.run_until(lambda: ignorant.core.cluster.peers.is_reachable(damaged.node_id), 20)
    world.run(world.now_s + 2)
    return world, ignorant, damaged


def a_damaged_owner_does_not_agree_that_there_is_nothing():
    world, ignorant, _ = a_damaged_one_and_one_that_was_away()
    assert code(ask(world, ignorant, "get", KEY, level="majority")) == "unavailable"


def a_damaged_owner_says_so_when_asked_for_a_dot():
    world, _, damaged = a_damaged_one_and_one_that_was_away()
    answers = []
    damaged.core.coordinator.from_peers._on_read_dot(b"", ReadDot(1, KEY, b""), answers.append)
    world.run(world.now_s + 1)
    assert not answers[0].whole


def a_log_that_is_late_is_no_answer():
    """One of two that answer has the write in memory alone: with its power, half of a majority would be gone."""
    world, cluster = settled(3)
    slow, other, away = cluster.nodes
    isolate(cluster, away)
    world.run(world.now_s + 3)
    slow.disk.stall_s = 3.0
    ask(world, other, "put", KEY, level="one")
    assert world.run_until(lambda: slow.core.store.held(KEY), 1, step_s=0.001)
    assert code(ask(world, slow, "get", KEY, level="majority")) == "unavailable"


def condition_at_one_that_missed_a_write():
    """The owner that decides holds the record before the last one, and has not heard of the last."""
    world, cluster = settled(3)
    registry = cluster.registry()
    by_id = {node.node_id: node for node in cluster.nodes}
    stale, other, _ = (by_id[owner] for owner in registry.owners(partition_of(*KEY)))
    first = ask(world, other, "put", KEY, level="all").record
    isolate(cluster, stale)
    stale.core.repair.run_round = lambda node: None
    world.run(world.now_s + 3)
    assert code(ask(world, other, "put", KEY, b'{"n":2}', level="majority")) == "ok"
    for node in cluster.nodes:
        node.core.repair.hints.replay = lambda node: None
    cluster.network.heal()
    assert world.run_until(lambda: stale.core.cluster.peers.is_reachable(other.node_id), 20)
    assert stale.core.store.held(KEY) == first
    return code(ask(world, stale, "put", KEY, b'{"n":3}', if_match=(etag(first),)))


def a_condition_is_decided_by_what_a_majority_has():
    assert condition_at_one_that_missed_a_write() == "precondition"


# Other owners meanwhile


def others_own(core) -> None:
    """This node is told that most owners are others now, of whom nobody can be reached."""
    strangers = tuple(Member(bytes([number]) * 8, f"10.0.1.{number}", 1, 2) for number in (1, 2))
    core.cluster.adopt(core.cluster.registry.with_members((core.cluster.me, *strangers)))


def a_read_goes_by_one_registry():
    world, cluster = settled(3)
    core, answers = cluster.nodes[0].core, []
    ReadRun(cluster=core.cluster, key=KEY, level=Level.MAJORITY, done=lambda *answer: answers.append(answer))
    others_own(core)
    assert world.run_until(lambda: answers, 5)
    assert not answers[0][0].is_enough


def a_write_goes_by_one_registry():
    world, cluster = settled(3)
    node, answers = cluster.nodes[0], []

    def write() -> None:
        written = node.core.store.write(KEY, Draft(b"{}", "alice"))
        node.core.coordinator._writes.replicate(KEY, pack(written), Level.MAJORITY, lambda *one: answers.append(one))
        others_own(node.core)

    node.process.run(write)
    assert world.run_until(lambda: answers, 5)
    assert not answers[0][0].is_enough


# Forwarding


def slow_first_owner(ahead_ms: int = 0, set_s: float = 4.0):
    """A forwarder, the owners of a key of which the first is not heard of in time, and what owners write.

    :param set_s: since when the first owner's clock is ahead; after two seconds it is believed.
    """
    world, cluster = settled(4)
    forwarder = cluster.nodes[0]
    keys = (("t", f"k{number}") for number in range(1000))
    registry = cluster.registry()
    key = next(one for one in keys if forwarder.node_id not in registry.owners(partition_of(*one)))
    by_id = {node.node_id: node for node in cluster.nodes}
    owners = [by_id[owner] for owner in registry.owners(partition_of(*key))]
    owners[0].set_clock(ahead_ms)
    written = []
    for node in owners:
        actor = node.core.store.actor

        def kept(entry, effect, actor=actor):
            if isinstance(effect, Won) and effect.record.dot.actor == actor:
                written.append(effect.record)

        node.core.store.observe(kept)
    world.run(world.now_s + set_s)
    for node in cluster.nodes:
        cluster.network.slow(owners[0].host, node.host, 0.9)
    return world, forwarder, owners, key, written


def forwarded_with_a_slow_answer(ahead_ms: int = 0, set_s: float = 4.0):
    """The first owner carries a request out; the next one, asked in doubt, does not know. Both records in order."""
    world, forwarder, _, key, written = slow_first_owner(ahead_ms, set_s)
    assert code(ask(world, forwarder, "put", key)) == "ok"
    assert len(written) == 2
    return written


def forwarded_around_another_creation(*kinds: str):
    """The first owner creates a key; others create it too, and perhaps delete it; then the next owner is asked.

    Answers all records in the order in which they were written.
    """
    world, forwarder, owners, key, written = slow_first_owner()
    results: list[Result] = []
    operation = Operation(Kind.PUT, key, Level.QUORUM, b'{"n":7}', "alice")
    forwarder.process.run(forwarder.core.coordinator.submit, operation, results.append)
    assert world.run_until(lambda: bool(written), 1, step_s=0.001)
    for kind in kinds:
        assert code(ask(world, owners[-1], kind, key, level="majority")) == "ok"
    assert world.run_until(lambda: bool(results), 5, step_s=0.01)
    assert code(results[0]) == "ok"
    assert len(written) == 2 + len(kinds)
    return written


def a_request_wins_over_its_first_attempt_whoever_created_the_key_between():
    for kinds in (("put",), ("put", "delete"), ("put", "delete", "put")):
        first, *_, last = forwarded_around_another_creation(*kinds)
        assert beats(last, first)


def a_request_that_was_superseded_is_not_carried_out_again():
    """Nobody knows its id any more; that it created the key is in the history of what superseded it."""
    _, cluster = settled(3)
    core = cluster.nodes[0].core
    created = core.store.clock.stamp()
    core.store.write(KEY, Draft(b"{}", "alice", created=created))
    operation = Operation(Kind.PUT, KEY, value=b"{}", uid="alice")
    origin = Origin(b"o" * 16, created, in_doubt=True)
    result = core.coordinator.deciding.decide(operation, origin, core.store.held(KEY))
    assert isinstance(result, Result)
    assert result.code is Code.UNCERTAIN


def a_majority_decides_whether_a_key_is_created():
    """One owner was away when the key was created, another was damaged, and the third cannot be reached."""
    world, ignorant, _ = a_damaged_one_and_one_that_was_away()
    assert code(ask(world, ignorant, "put", KEY, b'{"n":2}', level="majority")) == "unavailable"
    assert ignorant.core.store.held(KEY) is None, "nothing was done"


def a_request_that_is_carried_out_twice_creates_its_key_once():
    first, second = forwarded_with_a_slow_answer()
    assert first.lineage == second.lineage


def a_request_that_is_asked_for_again_goes_beyond_the_first_attempt():
    first, second = forwarded_with_a_slow_answer(ahead_ms=5_000)
    assert beats(second, first)


def the_time_of_an_attempt_counts_from_its_sending():
    world, cluster = settled(4)
    forwarder = cluster.nodes[0]
    key = next(
        ("t", f"k{number}")
        for number in range(1000)
        if forwarder.node_id not in cluster.registry().owners(partition_of("t", f"k{number}"))
    )
    origins = []
    for node in cluster.nodes[1:]:
        core = node.core
        core.coordinator.from_peers._carry_out = lambda operation, origin, done, core=core: origins.append(
            origin.until_s - core.cluster.runtime.monotonic_s()
        )
        cluster.network.slow(forwarder.host, node.host, 0.15)
    ask(world, forwarder, "put", key, limit_s=1.0)
    assert origins
    assert origins[0] <= ATTEMPT_S - 0.1


def a_repetition_is_the_same_write():
    """Another owner has told this one of the record before it started: it holds it, and remembers no request."""
    _, cluster = settled(3)
    core = cluster.nodes[0].core
    written = core.store.write(KEY, Draft(b"{}", "alice", op=b"o" * 16))
    operation = Operation(Kind.PUT, KEY, value=b"{}", uid="alice")
    origin = Origin(b"o" * 16, until_s=float("inf"))
    assert core.coordinator.deciding.decide(operation, origin, core.store.held(KEY)) == written


# Digest buckets


def a_look_at_buckets_sees_what_comes_meanwhile():
    """What it does not see counts as collected, and the other one drops it."""
    replica = Replica(0)
    walk = BucketWalk(replica, range(1024))
    replica.merge(KEY, record(("t", "a"), 1, 1))
    assert walk.step(10)
    assert [key for key, _ in walk.entries()] == [KEY]


def asked(count):
    """A request with a condition that so many owners were asked for, each behind the fence of the one before."""
    request = Forwarding(is_write=True, is_conditional=True, now_s=0.0, flight_s=0.1)
    for number in range(count):
        request.next(number * (ATTEMPT_S + 0.1), [b"a", b"b"], lambda node: True)
    return request


def an_owner_without_room_has_decided():
    request = asked(1)
    request.answer(b"a", Result(Code.FULL))
    assert request.next(0.1, [b"a", b"b"], lambda node: True) == Give(Result(Code.FULL))


def an_attempt_that_may_have_written_is_the_answer():
    request = asked(2)
    request.answer(b"a", Result(Code.PRECONDITION))
    request.answer(b"b", Result(Code.UNCERTAIN))
    assert request.next(0.5, [b"a", b"b"], lambda node: True) == Give(Result(Code.UNCERTAIN))


SCENARIOS = {
    "a_full_owner_passes_conditions_on": an_owner_without_room_has_decided,
    "an_answer_hides_that_another_attempt_has_written": an_attempt_that_may_have_written_is_the_answer,
    "a_read_that_reached_too_few_is_answered": a_read_gives_nothing_that_a_later_one_may_miss,
    "a_write_back_that_was_refused_counts": a_read_gives_nothing_that_a_later_one_may_miss,
    "a_write_back_is_left_out_for_who_holds_nothing": a_read_gives_nothing_new_that_a_later_one_may_miss,
    "an_owner_that_is_not_whole_compares": a_damaged_owner_does_not_agree_that_there_is_nothing,
    "an_owner_that_is_not_whole_tells_its_dot": a_damaged_owner_says_so_when_asked_for_a_dot,
    "a_log_that_is_late_counts_as_read": a_log_that_is_late_is_no_answer,
    "a_condition_is_decided_by_one_replica": a_condition_is_decided_by_what_a_majority_has,
    "a_read_that_goes_on_by_another_registry": a_read_goes_by_one_registry,
    "a_write_that_goes_on_by_another_registry": a_write_goes_by_one_registry,
    "a_retry_with_a_creation_of_its_own": a_request_that_is_carried_out_twice_creates_its_key_once,
    "a_retry_may_be_stamped_as_early_as_it_likes": a_request_that_is_asked_for_again_goes_beyond_the_first_attempt,
    "a_request_forgets_how_long_it_was_under_way": the_time_of_an_attempt_counts_from_its_sending,
    "a_retry_forgets_when_it_may_have_created": a_request_wins_over_its_first_attempt_whoever_created_the_key_between,
    "a_retry_writes_over_what_superseded_it": a_request_that_was_superseded_is_not_carried_out_again,
    "a_majority_is_given_what_those_reachable_create": a_majority_decides_whether_a_key_is_created,
    "a_repetition_is_carried_out_again": a_repetition_is_the_same_write,
    "a_walk_misses_what_comes_meanwhile": a_look_at_buckets_sees_what_comes_meanwhile,
}
"""By the defect that breaks it."""
