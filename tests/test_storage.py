"""Sealed files, the log, cold saves, recovery: whatever happens to a file is seen, and costs no more than it must."""

from __future__ import annotations

import os
import stat
import zlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.errors import StartError
from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot, actor_of
from dynatwist.model.record import Draft, write_over
from dynatwist.model.ring import ALL_PARTITIONS, partition_of
from dynatwist.sim.disk import SimDisk
from dynatwist.sim.mount import Mount
from dynatwist.sim.world import Process, World
from dynatwist.storage import seal, snapshot
from dynatwist.storage.durability import Durability
from dynatwist.storage.effects import Lost
from dynatwist.storage.files import RealFileSystem, replace_file
from dynatwist.storage.identity import Identity, IdentityFile
from dynatwist.storage.keyfile import change, load_or_create, parse, render
from dynatwist.storage.keyring import ClusterKeys
from dynatwist.storage.recovery import recover
from dynatwist.storage.seal import FRAME_HEADER, Sealer, UnknownFormat, open_file, seal_file
from dynatwist.storage.segment_writer import SegmentWriter
from dynatwist.storage.snapshot import ColdSaver
from dynatwist.storage.store import Store
from dynatwist.storage.wal import TOLD_A_TURN, Wal

KEY = bytes(range(32))
KEYS = ClusterKeys((b"c" * 32,), (b"s" * 32,))


def sealed(payloads: list[bytes]) -> bytes:
    sealer = Sealer(KEY, b"TEST", b"salt" * 4)
    return sealer.header + b"".join([sealer.seal(payload) for payload in payloads])


class TestSealing:
    @given(st.lists(st.binary(max_size=60), max_size=6))
    def test_what_goes_in_comes_out(self, payloads):
        opened = open_file(KEY, b"TEST", sealed(payloads))
        assert opened.intact
        assert opened.payloads == payloads

    @given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5), st.data())
    @settings(max_examples=300)
    def test_every_flipped_bit_is_seen(self, payloads, data):
        whole = bytearray(sealed(payloads))
        at = data.draw(st.integers(0, len(whole) * 8 - 1))
        whole[at // 8] ^= 1 << at % 8
        try:
            opened = open_file(KEY, b"TEST", bytes(whole))
        except UnknownFormat:
            return
        assert not opened.intact
        assert opened.payloads == payloads[: len(opened.payloads)]

    @given(st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=5), st.data())
    def test_a_cut_tail_is_torn_and_what_is_before_it_is_kept(self, payloads, data):
        whole = sealed(payloads)
        cut = data.draw(st.integers(1, len(payloads[-1]) + 15))
        opened = open_file(KEY, b"TEST", whole[:-cut])
        assert opened.torn
        assert opened.payloads == payloads[:-1]

    def test_damage_before_something_that_verifies_is_no_torn_tail(self):
        whole = bytearray(sealed([b"one", b"two", b"three"]))
        whole[len(sealed([b"one"])) + 20] ^= 1
        opened = open_file(KEY, b"TEST", bytes(whole))
        assert opened.damaged
        assert opened.payloads == [b"one"]

    def test_a_file_made_of_markers_takes_no_longer_than_its_length_allows(self):
        """Each could begin a frame that reaches to the end; to look at them all would take hours."""
        count, opened_bytes = 4000, 0
        room = [(count - number - 1) * FRAME_HEADER.size for number in range(count)]
        behind = b"".join([FRAME_HEADER.pack(b"\xd7\x9a\xfe\x01", number, room[number]) for number in range(count)])
        original = seal._open_frame

        def counting(cipher, data, offset, index):
            nonlocal opened_bytes
            opened_bytes += len(data) - offset
            return original(cipher, data, offset, index)

        whole = sealed([b"one"]) + b"?" + behind
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(seal, "_open_frame", counting)
            opened = open_file(KEY, b"TEST", whole)
        assert opened.payloads == [b"one"]
        assert opened.damaged
        assert opened_bytes < 20 * len(whole)

    def test_frames_cannot_change_places_or_files(self):
        one, two = sealed([b"aaaa", b"bbbb"]), sealed([b"aaaa"])
        first, second = one[len(sealed([])) : len(two)], one[len(two) :]
        assert open_file(KEY, b"TEST", sealed([]) + second + first).payloads == []
        other = Sealer(KEY, b"TEST", b"tlas" * 4)
        assert open_file(KEY, b"TEST", other.header + first).payloads == []
        assert open_file(b"x" * 32, b"TEST", one).payloads == []

    def test_the_newest_format_is_written_only_where_an_earlier_release_must_not_go_on(self):
        def version(*keys, **more):
            return int.from_bytes(seal_file(keys, b"TEST", b"s" * 16, b"payload", **more)[6:8])

        assert (version(KEY), version(KEY, version=6), version(KEY, b"former" * 5)) == (5, 6, 6)

    def test_each_of_several_keys_opens_what_was_sealed_while_it_was_the_first(self):
        first, second, third = (bytes([number]) * 32 for number in (1, 2, 3))
        sealed = [
            seal_file(keys, b"TEST", b"s" * 16, b"%d" % number)
            for number, keys in enumerate([(first,), (second, first), (third, second, first), (third,)])
        ]
        keys = third, second, first
        assert [open_file(keys, b"TEST", data).payloads for data in sealed] == [[b"0"], [b"1"], [b"2"], [b"3"]]
        assert not open_file((third,), b"TEST", sealed[1]).intact
        assert not open_file((third,), b"TEST", sealed[0]).intact

    def test_a_machine_that_was_resumed_twice_uses_no_nonce_twice(self, monkeypatch):
        """Both copies go on in one file, with the same randomness from the system."""
        monkeypatch.setattr(os, "urandom", bytes)
        frames = {Sealer(KEY, b"TEST", b"salt" * 4).seal(b"payload %d" % (number % 2)) for number in range(1000)}
        assert len({frame[FRAME_HEADER.size :][:12] for frame in frames}) == 1000

    def test_a_newer_format_is_refused_by_name(self):
        whole = bytearray(sealed([b"x"]))
        whole[7] = 9
        whole[28:32] = zlib.crc32(whole[:28]).to_bytes(4)
        with pytest.raises(UnknownFormat, match="version 9"):
            open_file(KEY, b"TEST", bytes(whole))


