"""What a node keeps of concurrent writes: which pairs, how many, in which order, and over every kind of restart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.record import Draft, Record, write_over
from dynatwist.model.records import pack, unpack
from dynatwist.model.ring import partition_of
from dynatwist.replication.conflicts import (
    ID_BYTES,
    Conflict,
    KeptConflicts,
    Winner,
    id_of,
    just_above,
    millis_of,
)
from dynatwist.storage import seal
from dynatwist.storage.recovery import recover
from dynatwist.storage.seal import UnknownFormat

from .test_storage import KEY, Bench

ONE, OTHER = b"1" * 16, b"2" * 16
K = ("t", "k")


def record(value: bytes | None, ms: int, actor: bytes = ONE, held: Record | None = None, expires_ms: int = 0) -> Record:
    draft = Draft(value, "alice", expires_ms)
    return write_over(held, (), 0, draft, Dot(actor, ms), Stamp(ms, 0, actor), 0)


def conflict(ms: int, size_bytes: int = 0, key: str = "k") -> Conflict:
    return Conflict(("t", key), pack(record(b"{%b}" % (b" " * size_bytes), ms)), Winner(2, ms + 1, "bob"))


def names(kept: KeptConflicts, after: bytes = b"") -> list[int]:
    return [millis_of(name) for name, _ in kept.newest(after)]


class TestIds:
    def test_they_are_the_same_whatever_the_value_lost_against(self):
        lost = pack(record(b"{}", 7))
        assert Conflict(K, lost, Winner(2, 8, "bob")).id == Conflict(K, lost, Winner(3, 9, "eve")).id
        assert len(id_of(K, lost)) == ID_BYTES
        assert millis_of(id_of(K, lost)) == 7

    @given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.sampled_from([ONE, OTHER])), max_size=8))
    def test_two_writes_never_share_one_and_they_go_by_time(self, writes):
        found = {one: id_of(("t", one[0]), pack(record(b"{}", one[1], one[2]))) for one in writes}
        assert len(set(found.values())) == len(set(writes))
        in_order = sorted(found, key=found.__getitem__)
        assert [ms for _, ms, _ in in_order] == sorted(ms for _, ms, _ in in_order)

    def test_a_listing_may_begin_at_one(self):
        kept = KeptConflicts()
        for ms in (1, 2, 3):
            kept.add(conflict(ms))
        assert names(kept, just_above(conflict(2).id)) == [2, 1]
        assert just_above(b"\xff" * ID_BYTES) == b""


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "add", "settle"]), st.integers(1, 20), st.integers(0, 3)), max_size=60
)


class TestBounds:
    @given(STEPS)
    @settings(max_examples=300)
    def test_the_newest_are_kept_and_what_is_settled_never_comes_back(self, steps):
        kept, added, settled = KeptConflicts(most=4), {}, set()
        for verb, ms, _ in steps:
            one = conflict(ms)
            if verb == "add":
                was_kept = kept.get(one.id) is not None
                is_change = kept.add(one)
                added[ms] = one
                assert is_change == (kept.get(one.id) is not None and not was_kept)
            else:
                kept.settle(partition_of(*one.key), one.id)
                settled.add(ms)
            assert not set(names(kept)) & settled
            assert names(kept) == sorted(names(kept), reverse=True)
            assert len(kept) <= 4
        if not settled:
            assert names(kept) == sorted(added, reverse=True)[:4]

    @given(STEPS)
    def test_bytes_are_bounded_and_counted(self, steps):
        kept = KeptConflicts(most_bytes=4000, most_settled=5)
        for verb, ms, size in steps:
            one = conflict(ms, size * 700)
            if verb == "add":
                kept.add(one)
            else:
                kept.settle(partition_of(*one.key), one.id)
            counted = sum(one.size_bytes for _, one in kept.newest())
            assert counted <= 4000
            assert len(kept.settled()) <= 5
            assert kept.size_bytes == counted + 250 * len(kept.settled())
            ids = {name for name, _ in kept.newest()} | set(kept.settled())
            assert set(kept.of_partition(partition_of("t", "k"))) == ids

    @given(STEPS)
    def test_what_is_done_twice_changes_nothing_more(self, steps):
        kept = KeptConflicts(most=3, most_settled=2)
        for verb, ms, _ in steps:
            one = conflict(ms)

            def carry_out(verb=verb, one=one):
                return kept.add(one) if verb == "add" else kept.settle(partition_of(*one.key), one.id)

            carry_out()
            before = names(kept), kept.settled(), kept.size_bytes
            assert not carry_out()
            assert (names(kept), kept.settled(), kept.size_bytes) == before

    def test_one_that_is_larger_than_all_there_is_room_for_is_not_kept(self):
        kept = KeptConflicts(most_bytes=1000)
        assert not kept.add(conflict(1, 2000))
        assert len(kept) == 0
        assert kept.dropped == 1

    def test_the_ids_of_those_that_are_settled_are_shown_by_stretches(self):
        kept = KeptConflicts()
        ids = [conflict(ms).id for ms in range(1, 6)]
        for name in ids:
            kept.settle(3, name)
        assert kept.settled(after=ids[4], upto=ids[1]) == [ids[3], ids[2], ids[1]]
        assert kept.settled() == ids[::-1]


@pytest.fixture
def bench():
    return Bench()


def lost(store) -> list[tuple[str, bytes | None]]:
    """The keys and values of what is kept, the newest first."""
    return [(one.key[1], unpack(one.lost).value) for _, one in store.newest()]


class TestWhichPairs:
    def test_the_loser_is_kept_whether_it_was_held_or_arrives(self, bench):
        bench.store.merge(K, record(b'{"a":1}', 10))
        bench.store.merge(K, record(b'{"b":1}', 5, OTHER))
        assert lost(bench.store.conflicts) == [("k", b'{"a":1}')]  # the earlier creation wins
        bench.store.merge(("t", "k2"), record(b'{"a":1}', 5))
        bench.store.merge(("t", "k2"), record(b'{"b":1}', 11, OTHER))
        assert lost(bench.store.conflicts) == [("k2", b'{"b":1}'), ("k", b'{"a":1}')]
        assert bench.store.conflicts.met == 2

    def test_what_its_writer_had_seen_is_none(self, bench):
        first = record(b'{"n":1}', 5)
        bench.store.merge(K, first)
        bench.store.merge(K, record(b'{"n":2}', 6, OTHER, first))
        assert bench.store.conflicts.met == 0
        assert lost(bench.store.conflicts) == []

    @pytest.mark.parametrize("value", [b"{}", None])
    def test_two_that_say_the_same_are_counted_and_not_kept(self, bench, value):
        first = record(b'{"n":1}', 5)
        for actor, ms in ((ONE, 6), (OTHER, 7)):
            bench.store.merge(K, record(value, ms, actor, first))
        assert bench.store.conflicts.met == 1
        assert lost(bench.store.conflicts) == []

    def test_a_delete_that_lost_is_kept(self, bench):
        first = record(b'{"n":1}', 5)
        bench.store.merge(K, record(None, 6, ONE, first))
        bench.store.merge(K, record(b'{"n":2}', 7, OTHER, first))
        assert lost(bench.store.conflicts) == [("k", None)]

    def test_a_value_that_had_ended_is_none(self, bench):
        first = record(b'{"n":1}', 5)
        bench.store.pass_by(100)
        bench.store.merge(K, record(b'{"n":2}', 6, ONE, first, expires_ms=50))
        bench.store.merge(K, record(b'{"n":3}', 7, OTHER, first))
        assert lost(bench.store.conflicts) == []

    def test_a_value_that_has_ended_since_is_not_shown(self, bench):
        first = record(b'{"n":1}', 5)
        bench.store.merge(K, record(b'{"n":2}', 6, ONE, first, expires_ms=50))
        bench.store.merge(K, record(b'{"n":3}', 7, OTHER, first))
        assert lost(bench.store.conflicts) == [("k", b'{"n":2}')]
        bench.store.pass_by(50)
        assert lost(bench.store.conflicts) == []

    def test_records_of_the_system_are_none(self, bench):
        for actor, ms in ((ONE, 6), (OTHER, 7)):
            bench.store.merge(("_users", "alice"), record(b'{"n":%d}' % ms, ms, actor))
        assert bench.store.conflicts.met == 1
        assert lost(bench.store.conflicts) == []

    def test_a_put_over_both_settles_nothing(self, bench):
        first = record(b'{"n":1}', 5)
        bench.store.merge(K, record(b'{"n":2}', 6, ONE, first))
        bench.store.merge(K, record(b'{"n":3}', 7, OTHER, first))
        bench.store.write(K, Draft(b'{"n":4}', "alice"))
        bench.store.write(K, Draft(None, "alice"))
        assert lost(bench.store.conflicts) == [("k", b'{"n":2}')]


def contested(bench, count: int = 5) -> None:
    for number in range(count):
        key = ("t", f"k{number}")
        first = record(b"{}", 5)
        bench.store.merge(key, record(b'{"lost":%d}' % number, 10 + number, ONE, first))
        bench.store.merge(key, record(b'{"won":1}', 100, OTHER, first))


WANTED = [(f"k{number}", b'{"lost":%d}' % number) for number in (4, 3, 2, 1, 0)]


class TestOnDisk:
    @pytest.mark.parametrize("saves", [0, 1, 2])
    def test_they_are_there_after_a_restart_and_so_is_what_was_settled(self, bench, saves):
        contested(bench)
        assert lost(bench.store.conflicts) == WANTED
        for number in range(saves):
            bench.save()
            bench.store.write(("t", f"other {number}"), Draft(b"{}", "alice"))
        name = next(bench.store.conflicts.newest())[0]
        bench.store.conflicts.settle(partition_of("t", "k4"), name)
        bench.turn()
        again = Bench(bench.disk, epoch=b"f" * 8)
        assert lost(again.store.conflicts) == WANTED[1:]
        assert again.store.conflicts.is_settled(name)
        assert again.store.conflicts.size_bytes == bench.store.conflicts.size_bytes
        assert again.store.conflicts.met == 0

    def test_they_stay_when_their_partition_starts_over(self, bench):
        contested(bench)
        for number in range(5):
            bench.store.reset(partition_of("t", f"k{number}"), True)
        bench.save()
        bench.turn()
        assert lost(Bench(bench.disk, epoch=b"f" * 8).store.conflicts) == WANTED

    def test_cold_saves_take_them_in_slices(self, bench):
        bench.saver.slice_records = 2
        key, first = K, record(b"{}", 5)
        for number in range(9):
            bench.store.merge(key, record(b'{"lost":%d}' % number, 10 + number, bytes([65 + number]) * 16, first))
        kept = lost(bench.store.conflicts)
        assert len(kept) == 8
        bench.save()
        bench.turn()
        assert lost(Bench(bench.disk, epoch=b"f" * 8).store.conflicts) == kept

    def test_their_memory_counts(self, bench):
        before = bench.store.size_bytes
        contested(bench, 1)
        assert bench.store.size_bytes > before + 600
        assert bench.store.conflicts.size_bytes > 600


class TestFormerReleases:
    def test_a_folder_of_the_version_before_is_taken_over(self, monkeypatch):
        monkeypatch.setattr(seal, "FORMAT_VERSION", 4)
        bench = Bench()
        bench.store.write(K, Draft(b'{"n":1}', "alice"))
        bench.save()
        bench.store.write(("t", "later"), Draft(b'{"n":2}', "alice"))
        bench.turn()
        monkeypatch.undo()
        again = Bench(bench.disk, epoch=b"f" * 8)
        assert {again.store.held(key).value for key in (K, ("t", "later"))} == {b'{"n":1}', b'{"n":2}'}
        contested(again)
        again.turn()
        assert lost(Bench(again.disk, epoch=b"g" * 8).store.conflicts) == WANTED

    def test_they_refuse_a_folder_of_this_one_by_name(self, bench, monkeypatch):
        contested(bench)
        bench.turn()
        monkeypatch.setattr(seal, "READ_VERSIONS", (2, 3, 4))
        with pytest.raises(UnknownFormat, match="version 5"):
            recover(bench.fs, "/d", KEY, True)
