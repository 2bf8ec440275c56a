"""Much of everything, and large: no frame, answer, page, table or turn grows with it."""

from __future__ import annotations

import gc
import time
import tracemalloc

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred

from dynatwist.api.request import Request
from dynatwist.auth.tokens import Role
from dynatwist.model.dots import DotSet
from dynatwist.model.record import Draft
from dynatwist.model.records import pack
from dynatwist.model.replica import BucketWalk, Replica
from dynatwist.model.ring import partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.framing import FrameReader, FrameSizes, encode, encode_all
from dynatwist.net.messages import BucketEntries, EntriesAre, Fetch, Fetched, Pull, Pulled, Refused, Unable
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code
from dynatwist.requests.listing import MOST_SEEN, Listing
from dynatwist.sim.effort import Effort
from dynatwist.storage.requests import ENTRY_BYTES, Requests
from tests.test_findings import ask, settled
from tests.test_links import Host, SimNetwork, World
from tests.test_model import make

MIB = 1 << 20


class TestFrames:
    @given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 700)), min_size=1, max_size=30))
    @settings(max_examples=200)
    def test_all_messages_arrive_in_order_and_no_frame_is_longer_than_its_bound(self, wanted):
        messages = [(call_id, Refused("x" * size)) for call_id, size in wanted]
        sizes = FrameSizes(300, 600)
        frames, too_long = encode_all(1, (2, (3, 4)), messages, sizes)
        arrived = [item for frame in FrameReader(sizes.max_bytes).feed(b"".join(frames)) for item in frame.messages]
        left = iter(messages)
        assert all(item in left for item in arrived)
        assert len(arrived) + len(too_long) == len(messages)
        assert len(too_long) <= sum(len(message.reason) > 400 for _, message in messages)
        for data in frames:
            assert len(data) <= sizes.full_bytes + 100 or len(next(FrameReader().feed(data)).messages) == 1

    def test_the_usual_case_is_one_frame_encoded_once(self):
        messages = [(number, Refused("x")) for number in range(100)]
        assert encode_all(1, (2, (3, 4)), messages) == ([encode(1, (2, (3, 4)), messages)], [])

    @pytest.fixture
    def pair(self):
        world = World(3)
        network = SimNetwork(world)
        one, two = Host(world, network, 1), Host(world, network, 2)
        for mine, other in ((one, two), (two, one)):
            mine.links.dialler.want(other.node, other.name, 1)
        world.run(1)
        return world, one, two

    def test_fifty_messages_of_a_mebibyte_in_one_turn(self, pair):
        world, one, two = pair
        for _ in range(50):
            one.links.tell(two.node, message_of(MIB))
        world.run(world.now_s + 1)
        assert two.events.count("Fetch") == 50
        assert "unlinked" not in one.events

    def test_an_answer_too_long_for_any_frame_costs_no_connection(self, pair):
        world, one, two = pair
        two.handle = lambda node, message, respond: respond(
            Fetched([(("t", "k"), msgspec.structs.replace(make(1, 1), value=b"x" * (33 * MIB)))])
        )
        replies = []
        one.links.call(two.node, Fetch([]), replies.append)
        world.run(world.now_s + 1)
        assert [type(reply) for reply in replies] == [Unable]
        assert "unlinked" not in one.events


def message_of(size_bytes):
    """A one-way message of a size."""
    return Fetch([("t", "x" * size_bytes)])


class TestRequests:
    def setup_method(self):
        self.held = {}
        self.requests = Requests(self.held.get)

    def write(self, number, size_bytes=10):
        """A forwarded request becomes a record, in place of what is held."""
        before = self.held.get(("t", "k"))
        record = make(1, number, seq=number)
        record = msgspec.structs.replace(record, op=b"op%d" % number, value=b"x" * size_bytes)
        self.held["t", "k"] = record
        self.requests.note(("t", "k"), record)
        if before is not None:
            self.requests.keep(before.op, before.dot, pack(before))
        return record

    def test_what_is_held_is_told_from_the_store_and_what_was_superseded_from_here(self):
        one, two = self.write(1), self.write(2)
        assert self.requests.became(b"op1") == one
        assert self.requests.became(b"op2") == two
        assert [record.dot for record in self.requests.values()] == [one.dot]

    def test_bytes_are_bounded_and_who_is_forgotten_is_known_to_have_been(self):
        self.requests.max_bytes = 100 * ENTRY_BYTES
        for number in range(1, 60):
            self.write(number, 5000)
        assert self.requests.size_bytes <= 100 * ENTRY_BYTES
        assert sum(len(record.value) for record in self.requests.values()) <= 100 * ENTRY_BYTES
        assert self.requests.knows(b"op1")
        assert self.requests.became(b"op1") is None
        assert self.requests.became(b"op59") is not None

    def test_nothing_is_left_in_the_end(self):
        for number in range(1, 20):
            self.write(number)
        self.requests.age()
        assert self.requests.knows(b"op1")
        self.requests.age()
        assert len(self.requests) == self.requests.size_bytes == 0


