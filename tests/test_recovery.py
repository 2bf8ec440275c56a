"""Starts on disks that lost something, or hold what is not ours: what was found, and what comes of it later."""

from __future__ import annotations

import os
from contextlib import suppress
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.msgpack import encode

from dynatwist.model.record import Draft, beats
from dynatwist.model.records import pack
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.disk import UNLIMITED_BYTES, SimDisk
from dynatwist.sim.mount import Mount
from dynatwist.sim.world import Killed, Process, World
from dynatwist.storage.cold import ColdFolder
from dynatwist.storage.durability import Durability
from dynatwist.storage.entries import Group, SegmentStart
from dynatwist.storage.files import RealFileSystem
from dynatwist.storage.identity import COPIES, Identity, IdentityFile
from dynatwist.storage.recovery import recover, scrub
from dynatwist.storage.seal import Sealer, UnknownFormat
from dynatwist.storage.segment import KIND, LEAP, MAX_START_BYTES, segment_name
from dynatwist.storage.write_clock import WriteClock
from tests.planted import disk as planted

from .test_storage import KEY, KEYS, Bench


def mended(bench):
    """What a node does that found damage: fetch all from others, then go on."""
    for replica in bench.store.replicas:
        if not replica.whole:
            bench.store.become_whole(replica.number)
    bench.turn()


def segments(bench):
    return [path for path in bench.disk.paths() if path.endswith(".wal")]


def filled():
    bench = Bench()
    for number in range(5):
        bench.put(f"k{number}")
    bench.save()
    bench.put("x")
    bench.save()
    bench.put("y")
    bench.put("z")
    return bench


@pytest.mark.parametrize("crash_at", range(1, 7))
def test_no_power_cut_takes_back_how_far_a_start_found_the_log(crash_at):
    """Peers are told, and would take the data folder for an old backup; the process before may have died anywhere."""
    bench = filled()
    bench.disk.crash_after = crash_at
    with suppress(Killed):
        dying = Bench(bench.disk, epoch=b"f" * 8)
        dying.put("last")
    bench.disk.survive_kill()
    told = Bench(bench.disk, epoch=b"g" * 8).wal.recovered
    bench.disk.lose_power()
    assert Bench(bench.disk, epoch=b"h" * 8).wal.recovered >= told


def test_a_name_that_is_not_durable_is_seen(monkeypatch):
    planted.the_name_of_the_last_segment_is_not_durable(monkeypatch)
    with pytest.raises(AssertionError):
        test_no_power_cut_takes_back_how_far_a_start_found_the_log(2)


class TestDamageThatWasMended:
    """The damaged file lies there until cold saves replace it; only what it concerned is set aside, once."""

    @pytest.mark.parametrize(
        "harm", ["flip", "unreadable", "lost log", "lost segment", "lost chunk", "unreadable chunk"]
    )
    def test_a_second_start_keeps_what_was_acknowledged_since(self, harm):
        bench = filled()
        log = segments(bench)
        chunk = next(path for path in bench.disk.paths() if "storage.db" in path)
        if harm == "flip":
            bench.put("behind")
            bench.disk._names[log[-1]].data[-250] ^= 1
        elif harm == "unreadable":
            bench.disk.lose_sector(log[-1])
        elif harm == "lost log":
            bench.disk.lose_log()
        elif harm == "lost segment":
            bench = Bench(bench.disk, epoch=b"2" * 8)
            bench.put("more")
            bench.disk.lose(log[-1])
        elif harm == "lost chunk":
            bench.disk.lose(chunk)
        else:
            bench.disk.lose_sector(chunk)
        second = Bench(bench.disk, epoch=b"f" * 8)
        assert second.recovered.damaged
        assert second.recovered.findings
        mended(second)
        second.put("acknowledged")
        third = Bench(second.disk, epoch=b"g" * 8)
        assert not third.recovered.damaged
        assert all(replica.whole for replica in third.store.replicas)
        assert third.contents() == second.contents()
        assert "acknowledged" in third.contents()

    def test_two_segments_without_a_beginning_are_none_that_a_crash_left(self):
        """A start removes the one that a crash left; what the other one had was acknowledged."""
        bench = filled()
        last = segments(bench)[-1]
        bench.disk.cut(last, 0)
        bench.disk.put(f"/d/wal/{segment_name(int(last[-16:-4]) + 1)}", b"", False)
        second = Bench(bench.disk, epoch=b"f" * 8)
        assert len(second.recovered.damaged) == len(second.store.replicas)
        assert any("has lost its beginning" in finding for finding in second.recovered.findings)

    def test_damage_behind_an_earlier_one_counts(self):
        bench = filled()
        bench.disk.lose_log()
        second = Bench(bench.disk, epoch=b"f" * 8)
        mended(second)
        for name in ("one", "two", "three"):
            second.put(name)
        path = segments(second)[-1]
        second.disk._names[path].data[-250] ^= 1
        third = Bench(second.disk, epoch=b"g" * 8)
        assert len(third.recovered.damaged) == len(third.store.replicas)

    def test_votes_are_found_behind_what_mended_the_systems_partition(self):
        """(Found by the simulator's autopsies.) All partitions had been set aside and mended, so a loss before that
        concerned none of them any more; and the votes, logged before, were gone without a word."""
        bench = Bench()
        bench.store.set_meta("vote a name", b"promised")
        bench.turn()
        bench.wal.rotate()
        bench.turn()
        for replica in bench.store.replicas:
            bench.store.cease_whole(replica.number)
        mended(bench)
        bench.disk.lose(segments(bench)[0])
        second = Bench(bench.disk, epoch=b"f" * 8)
        assert not second.recovered.damaged
        assert second.store.meta == {"vote a name": b"promised"}


