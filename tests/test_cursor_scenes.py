"""Cursors at other nodes, in unkind scenes: what listeners hear is each key's last, or ``reset``."""

from __future__ import annotations

from dynatwist.feed.bounds import HubBounds
from dynatwist.feed.hub import Notice
from dynatwist.model.ring import partition_of
from dynatwist.replication.request import Code

from .planted import plants
from .rare.cursors import Listener, written
from .test_findings import ask, settled


def names_in(partition, count):
    """Some keys of one partition."""
    keys = (("t", f"k{number}") for number in range(100_000))
    wanted = (key for key in keys if partition_of(*key) == partition)
    return [next(wanted) for _ in range(count)]


def deleted(world, cluster, keys):
    """Delete, and wait until the tombstones are collected everywhere."""
    for key in keys:
        assert ask(world, cluster.nodes[0], "delete", key).code is Code.OK
    held = lambda: any(node.core.store.held(key) for node in cluster.nodes for key in keys)  # noqa: E731
    assert world.run_until(lambda: not held(), 120)


def forget_events(nodes):
    """What is missed from now on is told from what is held."""
    for node in nodes:
        node.core.hub.bound(HubBounds(window_events=1))


def values(told):
    return {name: value for name, value, _ in told}


class TestDeletesThatWereCollected:
    def left(self, more=()):
        """Somebody has heard of some keys at the first node, after a delete of the same partition was collected."""
        world, cluster = settled(3, tombstone_grace_s=0.5)
        one, *others = cluster.nodes
        keys = names_in(partition_of("t", "k0"), 140)
        for key in keys:
            written(world, one, key, b'{"n":1}')
        deleted(world, cluster, keys[:1])
        listener = Listener(world)
        one.process.run(listener.listen, one)
        written(world, one, keys[1], b'{"n":2}')
        assert listener.read()
        world.run(world.now_s + 3)
        forget_events(others)
        one.process.run(listener.listening.close)
        return world, cluster, listener, keys

    def test_more_of_them_than_are_remembered(self):
        world, cluster, listener, keys = self.left()
        deleted(world, cluster, keys[2:132])
        two = cluster.nodes[1]
        two.process.run(listener.listen, two)
        assert Notice.RESET in listener.read()

    def test_before_all_nodes_are_started_anew(self):
        world, cluster, listener, keys = self.left()
        deleted(world, cluster, keys[2:3])
        for node in cluster.nodes[1:]:
            node.stop()
            world.run(world.now_s + 3)
            node.start()
            assert world.run_until(cluster.is_settled, 60)
            world.run(world.now_s + 3)
        two = cluster.nodes[1]
        two.process.run(listener.listen, two)
        assert Notice.RESET in listener.read()

    def test_an_end_whose_record_is_collected(self):
        world, cluster = settled(3, tombstone_grace_s=0.5)
        one, two, _ = cluster.nodes
        listener = Listener(world)
        one.process.run(listener.listen, one)
        assert ask(world, one, "put", ("t", "short"), ttl_ms=6000).code is Code.OK
        assert listener.read()
        world.run(world.now_s + 2)
        one.process.run(listener.listening.close)
        for number in range(20):
            written(world, one, ("t", f"k{number}"), b"{}")
        forget_events(cluster.nodes)
        written(world, one, ("t", "last"), b"{}")
        assert world.run_until(lambda: not any(n.core.store.held(("t", "short")) for n in cluster.nodes), 120)
        two.process.run(listener.listen, two)
        told = listener.read()
        assert Notice.RESET in told or ("short", b'{"n":1}', True) in told


def test_whoever_moves_to_an_older_state_hears_the_newer_one_again():
    """The new node cannot ask the owner that has what the listener heard before."""
    world, cluster = settled(5, replicas=3)
    owners = cluster.nodes[0].core.cluster.ownership.owners
    keys = (("t", f"k{number}") for number in range(1000))
    key = next(key for key in keys if cluster.nodes[0].node_id not in owners(partition_of(*key)))
    own = [node for node in cluster.nodes if node.node_id in owners(partition_of(*key))]
    a, b = (node for node in cluster.nodes if node not in own)
    mover, other = Listener(world), Listener(world)
    a.process.run(mover.listen, a)
    b.process.run(other.listen, b)
    written(world, own[0], key, b'{"n":0}')
    world.run(world.now_s + 4)
    mover.read()
    cluster.network.cut([own[0].host], [own[1].host, own[2].host, b.host])
    cluster.network.cut([a.host], [own[1].host, own[2].host])
    assert ask(world, own[1], "put", key, b'{"n":1}', level="one").code is Code.OK
    world.run(world.now_s + 1)
    assert ask(world, own[0], "put", key, b'{"n":2}', level="one").code is Code.OK
    assert values(mover.read()) == {key[1]: b'{"n":2}'}
    world.run(world.now_s + 3)
    a.process.run(mover.listening.close)
    b.process.run(mover.listen, b)
    told = mover.read()
    cluster.network.heal()
    assert world.run_until(cluster.is_settled, 60)
    world.run(world.now_s + 20)
    told += mover.read()
    assert Notice.RESET in told or values(told) == {key[1]: b'{"n":2}'}


