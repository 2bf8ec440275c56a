"""A log that is stuck for want of room or descriptors: kept, not shown, written later, once; and what makes room."""

from __future__ import annotations

import errno

import pytest

from dynatwist.model.record import Draft
from dynatwist.sim.disk import UNLIMITED_BYTES
from dynatwist.storage.identity import Identity, IdentityFile
from dynatwist.storage.room import DiskRoom

from .test_storage import KEYS, Bench


def full(bench, free_bytes=0):
    bench.disk.capacity_bytes = bench.disk.used_bytes + free_bytes


def roomy(bench):
    bench.disk.capacity_bytes = UNLIMITED_BYTES
    bench.disk.has_descriptors = True


@pytest.mark.parametrize("free_bytes", [0, 30, 200])
def test_what_finds_no_room_is_kept_and_written_once_there_is_some(free_bytes):
    bench = Bench()
    bench.put("before")
    full(bench, free_bytes)
    bench.put("k", b'{"v":"' + b"x" * 300 + b'"}')
    assert bench.wal.stuck == "No space left on device"
    assert bench.wal.refusal(adds=False)
    assert bench.fatal == []
    assert [key[1] for key, _ in bench.announced] == ["before"]
    bench.put("later")
    assert Bench(bench.disk.twin(power_lost=False)).contents() == {"before": b"{}"}  # the partial frame was taken back
    bench.wal.retry()
    bench.turn()
    assert bench.wal.stuck
    roomy(bench)
    bench.wal.retry()
    bench.turn()
    assert not bench.wal.stuck
    assert [key[1] for key, _ in bench.announced] == ["before", "k", "later"]
    again = Bench(bench.disk)
    assert set(again.contents()) == {"before", "k", "later"}
    assert again.recovered.findings == []


def test_what_is_written_again_is_the_same_bytes():
    """A frame's nonce is its number: sealed again with more in it, it would give away what both have in common."""
    bench = Bench()
    bench.put("before")
    sealed = []
    seal = bench.wal.segments._sealer.seal
    bench.wal.segments._sealer.seal = lambda payload: sealed.append(payload) or seal(payload)
    full(bench, 100)
    bench.put("k", b'{"v":"' + b"x" * 300 + b'"}')
    bench.put("more")
    roomy(bench)
    bench.wal.retry()
    bench.turn()
    assert len(sealed) == 2
    assert b"more" not in sealed[0]


def test_a_segment_that_cannot_be_begun_is_begun_later():
    bench = Bench()
    bench.put("before")
    for trouble in ("room", "descriptors"):
        if trouble == "room":
            full(bench, 20)
        else:
            bench.disk.has_descriptors = False
        bench.wal.rotate()
        bench.put(trouble)
        assert bench.wal.stuck
        roomy(bench)
        bench.wal.retry()
        bench.turn()
        assert not bench.wal.stuck
    again = Bench(bench.disk)
    assert set(again.contents()) == {"before", "room", "descriptors"}
    assert again.recovered.findings == []


def test_a_failed_sync_says_nothing_of_the_disk_whatever_its_cause():
    bench = Bench()
    bench.put("k")

    def fail():
        raise OSError(errno.ENOSPC, "No space left on device")

    bench.wal.segments._file.sync = fail
    bench.store.write(("t", "other"), Draft(b"{}", "alice"))
    bench.turn()
    assert len(bench.fatal) == 1


def test_a_save_that_finds_no_room_leaves_nothing_behind_and_is_made_later():
    bench = Bench()
    for number in range(50):
        bench.put(f"k{number}")
    bench.save()
    before = bench.disk.paths()
    for number in range(50):
        bench.put(f"k{number}", b'{"again":true}')
    full(bench, 1500)
    failed = []
    bench.saver.save().addErrback(failed.append)
    bench.turn()
    assert len(failed) == 1
    assert [path for path in bench.disk.paths() if "/cold/" in path] == [path for path in before if "/cold/" in path]
    roomy(bench)
    bench.wal.retry()
    bench.save()
    assert Bench(bench.disk).contents() == bench.contents()