@pytest.fixture(scope="module")
def crowded():
    """A node that holds a hundred thousand records in one table, and in one partition of another."""
    world, cluster = settled(1)
    (node,) = cluster.nodes
    store = node.core.store
    for number in range(100_000):
        store.write(("t", f"k{number:06}"), Draft(b'{"n":1}', "alice"))
    replica = store.replicas[5]
    stamped = store.held(("t", "k000000"))
    for number in range(100_000):
        dot = replica.next_dot(store.actor)
        replica.merge(("crowd", f"c{number}"), msgspec.structs.replace(stamped, dot=dot))
    world.run(world.now_s + 1)
    return world, node


def longest_turn(world, node, until):
    """The longest turn of a node, in records looked at and in seconds, until something is so."""
    said = []
    effort = Effort(said.append, 4 * MIB)
    longest_s = 0.0
    run = node.process.run

    def timed(call, *args):
        nonlocal longest_s
        began_s = time.process_time()
        run(call, *args)
        longest_s = max(longest_s, time.process_time() - began_s)

    node.process.run = timed
    gc.disable()  # which would look at what all tests before have left
    try:
        with effort.counting():
            assert world.run_until(until, 100, step_s=0.05)
    finally:
        gc.enable()
        del node.process.run
    return effort.most_looks, longest_s


class TestAHundredThousandRecords:
    def test_all_names_are_listed_page_by_page(self, crowded):
        world, node = crowded
        listing: Listing = node.core.handlers.context.listing
        found, over = [], []

        async def walk():
            after = ""
            while after is not None:
                page = await listing.names("t", "", after, Level.QUORUM)
                found.extend(name for name, _ in page.names)
                after = page.next_after

        node.process.run(lambda: ensureDeferred(walk()).addBoth(over.append))
        looks, longest_s = longest_turn(world, node, lambda: bool(over))
        assert over == [None]
        assert found == [f"k{number:06}" for number in range(100_000)]
        assert looks < 1000
        assert longest_s < 0.1

    def test_keys_that_were_deleted_are_passed_many_at_a_time(self, crowded):
        world, node = crowded
        listing: Listing = node.core.handlers.context.listing
        pages, over = [], []
        for number in range(20_000):
            node.core.store.write(("gone", f"k{number:06}"), Draft(b"{}" if number == 15_000 else None, "alice"))

        async def walk():
            after = ""
            while after is not None:
                pages.append(await listing.names("gone", "", after, Level.QUORUM, 8))
                after = pages[-1].next_after

        node.process.run(lambda: ensureDeferred(walk()).addBoth(over.append))
        _, longest_s = longest_turn(world, node, lambda: bool(over))
        assert [name for page in pages for name, _ in page.names] == ["k015000"]
        assert len(pages) == 20_000 // MOST_SEEN + 1
        assert longest_s < 0.1

    def test_a_peer_gets_all_of_a_partition_page_by_page(self, crowded):
        world, node = crowded
        replica = node.core.store.replicas[5]
        theirs, got, pages = DotSet(), set(), []

        def took(page):
            pages.append(page)
            if isinstance(page, Pulled):
                for key, record in page.records:
                    got.add(key)
                    theirs.add(record.dot)
                if page.more:
                    world.later(0.001, lambda: pull(page.records[-1][0]))

        def pull(after):
            message = Pull(node.core.cluster.version, 5, theirs.to_wire(), after)
            node.process.run(node.core.cluster.peers.handle, Arrival(node.node_id), message, took)

        pull(None)
        looks, longest_s = longest_turn(world, node, lambda: pages and not getattr(pages[-1], "more", True))
        assert got == set(replica.records)
        assert looks < 6000
        assert longest_s < 0.1

    def test_digest_buckets_are_walked_through_in_steps(self, crowded):
        world, node = crowded
        replica = node.core.store.replicas[5]
        answers = []
        node.process.run(
            node.core.cluster.peers.handle, Arrival(node.node_id), BucketEntries(5, [1, 7]), answers.append
        )
        looks, longest_s = longest_turn(world, node, lambda: bool(answers))
        (answer,) = answers
        assert isinstance(answer, EntriesAre)
        assert 100 < len(answer.entries) < 300
        assert dict(answer.entries).items() <= dict(replica.records.dots()).items()
        assert looks < 6000
        assert longest_s < 0.1