class TestOlderFiles:
    """Somebody copies an older file over a newer one. It verifies, since this node had written it."""

    def chunks(self, bench):
        return [path for path in bench.disk.paths() if "storage.db" in path]

    def changed_secret(self):
        """A record is written, saved, changed, and saved again: its older chunk is what an old secret is in."""
        bench = Bench()
        bench.put("user", b'{"secret":"old"}')
        bench.save()
        old = self.chunks(bench)[-1]
        bench.put("user", b'{"secret":"new"}')
        bench.save()
        return bench, old, self.chunks(bench)[-1]

    def test_an_older_chunk_is_not_taken_for_a_newer_one(self, monkeypatch):
        bench, old, new = self.changed_secret()
        bench.disk.replace(old, new)
        again = Bench(bench.disk, epoch=b"f" * 8)
        assert "user" not in again.contents()
        assert f"{new[3:]} is not the file that the manifest names; 1 partitions are fetched from other owners" in (
            again.recovered.findings
        )
        planted.a_chunk_is_whatever_has_its_name(monkeypatch)
        assert Bench(bench.disk, epoch=b"g" * 8).contents()["user"] == b'{"secret":"old"}'

    def test_a_chunk_that_a_later_save_goes_on_using_keeps_its_name(self):
        bench = Bench()
        for number in range(20):
            bench.put(f"k{number}")
        bench.save()
        chunk = self.chunks(bench)[0]
        for _ in range(3):
            bench = Bench(bench.disk, epoch=os.urandom(8))
            bench.put("k1")
            bench.save()
        assert chunk in self.chunks(bench)
        assert bench.saver.newest.salts.keys() == bench.saver.newest.chunks
        bench.disk.replace(self.chunks(bench)[-1], chunk)
        assert Bench(bench.disk, epoch=b"f" * 8).recovered.damaged

    @pytest.mark.parametrize("sort", ["newest", "first needed", "in the middle"])
    def test_an_older_segment_is_not_taken_for_a_newer_one(self, monkeypatch, sort):
        bench = filled()
        for epoch in (b"2", b"3", b"4"):
            bench = Bench(bench.disk, epoch=epoch * 8)
            bench.put("more")
        old, first, middle, newest = (segments(bench)[at] for at in (0, -4, -2, -1))
        bench.disk.replace(old, {"newest": newest, "first needed": first, "in the middle": middle}[sort])
        again = Bench(bench.disk.twin(power_lost=False), epoch=b"f" * 8)
        assert len(again.recovered.damaged) == len(again.store.replicas)
        assert any("is another file than it was" in finding for finding in again.recovered.findings)
        if sort == "newest":
            planted.a_segment_is_whatever_has_its_name(monkeypatch)
            findings = Bench(bench.disk, epoch=b"g" * 8).recovered.findings
            assert not any("is another file" in finding for finding in findings)

    def test_a_segment_of_a_backup_is_not_taken_for_one_of_the_same_number(self):
        """A node was restored from a backup, and went on: its log forked."""
        bench = filled()
        image = bench.disk.image()
        fork = Bench(bench.disk, epoch=b"2" * 8)
        fork.put("forked")
        name, old = segments(fork)[-1], fork.disk.twin(power_lost=False)
        bench.disk.restore(image)
        bench = Bench(bench.disk, epoch=b"3" * 8)
        bench.put("others")
        assert segments(bench)[-1] == name
        for number in range(2):
            bench.wal.rotate()
            bench.put(f"later {number}")
        assert len(old.file_data(name)) == len(bench.disk.file_data(name))
        bench.disk.put("/d/fork", bytes(old.file_data(name)), True)
        bench.disk.replace("/d/fork", name)
        again = Bench(bench.disk, epoch=b"4" * 8)
        assert len(again.recovered.damaged) == len(again.store.replicas)
        assert f"{name[3:]} is not the file that the next segment names" in again.recovered.findings[0]

    def test_an_older_manifest_under_the_newest_name_is_not_taken(self, monkeypatch):
        bench, _, _ = self.changed_secret()
        older, newest = (path for path in bench.disk.paths() if "manifest" in path)
        bench.disk.replace(older, newest)
        again = Bench(bench.disk.twin(power_lost=False), epoch=b"f" * 8)
        assert again.contents()["user"] == b'{"secret":"new"}'
        assert again.recovered.findings == [
            "cold/manifest-000000000002 is another save's, under this name; the one before it and the log are used"
        ]
        planted.a_manifest_is_whatever_has_its_name(monkeypatch)
        assert Bench(bench.disk, epoch=b"g" * 8).recovered.findings == []

    def test_a_scrub_tells_of_older_files_that_a_start_does_not_need(self):
        bench, old, new = self.changed_secret()
        bench.disk.replace(new, old)
        found = recover(bench.fs, "/d", KEY, True)
        assert found.findings == []
        assert scrub(bench.fs, "/d", KEY, found) == [
            f"{old[3:]} is another file than it was; it was not needed, and the next cold saves replace it"
        ]

    def test_what_a_start_found_damaged_and_mended_stays_mended(self):
        bench, old, new = self.changed_secret()
        bench.disk.replace(old, new)
        second = Bench(bench.disk, epoch=b"f" * 8)
        mended(second)
        second.put("acknowledged")
        third = Bench(second.disk, epoch=b"g" * 8)
        assert not third.recovered.damaged
        assert "acknowledged" in third.contents()


