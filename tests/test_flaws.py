"""What a member sends that has been taken over, or has a bug: records and messages that decode, and are none."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred
from twisted.logger import globalLogPublisher

from dynatwist.cluster.starts import MOST_STARTS
from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.flaws import BEYOND, record_flaw, value_flaw
from dynatwist.model.lineage import FILLED, Lineage, turned
from dynatwist.model.record import MAX_VERSION, Draft, Record, write_over
from dynatwist.model.records import pack
from dynatwist.model.ring import partition_of
from dynatwist.net import messages
from dynatwist.net.framing import FrameError, FrameReader, encode
from dynatwist.net.messages import Done, DotHeld, Fetched, Listening, Pulled, Relay, Replicate, Unable
from dynatwist.net.sieve import sifted
from dynatwist.replication.conflicts import id_of
from dynatwist.requests.conflicts import Conflicts
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World

from .anything import Anything

KEY = ("t", "k")
ACTOR = b"a" * 16
GOOD = write_over(None, (), 0, Draft(b'{"n":1}', "alice"), Dot(ACTOR, 1), Stamp(5, 0, ACTOR), 0)
change = msgspec.structs.replace


def lineage(*stamps: Stamp) -> Lineage:
    return Lineage(0, stamps)


FLAWED = {
    "no JSON": change(GOOD, value=b"not json"),
    "a list": change(GOOD, value=b"[1]"),
    "a number": change(GOOD, value=b"1"),
    "nothing": change(GOOD, value=b""),
    "two objects": change(GOOD, value=b"{}{}"),
    "no UTF-8": change(GOOD, value=b'{"a":"\xff"}'),
    "a lone surrogate": change(GOOD, value=b'{"a":"\\ud800"}'),
    "a control character": change(GOOD, value=b'{"a":"\n"}'),
    "deep": change(GOOD, value=b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a short actor": change(GOOD, dot=Dot(b"a", 1)),
    "dot 0": change(GOOD, dot=Dot(ACTOR, 0)),
    "a huge dot": change(GOOD, dot=Dot(ACTOR, 1 << 63)),
    "a negative stamp": change(GOOD, stamp=Stamp(-1, 0, ACTOR)),
    "a huge counter": change(GOOD, stamp=Stamp(1, BEYOND, ACTOR)),
    "a stamp of nobody": change(GOOD, stamp=Stamp(1, 0, b"")),
    "no lineage": change(GOOD, lineage=lineage()),
    "a long lineage": change(GOOD, lineage=lineage(*[Stamp(n, 0, ACTOR) for n in range(999)])),
    "a huge moment": change(GOOD, lineage=lineage(Stamp(1 << 63, 0, ACTOR))),
    "a stretch of nothing": change(GOOD, lineage=lineage(Stamp(1, 0, ACTOR), FILLED)),
    "a stretch at the end": change(GOOD, lineage=lineage(Stamp(1, 0, ACTOR), FILLED, turned(Stamp(2, 0, ACTOR)))),
    "a stretch at the beginning": change(GOOD, lineage=lineage(FILLED, turned(Stamp(2, 0, ACTOR)), Stamp(3, 0, ACTOR))),
    "a negative generation": change(GOOD, lineage=Lineage(-1, GOOD.lineage.stamps)),
    "version 0": change(GOOD, version=0),
    "a huge version": change(GOOD, version=1 << 63),
    "a negative end": change(GOOD, expires_ms=-1),
    "a long owner": change(GOOD, owner="x" * 5000),
    "a long vector": change(GOOD, vv=tuple(Dot(ACTOR, n) for n in range(1, 99))),
    "a long id": change(GOOD, op=bytes(5000)),
}


class TestRecords:
    @pytest.mark.parametrize("name", FLAWED)
    def test_a_flaw_is_found(self, name):
        flaw = record_flaw(KEY, FLAWED[name])
        assert flaw
        assert len(flaw.splitlines()) == 1

    @pytest.mark.parametrize("key", [("", "k"), ("t", ""), ("t" * 2000, "k"), ("t", "k" * 9000)])
    def test_a_key_may_be_flawed_too(self, key):
        assert record_flaw(key, GOOD)

    def test_what_honest_nodes_write_has_none(self):
        record = GOOD
        for number in range(2, 400):  # deleted and created again and again, beyond what a history keeps apart
            draft = Draft(None if number % 2 else b'{"a": 1.10}', "alice", 7, bytes(16))
            dot, stamp = Dot(ACTOR, number), Stamp(5 + number, 3, ACTOR)
            record = write_over(record, (Dot(b"b" * 16, number),), 0, draft, dot, stamp, 1)
            assert record_flaw(("_users", "ü" * 100), record) == ""

    def test_whoever_writes_over_a_record_that_is_barely_one_writes_one_that_is(self):
        at_the_edge = change(GOOD, version=BEYOND - 1)
        after = write_over(at_the_edge, (), 0, Draft(b"{}", "alice"), Dot(ACTOR, 2), Stamp(6, 0, ACTOR), 0)
        assert after.version == MAX_VERSION
        assert record_flaw(KEY, after) == ""

    @given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
    def test_no_bytes_make_a_look_at_a_value_fail(self, value):
        if value_flaw(value) == "":
            assert isinstance(msgspec.json.decode(value.decode(), type=dict), dict)

    @given(st.sampled_from(sorted(FLAWED)), st.booleans())
    def test_it_is_left_out_of_what_comes_and_the_others_are_not(self, name, in_front):
        flawed = FLAWED[name]
        records = [(KEY, GOOD), (("t", "bad"), flawed)][:: -1 if in_front else 1]
        for message in (Fetched(records), Relay(records, "c"), Listening(records, "c")):
            left, flaw = sifted(message)
            assert left.records == [(KEY, GOOD)]
            assert flaw
        assert sifted(DotHeld(GOOD.dot, True, flawed))[0] == DotHeld(GOOD.dot, True)
        assert sifted(DotHeld(GOOD.dot, True, GOOD)) == (DotHeld(GOOD.dot, True, GOOD), "")


class TestFrames:
    @given(st.data())
    @settings(max_examples=300, deadline=None)
    def test_no_bytes_make_a_reader_fail_otherwise_than_by_saying_so(self, data):
        seed = data.draw(st.integers(0, 1 << 32))
        anything = Anything(Random(seed), [ACTOR])
        frame = bytearray(encode(1, (2, (3, 4)), [(n, anything.message()) for n in range(3)]))
        for _ in range(data.draw(st.integers(0, 4))):
            at = data.draw(st.integers(4, len(frame) - 1))
            frame[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        frame[:4] = (len(frame) - 4).to_bytes(4)
        with suppress(FrameError):
            list(FrameReader().feed(bytes(frame)))

    def test_a_partition_that_there_is_not_does_not_decode(self):
        for message in (messages.Buckets(257), messages.Buckets(-1), messages.BucketEntries(0, [1024])):
            with pytest.raises(FrameError):
                list(FrameReader().feed(encode(1, (2, (3, 4)), [(1, message)])))


REPLIES = {
    messages.Replicate: (messages.Done,),
    messages.Compare: (messages.Held,),
    messages.ReadDot: (messages.DotHeld,),
    messages.Fetch: (messages.Fetched,),
    messages.Forward: (messages.Outcome,),
    messages.Scan: (messages.Scanned,),
    messages.Summaries: (messages.Differing,),
    messages.Pull: (messages.Pulled,),
    messages.Buckets: (messages.BucketsAre,),
    messages.BucketEntries: (messages.EntriesAre,),
    messages.DurableClocks: (messages.ClocksAre,),
    messages.PullFromMe: (messages.ClocksAre,),
    messages.Prepare: (messages.Voted,),
    messages.Accept: (messages.Voted,),
    messages.Listen: (messages.Listening,),
    messages.ListConflicts: (messages.ConflictsAre,),
    messages.FetchConflicts: (messages.ConflictsFetched,),
    messages.ListTables: (messages.TablesAre,),
    messages.SettleTables: (messages.SettledTables,),
    messages.AskCondition: (messages.ConditionIs,),
    messages.AskHistory: (messages.HistoryIs,),
    messages.AskWaiting: (messages.WaitingAre,),
}
NOT_SENT = messages.Hello | messages.Refused | messages.Rekey
"""Said once; the other two are tested elsewhere."""


class Captured:
    """A member of three that says anything; the other two hold keys."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.cluster = SimCluster(self.world, 3)
        for node in self.cluster.nodes:
            node.start()
        assert self.world.run_until(self.cluster.is_settled, 60)
        self.node, *self.others = self.cluster.nodes
        for node in self.others:
            for number in range(20):
                node.process.run(node.core.store.write, ("t", f"k{number}"), Draft(b'{"a":1}', "alice"))
        self.random = Random(seed)
        self.mine = self.node.core.cluster
        registry = self.mine.registry
        actors = [node.core.store.actor for node in self.cluster.nodes]
        seen = [member.node_id for member in registry.members] + [registry.cluster_id, *actors]
        self.anything = Anything(self.random, seen)
        self._handle = self.mine.peers.handle
        self.mine.peers.handle = self.answer  # type: ignore[method-assign]

    def answer(self, node, message, respond):
        """Half of the time as it should."""
        if respond is None or self.random.random() < 0.4:
            self._handle(node, message, respond)
        else:
            respond(self.anything.message(*(REPLIES.get(type(message), ()) if self.random.random() < 0.8 else ())))

    def speak(self) -> None:
        """Say something to the others, in this node's process."""
        for node in self.others * 4:
            message = self.anything.message()
            if isinstance(message, NOT_SENT):
                continue
            if isinstance(getattr(message, "registry", None), int):
                message = change(message, registry=self.random.choice((0, self.mine.version, self.mine.version, 5)))
            if self.random.random() < 0.7:
                self.mine.links.call(node.core.identity.node_id, message, lambda reply: None)
            else:
                self.mine.links.tell(node.core.identity.node_id, message)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_member_says_nothing_fails_and_nothing_flawed_is_kept(seed):
    failures = []
    captured = Captured(seed)

    def observe(event):
        if event.get("log_failure") is not None:
            failures.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    try:
        for _ in range(40):
            captured.node.process.run(captured.speak)
            captured.world.run(captured.world.now_s + 0.1)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert failures == []
    for node in captured.others:
        assert node.core is not None
        for replica in node.core.store.replicas:
            flaws = {record_flaw(key, record) for key, record in replica.records.items()}
            assert flaws <= {""}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_member_says_of_conflicts_pages_are_sound(seed):
    """They are in order, end, and show records that could have been written; those of the others are among them."""
    captured = Captured(seed)
    node = captured.others[0]
    for number in range(9):
        first = write_over(None, (), 0, Draft(b"{}", "alice"), Dot(ACTOR, 50 + number), Stamp(5, 0, ACTOR), 0)
        for actor in (ACTOR, b"b" * 16):
            draft, stamp = Draft(b'{"by":"%b"}' % actor, "alice"), Stamp(100 + number, 0, actor)
            record = write_over(first, (), 0, draft, Dot(actor, 100 + number), stamp, 0)
            node.process.run(node.core.store.merge, ("c", f"k{number}"), record)
    assert len(node.core.store.conflicts) == 9
    pages = []
    for _ in range(30):
        listing = Conflicts(node.core.cluster).page("", b"", 5, lambda found: True)
        node.process.run(lambda listing=listing: ensureDeferred(listing).addCallback(pages.append))
        captured.world.run(captured.world.now_s + 3)
    assert len(pages) == 30
    for page in pages:
        ids = [one.found.id for one in page.conflicts]
        assert ids == sorted(ids, reverse=True)
        assert len(ids) <= 5
        assert all(not record_flaw(one.found.key, one.lost) for one in page.conflicts)
        assert all(id_of(one.found.key, pack(one.lost)) == one.found.id for one in page.conflicts)
    assert any(page.conflicts for page in pages)