class TestKeyFile:
    def test_is_made_once_with_mode_0600_and_read_again(self, tmp_path):
        path = str(tmp_path / "deep" / "cluster.key")
        made, created = load_or_create(path)
        again, created_again = load_or_create(path)
        assert (created, created_again) == (True, False)
        assert made == again
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert repr(made) == "ClusterKeys(...)"
        assert len(made.admin_password()) == 24

    @pytest.mark.parametrize(
        "text", ["", "nonsense", "dynakv-keys 1\n", "dynakv-keys 1\ncluster AAAA\n", "dynakv-keys 2\n"]
    )
    def test_what_is_none_is_refused_in_one_line(self, text):
        with pytest.raises(StartError) as caught:
            parse(text, "/some/where")
        assert "/some/where" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_newest_secret_first(self):
        two = ClusterKeys((b"n" * 32, b"o" * 32), (b"s" * 32,))
        assert parse(render(two), "") == two

    def test_one_that_others_can_read_is_refused(self, tmp_path):
        path = tmp_path / "k"
        path.write_text(render(KEYS))
        path.chmod(0o644)
        with pytest.raises(StartError, match="chmod 600"):
            load_or_create(str(path))

    def test_one_that_was_spoilt_while_a_node_runs_is_refused_in_one_line_when_it_is_to_change(self, tmp_path):
        path = tmp_path / "k"
        load_or_create(str(path))
        spoilt = path.read_bytes() + b"\xff"
        path.write_bytes(spoilt)
        for use in (load_or_create, lambda name: change(name, lambda keys: keys.installed(b"n" * 32))):
            with pytest.raises(StartError, match="none that a key file has"):
                use(str(path))
        assert path.read_bytes() == spoilt


class TestIdentity:
    def file(self, tmp_path):
        return IdentityFile(RealFileSystem(), str(tmp_path), KEYS, os.urandom)

    def identity(self):
        return Identity(b"n" * 8, b"e" * 8, 3, 4, b"d" * 32)

    def test_either_copy_is_enough(self, tmp_path):
        self.file(tmp_path).save(self.identity())
        for name in ("identity-a", "identity-b"):
            path = tmp_path / name
            whole = path.read_bytes()
            path.write_bytes(whole[:-10])
            found, findings = self.file(tmp_path).load()
            assert found is not None
            assert found.node_id == b"n" * 8
            assert len(findings) == 1
            path.write_bytes(whole)

    def test_the_newer_copy_counts(self, tmp_path):
        file, identity = self.file(tmp_path), self.identity()
        file.save(identity)
        old = (tmp_path / "identity-b").read_bytes()
        identity.starts = 9
        file.save(identity)
        (tmp_path / "identity-b").write_bytes(old)
        assert self.file(tmp_path).load()[0].starts == 9

    def test_another_key_file_is_told(self, tmp_path):
        self.file(tmp_path).save(self.identity())
        other = IdentityFile(RealFileSystem(), str(tmp_path), ClusterKeys((b"c" * 32,), (b"x" * 32,)), os.urandom)
        with pytest.raises(StartError, match="--key-file"):
            other.load()