@given(
    st.integers(0, 1 << 32), st.lists(st.sampled_from(["replaced", "cut", "lost", "garbage"]), min_size=1, max_size=3)
)
@settings(max_examples=80, deadline=None)
def test_whatever_lies_in_the_folder_a_start_has_what_was_held_or_says_what_it_misses(seed, harms):
    random = Random(seed)
    bench = filled()
    bench = Bench(bench.disk, epoch=b"2" * 8)
    bench.put("k1", b'{"again":1}')
    short: set[str] = set()  # as a crash may leave the log's last segment, which nobody can tell from damage
    for harm in harms:
        path = random.choice([one for one in bench.disk.paths() if one != segments(bench)[-1] or harm == "replaced"])
        if harm == "replaced":
            whole = [one for one in bench.disk.paths() if one not in short]
            bench.disk.replace(random.choice(whole), path)
        elif harm == "cut":
            bench.disk.cut(path, random.randrange(len(bench.disk.file_data(path))))
        elif harm == "lost":
            bench.disk.lose(path)
        else:
            bench.disk.create(path).data = bytearray(random.randbytes(random.randrange(300)))
        short = short - {path} if harm == "replaced" else short | {path}
        if not set(bench.disk.paths()) - short or not segments(bench):
            return
    again = Bench(bench.disk, epoch=b"3" * 8)
    scrub(bench.fs, "/d", KEY, again.recovered)
    damaged = again.recovered.damaged
    assert not damaged or again.recovered.findings
    for mine, theirs in zip(bench.store.replicas, again.recovered.state.replicas, strict=True):
        assert mine.number in damaged or (mine.records == theirs.records and mine.clock == theirs.clock)


