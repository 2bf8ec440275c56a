"""Planted defects that break nothing: another rule prevents the same (``MASKED`` in test_planted), as shown here."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import msgspec

from dynatwist.agreement.agreement import Agreement
from dynatwist.model.registry import Member, Registry, encode_registry
from dynatwist.model.replica import Outcome, Replica
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Settle, StaleRegistry
from dynatwist.replication import filling
from dynatwist.replication.exchange import compare

from .planted import members
from .test_feed import record
from .test_findings import settled

A = "t", "a"


def test_two_proposals_of_one_node_have_ballots_of_their_own(monkeypatch):
    members.two_proposals_of_one_node_at_once(monkeypatch)
    for seed in range(10):
        world, cluster = settled(3, seed)
        core, chosen = cluster.nodes[0].core, []
        for number in range(3):
            version = core.cluster.version + 1
            registry = msgspec.structs.replace(core.cluster.registry, version=version, replicas=number + 1)
            slot = Agreement(core.cluster, core.acceptors, f"registry:{version}", encode_registry(registry))
            slot.result.addBoth(chosen.append)
        world.run(world.now_s + 5)
        assert len(chosen) == 3
        assert len(set(chosen)) == 1


def test_whoever_is_asked_whether_a_change_may_end_knows_its_version(monkeypatch):
    """A registry is told on a connection before anything is asked on it that goes by that registry."""
    members.an_earlier_version_of_a_change_is_confirmed(monkeypatch)
    world, cluster = settled(3)
    asked = []

    def watch(core):
        confirm = core.registrar._on_settle

        def confirming(node, message, respond):
            asked.append(message.registry - core.cluster.version)
            confirm(node, message, respond)

        core.cluster.peers.on_call(Settle, confirming)

    cluster.on_core = lambda node, core: watch(core)
    for core in cluster.cores():
        watch(core)
    for _ in range(2):
        cluster.add().start()
        world.run(world.now_s + 0.1)
        cluster.nodes[0].core.registrar.forget(cluster.nodes[2].node_id)
    assert world.run_until(lambda: len(cluster.registry().ids) == 4 and not cluster.registry().changing, 30)
    assert set(asked) == {0}


def test_whoever_asks_by_an_earlier_version_is_told_of_the_newer(monkeypatch):
    members.an_earlier_version_of_a_change_is_confirmed(monkeypatch)
    _, cluster = settled(3)
    core, answers = cluster.nodes[0].core, []
    core.cluster.peers.handle(Arrival(core.cluster.me.node_id), Settle(core.cluster.version - 1), answers.append)
    assert isinstance(answers[0], StaleRegistry)


def histories(random: Random):
    """Registries one after the other, as they are agreed on."""
    everyone = [Member(bytes([number]) * 8, "h", 1, 2) for number in range(7)]
    registry = Registry(b"c", 2, 3, tuple(everyone[:4]))
    for _ in range(8):
        yield registry
        some = tuple(random.sample(everyone, random.randint(3, 6)))
        if not registry.changing:
            registry = registry.with_members(some)
        elif random.random() < 0.3 and len(registry.members) > 3:
            registry = Registry(b"c", registry.version + 1, 3, registry.members[1:], registry.previous)
        else:
            registry = registry.settled()


def test_who_has_owned_a_partition_before_owes_what_it_keeps(monkeypatch):
    """A change does not end before a new owner has fetched, whether or not it has started over."""
    right = filling.starts_over
    members.a_returning_owner_keeps_what_it_has(monkeypatch)
    kept = 0
    for seed in range(12):
        random = Random(seed)
        versions = list(histories(random))
        for node in {member.node_id for registry in versions for member in registry.members}:
            met = [one for one in versions if random.random() < 0.5 or _has_to_confirm(one, node)]
            for before, after in pairwise(met):
                for partition in set(right(before, after, node)) - set(filling.starts_over(before, after, node)):
                    kept += 1
                    assert filling.owes(after, node, partition)
    assert kept


def _has_to_confirm(registry: Registry, node: bytes) -> bool:
    return any(filling.owes(registry, node, partition) for partition in range(ALL_PARTITIONS))


def test_what_a_damaged_replica_lacks_it_does_not_count_as_met():
    """Its clock starts over with it: comparing buckets with it has nothing collected."""
    whole, damaged = Replica(0), Replica(0)
    for replica in (whole, damaged):
        replica.merge(A, record(A, 1, 1))
    damaged.set_aside()
    mine = dict(whole.in_buckets(range(1024)))
    assert len(mine) == 1
    assert compare(whole, mine, {}, damaged.clock).drops == ()


def test_what_a_restored_owner_had_told_of_wins_nothing_when_it_is_whole_again():
    """Others took it by the clock that it had before: all that this covers, theirs cover too when they collect."""
    restored = Replica(0)
    deleted = record(A, 1, 1)
    restored.merge(A, deleted)
    told = restored.clock.copy()
    restored.set_aside()
    restored.join(told, 1)
    assert restored.merge(A, deleted).outcome is Outcome.COVERED
    assert not restored.records


def test_nothing_is_dropped_by_an_earlier_registry(monkeypatch):
    """A partition that comes back does so by a newer version."""
    members.a_partition_is_handed_off_after_a_reset(monkeypatch)
    _, cluster = settled(3)
    core = cluster.nodes[0].core
    registry = core.cluster.registry
    core.store.replicas[0].merge(A, record(A, 1, 1))
    core.cluster.adopt(registry.with_members(registry.members[:2]))
    core.repair._hand_off._drop_covered(registry, {0: [core.store.replicas[0].clock] * 3}, {0: 0})
    assert core.store.replicas[0].records