class Bench:
    """A store on a simulated disk, with a writer that works at once."""

    def __init__(self, disk=None, durability=Durability.FSYNC, epoch=b"e" * 8):
        self.disk = disk or SimDisk(Random(1))
        self.fs = Mount(self.disk, Process(World(1), "bench"))
        self.announced = []
        self.later = []
        self.fatal = []
        recovered = self.recovered = recover(self.fs, "/d", KEY, disk is not None)
        segments = SegmentWriter(
            fs=self.fs,
            folder="/d/wal",
            data_keys=KEY,
            randbytes=Random(b"2" + epoch).randbytes,
            previous=recovered.last_segment,
            previous_salt=recovered.last_salt,
        )
        self.wal = Wal(
            segments=segments,
            writer=self,
            durability=durability,
            number=recovered.next_segment,
            wall_ms=lambda: 1000,
            at_turn_end=self.later.append,
            later=self.later.append,
            fatal=self.fatal.append,
        )
        self.store = Store(recovered=recovered, wal=self.wal, actor=actor_of(b"n" * 8, epoch), wall_ms=lambda: 1000)
        self.store.announce_to(
            lambda won: self.announced.append((won.key, won.record.value)),
            lambda key, record, packed: self.announced.append((key, "over")),
        )
        self.saver = ColdSaver(
            store=self.store,
            fs=self.fs,
            folder="/d",
            data_keys=KEY,
            writer=self,
            randbytes=Random(b"3" + epoch).randbytes,
            later=self.after,
            recovered=recovered,
        )

    def after(self, delay_s, call):
        self.later.append(call)

    def submit(self, work, done):
        try:
            work()
        except OSError as error:
            done(error)
        else:
            done(None)

    def stop(self):
        pass

    def turn(self):
        while self.later:
            self.later.pop(0)()

    def put(self, name, value=b"{}"):
        record = self.store.write(("t", name), Draft(value, "alice"))
        self.turn()
        return record

    def save(self):
        saved = self.saver.save()
        self.turn()
        assert saved.called

    def contents(self):
        return {key[1]: record.value for replica in self.store.replicas for key, record in replica.records.items()}


class TestStore:
    def test_nothing_is_announced_before_it_is_durable(self):
        bench = Bench()
        bench.store.write(("t", "k"), Draft(b"{}", "alice"))
        assert bench.announced == []
        readable = []
        bench.store.readable.when_key(("t", "k"), lambda: readable.append(1))
        assert readable == []
        bench.turn()
        assert bench.announced == [(("t", "k"), b"{}")]
        assert readable == [1]

    def test_those_who_wait_for_a_group_go_on_in_several_turns_and_in_their_order(self):
        bench = Bench()
        bench.store.write(("t", "k"), Draft(b"{}", "alice"))
        count, order = 2 * TOLD_A_TURN + 1, []
        for number in range(count):
            bench.wal.when_durable(bench.wal.lsn, lambda number=number: order.append(number))
        bench.later.pop(0)()
        assert order == list(range(TOLD_A_TURN))
        bench.wal.when_durable(bench.wal.lsn, lambda: order.append(count))
        assert order == list(range(TOLD_A_TURN)), "nobody overtakes those who wait"
        bench.turn()
        assert order == list(range(count + 1))

    def test_one_group_takes_all_that_gathered(self):
        bench = Bench()
        for number in range(50):
            bench.store.write(("t", f"k{number}"), Draft(b"{}", "alice"))
        bench.turn()
        assert bench.wal.segments.groups == 1
        assert len(bench.announced) == 50

    @pytest.mark.parametrize("durability", list(Durability))
    def test_a_kill_loses_nothing_in_any_mode(self, durability):
        bench = Bench(durability=durability)
        bench.put("k", b'{"n":1}')
        bench.disk.survive_kill()
        assert Bench(bench.disk).contents() == {"k": b'{"n":1}'}

    def test_power_loss_loses_nothing_with_fsync(self):
        bench = Bench()
        for number in range(30):
            bench.put(f"k{number}")
        bench.disk.lose_power()
        assert len(Bench(bench.disk).contents()) == 30

    def test_a_failed_sync_is_fatal(self):
        bench = Bench()
        bench.put("k")

        def fail(data):
            raise OSError(5, "Input/output error")

        bench.wal.segments._file.write = fail
        bench.store.write(("t", "other"), Draft(b"{}", "alice"))
        bench.turn()
        assert len(bench.fatal) == 1
        assert bench.announced == [(("t", "k"), b"{}")]

    def test_counts_and_listing(self):
        bench = Bench()
        for name in ("b", "a", "ab", "ü"):
            bench.put(name)
        bench.put("b", None)
        assert bench.store.live.page() == {"t": 3}
        assert list(bench.store.keys("t")) == ["a", "ab", "b", "ü"]
        assert list(bench.store.keys("t", "a")) == ["a", "ab"]
        assert list(bench.store.keys("t", "", "ab")) == ["b", "ü"]
        assert list(bench.store.keys("t", "a", "a")) == ["ab"]