def test_the_shortest_log_that_was_synced_is_longer_than_any_first_frame():
    """What is as short as a first frame may be one that a crash cut short, and nobody was told of anything in it."""
    longest = SegmentStart(10**12 - 2, (1 << 63) - 1, b"s" * 16, 10**12 - 1, (1 << 32) - 1)
    for start, group in ((longest, None), (SegmentStart(0, 0), Group(0, []))):
        sealer = Sealer(KEY, KIND, b"s" * 16)
        size_bytes = len(sealer.header + sealer.seal(encode(start)) + (sealer.seal(encode(group)) if group else b""))
        assert (size_bytes > MAX_START_BYTES) == bool(group)


def test_numbers_of_lost_segments_are_not_used_again():
    bench = filled()
    before = bench.wal._next.number
    bench.disk.lose_log()
    second = Bench(bench.disk, epoch=b"f" * 8)
    assert second.wal._next.number >= before + LEAP - 1
    second.put("a")
    assert second.wal.position > (before + 1, 1 << 30)


def test_a_generation_whose_manifest_was_lost_is_not_used_again():
    bench = filled()
    newest = max(path for path in bench.disk.paths() if "manifest" in path)
    bench.disk.lose(newest)
    assert Bench(bench.disk).recovered.next_generation == 3


def test_no_two_lives_leap_to_the_same_numbers():
    """Simulator, seed 700068: a backup from before a leap was put back, and leapt to where the log had been already."""
    one, other = filled(), filled()
    one.wal.leap(3)
    for _ in range(5):
        one.wal.rotate()
        one.put("a")
    other.wal.leap(5)
    assert other.wal._next.number > one.wal._next.number + LEAP


def test_a_log_that_peers_remember_better_leaps_too():
    bench = filled()
    before = bench.wal._next.number
    bench.wal.leap(2)
    bench.put("a")
    assert bench.wal.position[0] == max(before, 2 * LEAP) + LEAP + 1
    assert Bench(bench.disk).recovered.findings == []


def test_either_identity_file_is_enough_when_the_other_cannot_be_read():
    disk = SimDisk(Random(5))
    fs = Mount(disk, Process(World(1), "node"))
    file = IdentityFile(fs, "/d", KEYS, os.urandom)
    file.save(Identity(b"n" * 8, b"e" * 8, 3, 4, b"d" * 32))
    disk.lose_sector("/d/identity-a")
    identity, findings = file.load()
    assert identity is not None
    assert findings == ["identity-a cannot be read; its twin is used and it is written anew"]


def test_an_identity_that_is_older_than_the_log_takes_registry_and_starts_from_it():
    world = World(4)
    cluster = SimCluster(world, 3)
    for node in cluster.nodes:
        node.start()
    assert world.run_until(cluster.is_settled, 60)
    node, other = cluster.nodes[:2]
    folder = node.core.config.actual_data_dir
    kept = {name: bytes(node.disk.file_data(f"{folder}/{name}")) for name in COPIES}
    before = node.core.cluster.version
    node.process.run(node.core.registrar.forget, cluster.nodes[2].core.identity.node_id)
    assert world.run_until(lambda: not node.core.cluster.registry.changing and node.core.cluster.version > before, 60)
    node.kill()
    node.start()
    assert world.run_until(lambda: node.core is not None and node.core.cluster.standing.is_ready, 60)
    version, starts = node.core.cluster.version, node.core.identity.starts
    node.kill()
    for name, data in kept.items():
        node.disk.lose(f"{folder}/{name}")
        node.disk.put(f"{folder}/{name}", data, False)
    node.start()
    assert node.core.cluster.version == version
    assert node.core.identity.starts > starts
    assert any("older than the log" in finding for finding in node.core.folder.findings)
    assert world.run_until(lambda: node.core.cluster.standing.is_ready, 60)
    assert not node.core.cluster.standing.not_whole()
    assert other.core.cluster.peers.is_reachable(node.core.identity.node_id)