def test_a_save_whose_cleaning_up_fails_is_a_save_all_the_same():
    """With little room one save is kept: were the new one given up for its folder, none would be left."""
    bench = Bench()
    bench.saver._room = DiskRoom(bench.fs, "/d", UNLIMITED_BYTES + 1)
    bench.put("k")
    bench.save()  # and the log before it goes
    bench.put("other")
    clean = bench.saver.clean

    def failing(manifest):
        sync_folder = bench.fs.sync_folder

        def fail(path):
            raise OSError(errno.EMFILE, "Too many open files")

        bench.fs.sync_folder = fail
        try:
            clean(manifest)
        finally:
            bench.fs.sync_folder = sync_folder

    bench.saver.clean = failing
    bench.save()
    again = Bench(bench.disk)
    assert again.contents() == bench.contents()
    assert again.recovered.findings == []


def test_a_slow_disk_is_asked_for_the_reserve_once():
    """It was asked for once a second, and cold saves waited behind all of that."""
    bench = Bench()
    room = DiskRoom(bench.fs, "/d", 5_000)
    asked = []

    class Slow:
        def submit(self, work, done):
            asked.append((work, done))

    assert room.wants_spare
    room.have_spare_made(Slow())
    assert not room.wants_spare
    ((work, done),) = asked
    bench.submit(work, done)
    assert not room.wants_spare
    room.give_up_spare()
    room.look()
    assert room.wants_spare


def test_the_reserve_is_given_up_where_others_fill_the_disk():
    bench = Bench()
    room = DiskRoom(bench.fs, "/d", 5_000)
    room.make_spare()
    bench.wal._room = bench.wal.segments._room = room
    bench.put("before")
    full(bench)
    room.look()
    assert room.is_low
    assert bench.wal.refusal(adds=True)
    assert not bench.wal.refusal(adds=False)
    bench.put("before", None)
    assert not bench.wal.stuck
    assert Bench(bench.disk).store.held(("t", "before")).value is None
    roomy(bench)
    room.look()
    assert not room.is_low
    assert room.wants_spare


def test_on_a_nearly_full_disk_one_save_is_kept_and_no_old_log():
    bench = Bench()
    room = DiskRoom(bench.fs, "/d", 5_000)
    bench.saver._room = room
    for number in range(4):
        bench.put("k", b'{"n":%d}' % number)
        bench.save()
    assert len([path for path in bench.disk.paths() if "manifest" in path]) == 2
    full(bench, 3_000)
    room.look()
    assert bench.saver.frees_room
    bench.save()
    assert len([path for path in bench.disk.paths() if "manifest" in path]) == 1
    assert Bench(bench.disk).contents() == {"k": b'{"n":3}'}


def test_a_save_is_due_by_the_size_of_the_log():
    bench = Bench()
    bench.saver.least_log_bytes = 20_000
    for number in range(15):
        assert bench.saver.log_bytes < bench.saver.log_limit_bytes
        bench.put("k", b'{"n":%d,"v":"%b"}' % (number, b"x" * 1200))
    bench.put("k", b'{"v":"%b"}' % (b"x" * 6000))
    assert bench.saver.log_bytes > bench.saver.log_limit_bytes
    again = Bench(bench.disk)
    assert again.saver.log_bytes >= bench.saver.log_bytes
    bench.save()
    assert bench.saver.log_bytes < 1000


def test_an_identity_is_written_on_a_full_disk():
    bench = Bench()
    file = IdentityFile(bench.fs, "/d", KEYS, lambda count: b"r" * count)
    identity = Identity(b"n" * 8, b"e" * 8, 3, 4, b"d" * 32)
    file.save(identity)
    for starts in range(4, 8):
        full(bench)
        identity.starts = starts
        file.save(identity)
        assert file.load()[0].starts == starts
