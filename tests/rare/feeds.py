"""Feeds in states that histories reach too seldom: what listeners hear, and that a planted defect there would show."""

from __future__ import annotations

from dynatwist.feed.bounds import HubBounds
from dynatwist.feed.hub import Hub, Notice, Subscription
from dynatwist.feed.sight import EVERYTHING
from dynatwist.model.ring import partition_of
from dynatwist.replication.request import Code
from tests.test_feed import KEYS, record
from tests.test_findings import ask, settled
from tests.test_relays import key_of_others, put

from .members import changing


def listener() -> Subscription:
    return Subscription(table="t", key=None, prefix="", sight=EVERYTHING, wake=lambda: None)


def publish(hub: Hub, count: int, first: int = 1) -> None:
    for ms in range(first, first + count):
        hub.publish(KEYS[0], record(KEYS[0], 1, ms))


def heard(subscription: Subscription) -> list[object]:
    items: list[object] = []
    while (item := subscription.take()) is not None:
        items.append(item if isinstance(item, Notice) else item.record.stamp.ms)
    return items


def values(subscription: Subscription) -> list[object]:
    items: list[object] = []
    while (item := subscription.take()) is not None:
        items.append(item if isinstance(item, Notice) else item.record.value)
    return items


def back(hub: Hub, cursor: str) -> Subscription:
    """Somebody who comes back."""
    subscription = listener()
    hub.subscribe(subscription, cursor)
    return subscription


def a_cursor_counts_at_the_process_that_gave_it():
    hub = Hub("e")
    cursor = hub.subscribe(listener(), None)
    assert heard(back(Hub("f"), cursor)) == [Notice.RESET]


def whoever_missed_the_event_before_the_window_is_told_so():
    hub = Hub("e")
    hub.bound(HubBounds(window_events=2))
    cursor = hub.subscribe(listener(), None)
    publish(hub, 3)
    assert heard(back(hub, cursor)) == [Notice.RESET]


def whoever_left_before_a_reset_is_told_on_return():
    hub = Hub("e")
    first = listener()
    cursor = hub.subscribe(first, None)
    hub.unsubscribe(first)
    hub.reset()
    assert heard(back(hub, cursor)) == [Notice.RESET]


def whoever_returns_to_a_table_that_nobody_was_interested_in_is_told_so():
    hub = Hub("e", hears_all=lambda: False)
    first, other = (
        listener(),
        Subscription(table="u", key=None, prefix="", sight=EVERYTHING, wake=lambda: None),
    )
    cursor = hub.subscribe(first, None)
    hub.subscribe(other, None)
    hub.unsubscribe(first)  # without a clock, interest ends at once: what is written now is relayed to nobody here
    hub.publish(KEYS[3], record(KEYS[3], 1, 1))
    assert heard(back(hub, cursor)) == [Notice.RESET]


def whoever_returns_first_is_told_so_though_nothing_else_was_heard_meanwhile():
    hub = Hub("e", hears_all=lambda: False)
    first = listener()
    cursor = hub.subscribe(first, None)
    hub.unsubscribe(first)
    assert heard(back(hub, cursor)) == [Notice.RESET]


def in_turns(between):
    """What somebody hears who comes back after four events, two a turn, when something happens between the turns."""
    later: list[object] = []
    hub = Hub("e", lambda: False, later.append)
    hub.bound(HubBounds(window_events=4, replayed=2))
    cursor = hub.cursor
    publish(hub, 4)
    returned = back(hub, cursor)
    between(hub)
    while later:
        later.pop(0)()
    return heard(returned)


def a_replay_in_several_turns_is_without_a_gap():
    assert in_turns(lambda hub: None) == [1, 2, 3, 4]


def whoever_is_overtaken_by_the_window_is_told_so():
    assert Notice.RESET in in_turns(lambda hub: publish(hub, 4, first=5))


# At nodes that own nothing of what they listen to


def at_a_stranger():
    """A listener at a node that owns nothing of a key, and an owner."""
    world, cluster = settled(4)
    lonely, *others = cluster.nodes
    key = key_of_others(lonely.core)
    owners = lonely.core.cluster.ownership.owners(partition_of(*key))
    owner = next(node for node in others if node.node_id in owners)
    listener = Subscription(table=key[0], key=key[1], prefix="", sight=EVERYTHING, wake=lambda: None)
    return world, cluster, lonely, owner, listener