def test_in_a_quiet_cluster_a_move_and_a_restart_are_silent():
    """Also where deletes were collected, and nothing is written that would have bookmarks made."""
    world, cluster = settled(5, replicas=3, tombstone_grace_s=0.5)
    a, b, *others = cluster.nodes
    for number in range(60):
        written(world, b, ("t", f"k{number}"), b'{"n":1}')
    deleted(world, cluster, [("t", f"k{number}") for number in range(0, 60, 3)])
    world.run(world.now_s + 20)
    listener = Listener(world)
    a.process.run(listener.listen, a)
    world.run(world.now_s + 10)
    place = listener.listening.place()
    for node in cluster.nodes:
        mover = Listener(world)
        mover.cursor = place
        node.process.run(mover.listen, node)
        assert mover.read() == []
        node.process.run(mover.listening.close)
    others[2].stop()
    world.run(world.now_s + 3)
    others[2].start()
    assert world.run_until(cluster.is_settled, 60)
    world.run(world.now_s + 5)
    assert listener.read() == []


def test_a_node_that_has_joined_knows_the_cursors_of_before():
    world, cluster = settled(3)
    one = cluster.nodes[0]
    listener = Listener(world)
    one.process.run(listener.listen, one)
    written(world, one, ("t", "a"), b'{"n":1}')
    assert listener.read()
    one.process.run(listener.listening.close)
    new = cluster.add()
    new.start()
    assert world.run_until(cluster.is_settled, 60)
    world.run(world.now_s + 5)
    written(world, one, ("t", "b"), b'{"n":1}')
    new.process.run(listener.listen, new)
    assert listener.read() == [("b", b'{"n":1}', False)]


def test_a_cursor_of_a_node_that_dies_a_moment_after_it_is_linked():
    """The others have just been started: whatever they know of cursors, that node has told them."""
    world, cluster = settled(3)
    one, two, three = cluster.nodes
    listener = Listener(world)
    one.process.run(listener.listen, one)
    for number in range(5):
        written(world, one, ("t", f"k{number}"), b'{"n":1}')
    assert listener.read()
    for node in (two, three):
        node.kill()
    world.run(world.now_s + 3)
    for node in (two, three):
        node.start()
    assert world.run_until(lambda: {two.node_id, three.node_id} <= set(one.core.cluster.links.linked()), 2)
    world.run(world.now_s + 0.1)
    one.kill()
    assert world.run_until(lambda: two.core.cluster.standing.is_ready, 5)
    written(world, three, ("t", "late"), b'{"n":1}')
    two.process.run(listener.listen, two)
    told = listener.read()
    assert Notice.RESET not in told
    assert values(told)["late"] == b'{"n":1}'


def heard_again_when_a_new_owner_fills():
    """What a listener hears when a node joins, of what it was told from what is held when it moved.

    Nobody has announced that at its node: all that is known of it there is a clock.
    """
    world, cluster = settled(5, replicas=3)
    elsewhere, here, *others = cluster.nodes
    mover, other = Listener(world), Listener(world)
    elsewhere.process.run(mover.listen, elsewhere)
    world.run(world.now_s + 3)
    mover.read()
    elsewhere.process.run(mover.listening.close)
    written(world, others[0], ("t", "first"), b'{"n":0}')
    keys = [("t", f"k{number}") for number in range(60)]
    for key in keys:
        written(world, others[0], key, b'{"n":1}')
    world.run(world.now_s + 3)
    here.process.run(other.listen, here)
    world.run(world.now_s + 3)
    here.process.run(mover.listen, here)
    told = mover.read()
    assert {name for name, *_ in told} == {"first", *(name for _, name in keys)}
    cluster.add().start()
    assert world.run_until(cluster.is_settled, 60)
    world.run(world.now_s + 20)
    return mover.read() + other.read()


def test_what_was_told_from_what_is_held_is_not_heard_again():
    assert heard_again_when_a_new_owner_fills() == []


def test_that_would_be_seen(monkeypatch):
    plants()["an_owner_s_relay_is_news_whatever_was_told_from_what_is_held"](monkeypatch)
    assert heard_again_when_a_new_owner_fills()