def test_entries_of_another_release_are_refused_by_name():
    bench = Bench()
    sealer = Sealer(KEY, KIND, b"s" * 16)
    group = encode(Group(1, []))
    strange = encode([2, 1, [[99, "what is this"]]])
    file = bench.fs.create("/d/wal/000000000001.wal")
    file.write(sealer.header + b"".join(map(sealer.seal, (encode(SegmentStart(0, 0)), group, strange))))
    with pytest.raises(UnknownFormat, match="does not know"):
        recover(bench.fs, "/d", KEY, True)


def test_a_scrub_tells_what_cannot_be_read():
    bench = filled()
    bench.disk.lose_sector("/d/cold/manifest-000000000001")
    found = recover(bench.fs, "/d", KEY, True)
    assert found.findings == []
    assert scrub(bench.fs, "/d", KEY, found) == [
        "cold/manifest-000000000001 cannot be read; it was not needed, and the next cold saves replace it"
    ]


def test_saves_leave_alone_what_is_not_ours_and_remove_what_crashes_left(tmp_path):
    bench = Bench()
    fs = RealFileSystem()
    folder = tmp_path / "d"
    for name in ("wal", "cold", "cold/000000000001", "cold/lost+found", "cold/000000000009"):
        (folder / name).mkdir(parents=True)
    ours = [
        "cold/manifest-000000000004.new",
        "cold/000000000001/0000.storage.db.new",
        "cold/000000000001/0007.storage.db",
    ]
    foreign = ["cold/manifest-000000000001.bak", "cold/readme", "cold/lost+found/x", "cold/000000000007", "wal/old.wal"]
    for name in ours + foreign:
        (folder / name).write_text("something")
    bench.saver._cold = ColdFolder(fs, f"{folder}/cold", KEY)
    bench.wal.segments._fs, bench.wal.segments._folder = fs, f"{folder}/wal"
    for number in range(4):
        bench.put("k", b'{"n":%d}' % number)
        bench.save()
    assert bench.saver.failures == 0
    assert [name for name in foreign if not (folder / name).exists()] == []
    assert [name for name in ours if (folder / name).exists()] == []
    assert not (folder / "cold/000000000009").exists()
    assert len(list((folder / "wal").glob("0*.wal"))) <= 3


class TestWhatAStartMayForget:
    """Planted defects that no history shows (``MASKED`` in test_planted): another rule makes up for what is missing."""

    def test_hints_only_hasten_what_rounds_do_anyway(self):
        world = World(1)
        cluster = SimCluster(world, 3)
        for node in cluster.nodes:
            node.start()
        assert world.run_until(cluster.is_settled, 60)
        away, here, _ = cluster.nodes
        away.kill()
        world.run(world.now_s + 1)
        here.process.run(here.core.store.write, ("t", "k"), Draft(b"{}", "alice"))
        world.run(world.now_s + 1)
        for core in cluster.cores():
            for node_id in core.store.hints.all():
                core.store.unhint(node_id, [])
        away.start()
        assert world.run_until(lambda: away.core is not None and away.core.store.held(("t", "k")) is not None, 60)

    def test_what_is_written_over_a_record_goes_beyond_its_stamp_whatever_the_mark_was(self):
        bench = Bench()
        ahead = bench.store.write(("t", "k"), Draft(b"{}", "alice"), after_ms=1_000_000)
        bench.turn()
        again = Bench(bench.disk)
        again.store.clock = WriteClock(again.store.actor, again.store.wall_ms, again.store.state)
        assert again.put("other").stamp < ahead.stamp
        assert again.put("k").stamp > ahead.stamp

    def test_either_copy_of_an_identity_will_do_wherever_a_crash_comes(self):
        """Nobody is told of anything before both are written, so the older one forgets nothing that was told."""
        for crash_at in range(1, 7):
            disk = SimDisk(Random(crash_at))
            before, after = (Identity(b"n" * 8, epoch * 8, 3, 4, b"d" * 32) for epoch in (b"1", b"2"))
            IdentityFile(Mount(disk, Process(World(1), "old")), "/d", KEYS, os.urandom).save(before)
            disk.crash_after = crash_at
            with pytest.raises(BaseException, match=r"fsync|rename"):
                IdentityFile(Mount(disk, Process(World(1), "new")), "/d", KEYS, os.urandom).save(after)
            disk.lose_power()
            for lost in COPIES:
                twin = disk.twin(power_lost=False)
                twin.lose(f"/d/{lost}")
                found, _ = IdentityFile(Mount(twin, Process(World(1), "look")), "/d", KEYS, os.urandom).load()
                assert found is not None
                assert found.epoch in (before.epoch, after.epoch)

    def test_a_missing_segment_leaves_one_of_another_length_before_the_next(self, monkeypatch):
        planted.a_missing_segment_is_not_noticed(monkeypatch)
        bench = filled()
        for epoch in (b"2", b"3"):
            bench = Bench(bench.disk, epoch=epoch * 8)
            bench.put("more" * epoch[0])
        bench.disk.lose(segments(bench)[-2])
        assert Bench(bench.disk, epoch=b"4" * 8).recovered.damaged

    def test_what_else_a_writer_had_seen_decides_nothing(self):
        bench = Bench()
        first, second = bench.put("k", b"1"), bench.put("k", b"2")
        ignorant = msgspec.structs.replace(second, vv=())
        assert beats(second, first) == beats(ignorant, first)
        assert beats(first, second) == beats(first, ignorant)