def whoever_missed_more_than_others_remember_hears_what_is_held():
    world, cluster, lonely, owner, subscription = at_a_stranger()
    lonely.core.hub.subscribe(subscription, None)
    for core in cluster.cores():
        core.hub.bound(HubBounds(window_events=2))
    world.run(world.now_s + 2)
    put(world, owner.core, (subscription.table, subscription.key), b"{}")
    world.run(world.now_s + 1)
    cluster.network.cut([lonely.host], [node.host for node in cluster.nodes if node is not lonely])
    world.run(world.now_s + 10)
    put(world, owner.core, (subscription.table, subscription.key), b'{"n":1}')
    for number in range(30):
        put(world, owner.core, ("t", f"other{number}"), b"{}")
    cluster.network.heal()
    world.run(world.now_s + 20)
    assert values(subscription) == [b"{}", b'{"n":1}']


def whoever_listens_before_others_know_misses_nothing():
    world, cluster, lonely, owner, subscription = at_a_stranger()
    for node in cluster.nodes:
        cluster.network.slow(lonely.host, node.host, 0.4)
    lonely.process.run(lonely.core.hub.subscribe, subscription, None)
    put(world, owner.core, (subscription.table, subscription.key), b"{}")
    world.run(world.now_s + 3)
    assert values(subscription)


def a_change_of_owners_hides_nothing_from_listeners():
    """What this node heard as an owner, and what it is relayed as none: there is no gap between, and no reset."""
    world, cluster = changing()
    node = cluster.nodes[0]
    subscription = listener()
    node.core.hub.subscribe(subscription, None)
    world.run(world.now_s + 0.2)
    values(subscription)
    assert cluster.registry().changing
    written = 0
    while cluster.registry().changing:
        put(world, cluster.nodes[1].core, ("t", f"k{written}"), b'{"n":%d}' % written)
        written += 1
        world.run(world.now_s + 0.05)
    for number in range(written, written + 20):
        put(world, cluster.nodes[2].core, ("t", f"k{number}"), b'{"n":%d}' % number)
    world.run(world.now_s + 2)
    told = values(subscription)
    assert Notice.RESET not in told
    assert {b'{"n":%d}' % number for number in range(written + 20)} <= set(told)


def whoever_heard_of_what_others_have_deleted_is_told_to_read_afresh():
    """An owner that was left alone has told of a record; the others have deleted it, and collected the delete."""
    world, cluster = settled(4)
    away = cluster.nodes[0]
    keys = (("t", f"k{number}") for number in range(100))
    owners = away.core.cluster.ownership.owners
    key = next(key for key in keys if away.node_id not in owners(partition_of(*key)))
    owner = next(node for node in cluster.nodes if node.node_id in owners(partition_of(*key)))
    subscription = listener()
    away.core.hub.subscribe(subscription, None)
    world.run(world.now_s + 1)
    assert ask(world, owner, "put", key).code is Code.OK
    world.run(world.now_s + 1)
    assert len(heard(subscription)) == 1
    store, partition = owner.core.store, partition_of(*key)
    owner.process.run(store.drop, partition, [(key, store.held(key).dot)], 1)
    world.run(world.now_s + 0.5)
    assert heard(subscription)[:1] == [Notice.RESET]


SCENARIOS = {
    "what_is_dropped_is_not_withdrawn": whoever_heard_of_what_others_have_deleted_is_told_to_read_afresh,
    "a_cursor_of_another_process_is_taken": a_cursor_counts_at_the_process_that_gave_it,
    "a_cursor_right_before_the_window_is_taken": whoever_missed_the_event_before_the_window_is_told_so,
    "a_reset_that_is_not_told_on_return": whoever_left_before_a_reset_is_told_on_return,
    "a_return_to_a_table_that_nobody_was_interested_in": (
        whoever_returns_to_a_table_that_nobody_was_interested_in_is_told_so
    ),
    "a_cursor_from_before_nobody_was_interested": (
        whoever_returns_first_is_told_so_though_nothing_else_was_heard_meanwhile
    ),
    "a_replay_in_several_turns_skips_an_event": a_replay_in_several_turns_is_without_a_gap,
    "a_replay_that_the_window_overtakes_is_not_told": whoever_is_overtaken_by_the_window_is_told_so,
    "a_gap_of_a_relayed_feed_is_not_told": whoever_missed_more_than_others_remember_hears_what_is_held,
    "a_relay_that_begins_late_is_not_told": whoever_listens_before_others_know_misses_nothing,
    "a_feed_goes_on_over_a_change_of_owners": a_change_of_owners_hides_nothing_from_listeners,
}
"""By the defect that breaks it."""