class TestAMemberThatSendsARecordThatIsNone:
    """It is refused, and the others are served."""

    @pytest.fixture
    def captured(self):
        return Captured(7)

    def replies(self, captured, message):
        replies = []
        target = captured.others[0].core
        call = captured.mine.links.call
        captured.node.process.run(call, target.identity.node_id, message(captured.mine.version), replies.append)
        assert captured.world.run_until(lambda: bool(replies), 20)
        return replies[0]

    @pytest.mark.parametrize("name", ["no JSON", "a short actor", "a stretch of nothing", "garbage", "no UTF-8"])
    def test_a_write_is_refused_as_a_whole(self, captured, name):
        garbage = {"garbage": b"garbage", "no UTF-8": pack(change(GOOD, owner="alice")).replace(b"alice", b"alic\xff")}
        packed = garbage[name] if name in garbage else pack(FLAWED[name])
        other = change(GOOD, dot=Dot(ACTOR, 2))
        writes = [(("t", "other"), pack(other)), (KEY, packed)]
        reply = self.replies(captured, lambda version: Replicate(version, 1000, writes))
        assert isinstance(reply, Unable)
        assert reply.reason.startswith("a record is refused")
        assert captured.others[0].core.store.held(("t", "other")) is None
        assert captured.others[0].core.store.held(KEY) is None
        assert isinstance(self.replies(captured, lambda version: Replicate(version, 1000, writes[:1])), Done)

    def test_a_write_in_the_name_of_this_process_is_refused(self, captured):
        """Its machine was resumed twice, and its twin has written more than it has."""
        store = captured.others[0].core.store
        own = store.replica_of(KEY).next_dot(store.actor)
        for dot, kind in ((Dot(store.actor, own.seq + 1), Unable), (own, Done)):
            writes = [(KEY, pack(change(GOOD, dot=dot)))]
            reply = self.replies(captured, lambda version, writes=writes: Replicate(version, 1000, writes))
            assert isinstance(reply, kind)

    def test_a_page_of_a_round_is_merged_without_it(self, captured):
        target = captured.others[0].core
        number = 3
        good = next(("t", f"g{n}") for n in range(9999) if partition_of(*("t", f"g{n}")) == number)
        bad = next(("t", f"b{n}") for n in range(9999) if partition_of(*("t", f"b{n}")) == number)
        other = next(("t", f"o{n}") for n in range(9999) if partition_of(*("t", f"o{n}")) != number)
        records = [(good, GOOD), (other, change(GOOD, dot=Dot(ACTOR, 2))), (bad, FLAWED["no JSON"])]
        page = Pulled(records, False, {}, 0, 0, True)
        captured.mine.peers.handle = lambda node, message, respond: (  # type: ignore[method-assign]
            respond(page if isinstance(message, messages.Pull) and message.partition == number else Unable("no"))
            if respond is not None and not isinstance(message, messages.Summaries)
            else respond(messages.Differing([number], []))
            if respond is not None
            else None
        )
        assert captured.world.run_until(lambda: target.store.held(good) is not None, 30)
        assert target.store.held(bad) is None
        assert target.store.held(other) is None


@pytest.mark.parametrize("starts", [MOST_STARTS - 1, MOST_STARTS, (1 << 53) - 1, (1 << 64) - 1])
def test_however_often_a_member_says_that_a_node_was_started_it_goes_on(starts):
    """The numbers of its log go by that: one beyond what fits into them ended it with the next group."""
    captured = Captured(7)
    target = captured.others[0]
    captured.node.process.run(captured.mine.links.tell, target.core.identity.node_id, messages.Restored(starts))
    captured.world.run(captured.world.now_s + 5)
    assert target.fatal == ""
    target.kill()
    target.start()
    captured.world.run(captured.world.now_s + 5)
    assert target.core is not None
    assert target.fatal == ""


def test_records_of_this_test_are_as_they_are_said_to_be():
    assert record_flaw(KEY, GOOD) == ""
    assert isinstance(GOOD, Record)