class TestRecovery:
    def test_cold_save_and_log_together_are_the_live_state(self):
        bench = Bench()
        for number in range(40):
            bench.put(f"k{number}")
        bench.save()
        for number in range(20, 60):
            bench.put(f"k{number}", b'{"again":true}')
        bench.put("k3", None)
        again = Bench(bench.disk)
        assert again.contents() == bench.contents()
        for mine, theirs in zip(bench.store.replicas, again.store.replicas, strict=True):
            assert mine.clock == theirs.clock
            assert mine.digests.root == theirs.digests.root
        assert again.recovered.findings == []

    def test_what_lost_during_a_save_does_not_come_back(self, monkeypatch):
        """(Found by the simulator.) A late write loses against a tombstone, which is collected before the save comes to
        its key. The save has neither, and the log must not bring the write back."""
        bench = Bench()
        bench.saver.slice_records = 1
        first, key = [("t", f"k{number}") for number in range(9000) if partition_of("t", f"k{number}") == 3][:2]
        actor = b"z" * 16
        late = write_over(None, (), 0, Draft(b"{}", "alice"), Dot(actor, 1), Stamp(5, 0, actor), 0)
        tombstone = write_over(late, (), 0, Draft(None, "alice"), Dot(actor, 2), Stamp(6, 0, actor), 0)
        bench.store.write(first, Draft(b"{}", "alice"))
        bench.store.merge(key, tombstone)
        bench.turn()
        add = snapshot._Save._add

        def meanwhile(save, part):
            if any(item.key == first for item in part.items):
                assert isinstance(bench.store.merge(key, late), Lost)
                bench.store.drop(3, [(key, tombstone.dot)], 1)
            return add(save, part)

        monkeypatch.setattr(snapshot._Save, "_add", meanwhile)
        bench.save()
        assert bench.store.held(key) is None
        again = Bench(bench.disk, epoch=b"g" * 8)
        assert again.store.held(key) is None
        assert again.store.replicas[3].clock.covers(late.dot)

    def test_a_cold_save_rewrites_only_what_changed(self):
        bench = Bench()
        for number in range(300):
            bench.put(f"k{number}")
        bench.save()
        first = {path for path in bench.disk.paths() if "storage.db" in path}
        bench.put("k1")
        bench.save()
        second = {path for path in bench.disk.paths() if "storage.db" in path} - first
        assert first <= set(bench.disk.paths())
        assert sum(len(bench.fs.read(path)) for path in second) < sum(len(bench.fs.read(path)) for path in first) / 20

    def test_old_generations_and_segments_go(self):
        bench = Bench()
        for number in range(6):
            bench.put("k", b'{"n":%d}' % number)
            bench.save()
        assert len([path for path in bench.disk.paths() if "manifest" in path]) == 2
        assert len([path for path in bench.disk.paths() if path.endswith(".wal")]) <= 3
        assert Bench(bench.disk).contents() == {"k": b'{"n":5}'}

    @given(st.integers(0, 10**6), st.integers(1, 3), st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_damage_is_found_and_never_stops_the_start(self, seed, bits, cut):
        random = Random(seed)
        bench = Bench()
        for number in range(30):
            bench.put(f"k{number}")
            if number in (10, 20):
                bench.save()
        path = random.choice(bench.disk.paths())
        if cut:
            del bench.disk._names[path].data[-10:]
        else:
            bench.disk.damage(path, bits)
        again = Bench(bench.disk)
        held = again.contents()
        aside = {key[1] for replica in again.store.replicas for key in replica.aside}
        used = "000000000001" not in path or "manifest" not in path
        if set(held) != {f"k{number}" for number in range(30)} or (used and ".wal" in path and aside):
            assert again.recovered.findings
        for replica in again.store.replicas:
            assert replica.whole == (replica.number not in again.recovered.damaged)

    def test_a_torn_tail_is_cut_and_told_and_nothing_else_is_lost(self):
        bench = Bench()
        for number in range(5):
            bench.put(f"k{number}")
        path = next(path for path in bench.disk.paths() if path.endswith(".wal"))
        del bench.disk._names[path].data[-10:]
        again = Bench(bench.disk)
        assert set(again.contents()) == {f"k{number}" for number in range(4)}
        assert "cut" in again.recovered.findings[0]
        assert all(replica.whole for replica in again.store.replicas)
        again.put("later")
        third = Bench(again.disk)
        assert third.recovered.findings == []
        assert "later" in third.contents()

    def test_regression_a_segment_without_a_first_frame_is_no_damage_at_the_second_start(self):
        """Found by seed 244: the disk was full when a segment was begun. The start after that one took the empty file
        between two others for a log cut short, and set every partition aside."""
        bench = Bench()
        bench.put("k")
        bench.disk.create("/d/wal/000000000002.wal")
        again = Bench(bench.disk)
        again.put("later")
        third = Bench(bench.disk)
        assert third.recovered.findings == []
        assert set(third.contents()) == {"k", "later"}

    def test_regression_a_manifest_waits_for_the_segment_that_it_names(self):
        """Found by seed 190: a cold save with nothing in the log's hands wrote its manifest before the segment that
        the manifest names was there; after a crash in between the log's beginning seemed to be missing."""
        bench = Bench()
        bench.put("k")
        bench.saver.save()
        bench.store.wal._busy = True  # the log's thread is slow
        bench.turn()
        assert Bench(bench.disk.twin(power_lost=True)).recovered.findings == []

    def test_regression_what_a_killed_process_had_written_is_synced_before_it_is_shown(self):
        """Found by seed 101: kill -9 between write and fsync, a start that read what was written, a power cut."""
        bench = Bench(durability=Durability.NONE)
        bench.put("k")
        bench.disk.survive_kill()
        again = Bench(bench.disk)
        assert "k" in again.contents()
        assert "k" in Bench(bench.disk.twin(power_lost=True)).contents()

    def test_a_missing_log_sets_everything_aside(self):
        bench = Bench()
        bench.put("k")
        for path in bench.disk.paths():
            bench.disk.remove(path)
        again = Bench(bench.disk)
        assert len(again.recovered.damaged) == ALL_PARTITIONS
        assert again.recovered.findings

    def test_a_burnt_dot_leaves_no_gap(self):
        bench = Bench()
        dot = bench.store.burn_dot(256)
        bench.turn()
        assert isinstance(dot, Dot)
        assert Bench(bench.disk).store.replicas[256].clock.covers(dot)


def test_replacing_a_file_is_whole_or_not_at_all():
    for crash_at in range(1, 4):
        disk = SimDisk(Random(crash_at))
        replace_file(Mount(disk, Process(World(1), "old")), "/d", "f", b"old")
        disk.crash_after = crash_at
        with pytest.raises(BaseException, match=r"fsync|rename"):
            replace_file(Mount(disk, Process(World(1), "new")), "/d", "f", b"new contents")
        disk.lose_power()
        assert Mount(disk, Process(World(1), "look")).read("/d/f") in (b"old", b"new contents")


def test_regression_a_flipped_version_is_damage_and_not_a_newer_program():
    """Found by seed 7: bits of a header were flipped, and the node refused to start for ever."""
    whole = bytearray(seal_file(KEY, b"TEST", b"s" * 16, b"payload"))
    whole[6] ^= 0x40
    whole[-1] ^= 1
    assert open_file(KEY, b"TEST", bytes(whole)).damaged


def test_a_sealed_file_of_one_frame():
    assert open_file(KEY, b"TEST", seal_file(KEY, b"TEST", b"s" * 16, b"payload")).payloads == [b"payload"]