def kept_after_a_save_that_failed() -> bool:
    """A save fails, two more are made, the second of which cuts the log; then a start."""
    bench = Bench()
    bench.save()
    bench.put("k")
    bench.disk.capacity_bytes = bench.disk.used_bytes
    failed = []
    bench.saver.save().addErrback(failed.append)
    bench.turn()
    assert failed
    bench.disk.capacity_bytes = UNLIMITED_BYTES
    bench.wal.retry()
    for name in ("a", "b", "c"):
        bench.put(name)
        bench.save()
    return "k" in Bench(bench.disk).contents()


def test_what_a_failed_save_was_to_have_is_in_the_next_one(monkeypatch):
    assert kept_after_a_save_that_failed()
    planted.a_save_that_failed_counts_as_done(monkeypatch)
    assert not kept_after_a_save_that_failed()


def starts_well_after_a_kill_and_a_power_cut() -> bool:
    """A process is killed between a write and its sync, the next one shows what was written, then the power fails."""
    bench = Bench(durability=Durability.NONE)
    bench.put("k")
    second = Bench(bench.disk, epoch=b"f" * 8)
    second.put("other")
    return not Bench(second.disk.twin(power_lost=True)).recovered.damaged


def test_what_a_start_has_read_is_durable(monkeypatch):
    assert starts_well_after_a_kill_and_a_power_cut()
    planted.what_a_torn_log_has_is_not_synced(monkeypatch)
    assert not starts_well_after_a_kill_and_a_power_cut()


def starts_well_after_a_segment_that_was_never_written() -> bool:
    """A crash came before the first sync of a segment; two more starts."""
    bench = filled()
    bench.disk.put(f"/d/wal/{bench.wal._next.number + 1:012d}.wal", b"DYNAKV", False)
    second = Bench(bench.disk, epoch=b"2" * 8)
    second.put("more")
    return not second.recovered.damaged and not Bench(bench.disk, epoch=b"3" * 8).recovered.damaged


def test_a_segment_that_was_never_written_is_no_damage(monkeypatch):
    assert starts_well_after_a_segment_that_was_never_written()
    planted.a_segment_that_was_never_written_stays(monkeypatch)
    assert not starts_well_after_a_segment_that_was_never_written()


def test_what_is_set_aside_twice_keeps_the_greater():
    """Simulator, seed 900067: a tombstone was set aside after damage, an older record fetched, and a cold save made of
    both; the log was replayed over it, set that one aside too, and the tombstone was gone."""
    bench = Bench()
    bench.put("a")
    bench.put("b")
    older = {name: bench.store.held(("t", name)) for name in "ab"}
    bench.put("a", None)
    replica = bench.store.replica_of(("t", "a"))
    newer = replica.records[("t", "a")]
    replica.set_aside()
    replica.take(("t", "a"), older["a"], pack(older["a"]))
    replica.set_aside()
    assert replica.aside[("t", "a")] == newer
    replica.take(("t", "a"), newer, pack(newer))
    replica.set_aside()
    assert replica.aside[("t", "a")] == newer