def test_a_page_asked_for_behind_a_reset_is_refused():
    """What the first page said of its clock does not hold of a replica that started over since."""
    world, cluster = settled(1)
    (node,) = cluster.nodes
    store, handle = node.core.store, node.core.cluster.peers.handle
    node.core.repair.answers.page_records = 2
    keys = [("t", f"k{number}") for number in range(5000) if partition_of("t", f"k{number}") == 3][:6]
    for key in keys:
        store.write(key, Draft(b"{}", "alice"))
    world.run(world.now_s + 1)
    answers = []
    handle(Arrival(node.node_id), Pull(node.core.cluster.version, 3, {}, None), answers.append)
    world.run(world.now_s + 1)
    (first,) = answers
    assert first.more
    store.reset(3, whole=True)
    handle(Arrival(node.node_id), Pull(node.core.cluster.version, 3, {}, first.records[-1][0]), answers.append)
    world.run(world.now_s + 1)
    assert isinstance(answers[-1], Unable)


@pytest.mark.parametrize("is_older", [False, True])
def test_two_rounds_of_one_peer_do_not_get_each_others_pages(is_older):
    """(Found by the simulator.) They were told apart by the last key of a page alone. The later round went on with what
    was held when the earlier one began, left out what had come since, and its asker joined a clock that covered it."""
    world, cluster = settled(1)
    (node,) = cluster.nodes
    store, handle = node.core.store, node.core.cluster.peers.handle
    node.core.repair.answers.page_records = 2
    keys = [("t", f"k{number}") for number in range(5000) if partition_of("t", f"k{number}") == 3][:5]

    def pull(page=None):
        answers = []
        after, walk = (page.records[-1][0], 0 if is_older else page.walk) if page else (None, 0)
        handle(Arrival(node.node_id), Pull(node.core.cluster.version, 3, {}, after, walk), answers.append)
        world.run(world.now_s + 1)
        return answers[0]

    for key in keys[:4]:
        store.write(key, Draft(b"{}", "alice"))
    earlier = pull()
    store.write(keys[4], Draft(b"{}", "alice"))
    later = pull()
    assert earlier.records == later.records
    rest = [pull(later), pull(earlier)]
    if is_older:  # it does not say which of its rounds goes on: neither does
        assert all(isinstance(answer, Unable) for answer in rest)
        return
    assert [key for key, _ in rest[0].records] == keys[2:4]
    assert [key for key, _ in pull(rest[0]).records] == keys[4:]
    assert not rest[1].more


def test_keys_that_come_and_go_during_a_walk_are_as_they_are_at_its_end():
    replica = Replica(0)
    for number in range(1, 9):
        replica.merge(("t", f"k{number}"), make(1, number, seq=number))
    walk = BucketWalk(replica, range(1024))
    walk.step(3)
    replica.merge(("t", "new"), make(1, 20, seq=20))
    gone = replica.records.dot(("t", "k8"))
    replica.drop(("t", "k8"), gone, 1)
    replica.drop(("t", "k1"), replica.records.dot(("t", "k1")), 1)
    while not walk.step(3):
        pass
    assert dict(walk.entries()) == dict(replica.records.dots())
    assert not replica.walks


@pytest.mark.parametrize("route", ["store", "get_many"])
def test_long_answers_take_little_memory(route):
    world, cluster = settled(1)
    (node,) = cluster.nodes
    for number in range(100):
        node.core.store.write(("t", f"k{number}"), Draft(b'{"v":"' + b"x" * MIB + b'"}', "admin"))
    world.run(world.now_s + 1)
    token = node.core.users.tokens.issue("admin", "admin", 0, Role.ADMIN)
    body = msgspec.json.encode({"keys": [f"k{number}" for number in range(100)]})
    sent, over = 0, []

    async def read():
        nonlocal sent
        answer = await getattr(node.core.handlers.data, route)(
            Request(headers={"authorization": f"Bearer {token}"}, body=body), "t"
        )
        async for piece in answer.stream:
            sent += len(piece)

    tracemalloc.start()
    node.process.run(lambda: ensureDeferred(read()).addBoth(over.append))
    world.run_until(lambda: bool(over), 60)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert over == [None]
    assert sent > 100 * MIB
    assert peak < 24 * MIB


def test_memory_that_is_spent_can_be_freed():
    """What adds is refused, whatever it is; what frees goes on."""
    world, cluster = settled(1)
    (node,) = cluster.nodes
    node.core.coordinator.deciding._max_store_bytes = 100_000
    big = b'{"v":"' + b"x" * 20_000 + b'"}'
    codes = [ask(world, node, "put", ("t", f"k{number}"), big).code for number in range(10)]
    assert codes == [Code.OK] * 4 + [Code.FULL] * 6
    assert ask(world, node, "put", ("t", "k0"), big, ttl_ms=60_000).code is Code.OK
    assert ask(world, node, "put", ("t", "k0"), big + b" ").code is Code.OK
    assert ask(world, node, "patch", ("t", "k0"), big.replace(b'"v"', b'"w"')).code is Code.FULL
    assert ask(world, node, "patch", ("t", "k0"), b'{"v":null}').code is Code.OK
    assert ask(world, node, "put", ("t", "k4"), big).code is Code.OK
    assert ask(world, node, "delete", ("t", "k1")).code is Code.OK
