"""A data folder is sealed anew while it is written to, and the machine dies behind any step of its disk.

What is looked at: every write that was acknowledged is there after the next start, with no damage; in the end no file
names an old key, and the old secret is gone from the key file, which lies on the same disk here.
"""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dynatwist.model.record import Draft
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.disk import SimDisk
from dynatwist.sim.mount import Mount
from dynatwist.sim.world import Killed, World
from dynatwist.storage.files import RealFileSystem, replace_file
from dynatwist.storage.identity import Identity, IdentityFile
from dynatwist.storage.keyfile import change, load_or_create, parse, render
from dynatwist.storage.keyring import ClusterKeys, Keyring, name_of
from dynatwist.storage.needed import UNNAMED, keys_named, secrets_needed
from dynatwist.storage.seal import Header, derive_key, header_of, key_name, open_file, seal_file
from dynatwist.storage.shared_key import SharedKey

from .planted import secrets as planted

STRIDE = int(os.environ.get("SECRETS_STRIDE", "6"))
"""Between the steps of the disk at which the machine dies; by hand, 1."""
SEEDS = int(os.environ.get("SECRETS_SEEDS", "1"))
ODD = "o th\ner"
"""A name that a folder may have."""
FOLDER, KEY_FILE = "/sim/0", "/key/cluster.key"


class Steps(SimDisk):
    """A disk whose machine dies behind one of its steps, whatever that is.

    :ivar left: steps until then; 0 for never.
    """

    def __init__(self, node, random):
        super().__init__(random)
        self.node, self.left, self.taken = node, 0, 0

    def step(self):
        self.taken += 1
        if self.left:
            self.left -= 1
            if not self.left:
                self.power_cut = self.random.random() < 0.7
                self.node.process.kill()
                raise Killed("a step")

    def create(self, path):
        file = super().create(path)
        self.step()
        return file

    def append(self, file, data):
        super().append(file, data)
        self.step()

    def remove(self, path):
        super().remove(path)
        self.step()

    def rename(self, old, new):
        super().rename(old, new)
        self.step()

    def sync(self, file):
        super().sync(file)
        self.step()

    def sync_folder(self, path):
        super().sync_folder(path)
        self.step()


class Machine:
    """One node, and its key file, on one disk; it is written to all the time."""

    def __init__(self, seed):
        self.world = World(seed)
        self.cluster = SimCluster(self.world, 1)
        self.node = self.cluster.nodes[0]
        self.disk = self.node.disk = Steps(self.node, Random(seed))
        self.disk.put(KEY_FILE, render(self.cluster.keys).encode(), is_foreign=False)
        self.cluster.keyring = self.keyring
        self.acknowledged = set()
        self.count = 0

    def keyring(self, number):
        fs = Mount(self.disk, self.node.process)

        def keep(how):
            before = self.keys()
            after = how(before)
            if after != before:
                replace_file(fs, "/key", "cluster.key", render(after).encode())
            return after

        return Keyring(self.keys(), keep)

    def keys(self):
        return parse(bytes(self.disk.file_data(KEY_FILE)).decode(), KEY_FILE)

    @property
    def renewal(self):
        return self.node.core.renewal

    @property
    def mount(self):
        return Mount(self.disk, self.node.process)

    @property
    def used(self):
        """The name of the data key in use."""
        return key_name(self.node.core.identity.data_key)

    def needed(self):
        """The names of the data keys that files need."""
        return {key for _, key in keys_named(self.mount, FOLDER)}

    def start(self):
        self.node.fatal = ""
        self.node.start()
        self.world.run_until(lambda: self.node.fatal or self.cluster.is_settled(), 20)
        assert not self.node.fatal
        findings = self.node.core.folder.findings
        assert not self.node.core.folder.recovered.damaged, findings
        assert all("cut off" in finding for finding in findings), findings

    def write(self):
        store, name = self.node.core.store, f"k{self.count}"
        self.count += 1
        store.write(("t", name), Draft(b"{}", "alice"))
        store.wal.when_durable(store.wal.lsn, lambda: self.acknowledged.add(name))

    def write_for(self, limit_s, until=lambda: False):
        """Write again and again, for a while, or until something is so, or the machine dies."""
        end_s = self.world.now_s + limit_s
        while self.node.running and self.world.now_s < end_s and not until():
            self.node.process.run(self.write)
            self.world.run(self.world.now_s + 0.02)

    def renew(self):
        with suppress(Killed):
            self.node.process.run(self.renewal.renew)

    def check(self):
        held = {key[1] for replica in self.node.core.store.replicas for key in replica.records if key[0] == "t"}
        assert self.acknowledged <= held


def survives(seed, step):
    """A machine that dies behind one step of its disk while its folder is sealed anew.

    :returns: whether it came so far.
    """
    machine = Machine(seed)
    old = machine.keys().storage[0]
    machine.start()
    machine.write_for(0.5)
    machine.node.process.run(machine.node.core.folder.saver.save)
    machine.write_for(0.5)
    machine.disk.left = step
    machine.renew()
    machine.write_for(10, lambda: not machine.renewal.is_under_way)
    has_died, machine.disk.left = not machine.node.running, 0
    if has_died:
        machine.start()
        machine.check()
    else:
        assert machine.needed() == {machine.used}
    machine.write_for(10, lambda: not machine.renewal.is_under_way)
    if old in machine.keys().storage:  # it died before the identity said that this is to go
        machine.renew()
        machine.write_for(10, lambda: not machine.renewal.is_under_way)
    (new,) = machine.keys().storage
    assert new != old
    machine.node.process.run(machine.node.core.folder.saver.save)  # removes what a power cut has brought back
    machine.write_for(0.5)
    assert machine.needed() <= {machine.used, UNNAMED}  # since a start with one key only, files name none
    assert name_of(new) in secrets_needed(machine.mount, FOLDER, (new, old))  # by any name, where there is but one
    machine.node.kill(power=True)
    machine.start()
    machine.check()
    return has_died


def sweep(stride, seeds=1):
    """As many deaths as there are steps."""
    for seed in range(1, seeds + 1):
        step = 1 + seed % stride
        while survives(seed, step):
            step += stride
    return step


def test_no_death_behind_any_step_of_the_disk_loses_the_folder():
    assert sweep(STRIDE, SEEDS) > 50, "there are as many steps, and more"


@pytest.mark.parametrize(
    "plant",
    [
        planted.the_old_data_key_goes_with_the_first_save,
        planted.the_new_data_key_seals_before_it_is_durable,
        planted.the_new_storage_secret_is_used_before_it_is_durable,
        planted.the_old_storage_secret_is_erased_at_once,
        planted.a_start_in_the_middle_knows_the_new_data_key_only,
    ],
)
def test_a_mistake_in_the_order_is_seen(monkeypatch, plant):
    plant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        sweep(5)


class TestFiles:
    KEYS = (b"n" * 32, b"o" * 32)

    def test_each_file_is_opened_by_the_key_that_it_names(self):
        for key, others in (self.KEYS, self.KEYS[::-1]):
            data = seal_file((key, others), b"TEST", b"s" * 16, b"payload")
            assert header_of(data[:36]).key == key_name(key)
            assert open_file(self.KEYS, b"TEST", data).payloads == [b"payload"]
        opened = open_file(self.KEYS, b"TEST", seal_file((b"x" * 32, b"y" * 32), b"TEST", b"s" * 16, b"payload"))
        assert opened.damaged
        assert opened.payloads == []

    def test_a_file_of_a_release_that_named_no_key_is_opened_by_the_oldest(self):
        """Version 5, as it was written: the same without four bytes."""
        _, old = self.KEYS
        key, salt = AESGCM(derive_key(old, b"s" * 16, b"file TEST")), b"s" * 16
        start = struct.pack(">6sH4s16s", b"DYNAKV", 5, b"TEST", salt)
        header = start + zlib.crc32(start).to_bytes(4)
        frame = struct.pack(">4sQI", b"\xd7\x9a\xfe\x01", 0, 12 + 7 + 16)
        sealed = key.encrypt(b"n" * 12, b"payload", frame + len(header).to_bytes(8))
        data = header + frame + b"n" * 12 + sealed
        assert header_of(data) == Header(5, b"TEST", salt, b"", 32)
        assert open_file(self.KEYS, b"TEST", data).payloads == [b"payload"]
        assert open_file(self.KEYS[0], b"TEST", data).damaged or not open_file(self.KEYS[0], b"TEST", data).payloads

    def test_what_does_not_say_which_secret_it_needs_may_need_any(self, tmp_path):
        secrets = (b"1" * 32, b"2" * 32)
        fs, folder = RealFileSystem(), str(tmp_path)
        assert secrets_needed(fs, folder, secrets) == frozenset()
        IdentityFile(fs, folder, ClusterKeys((b"c" * 32,), secrets), os.urandom).save(
            Identity(b"", b"", 0, 0, b"d" * 32)
        )
        assert secrets_needed(fs, folder, secrets) == {name_of(secrets[0])}
        (tmp_path / "identity-b").write_bytes(b"nonsense")
        assert secrets_needed(fs, folder, secrets) == set(map(name_of, secrets))


class TestSharedKeyFile:
    """Two folders, one key file."""

    @pytest.fixture
    def path(self, tmp_path):
        self.path = str(tmp_path / "cluster.key")
        self.keys, _ = load_or_create(self.path)
        return tmp_path

    def folder(self, path, name, keys, host="here"):
        (path / name).mkdir(exist_ok=True)
        fs = RealFileSystem()
        IdentityFile(fs, str(path / name), keys, os.urandom).save(Identity(b"", b"", 0, 0, b"d" * 32))
        shared = SharedKey(fs, self.path, str(path / name), host)
        shared.note(keys)
        return Keyring(keys, lambda how: change(self.path, how), shared.needed_by_others)

    def test_a_secret_stays_until_the_last_folder_can_do_without(self, path):
        one, other = self.folder(path, "one", self.keys), self.folder(path, ODD, self.keys)
        (old,) = self.keys.storage
        one.renew_storage(b"n" * 32)
        self.folder(path, "one", one.keys)
        assert one.retire_storage(frozenset([name_of(old)])) == {name_of(old)}
        assert load_or_create(self.path)[0].storage == (b"n" * 32, old)
        other.renew_storage(b"m" * 32)
        assert other.keys.storage == (b"n" * 32, old), "the one that is first in the file already"
        self.folder(path, ODD, other.keys)
        assert other.retire_storage(frozenset([name_of(old)])) == frozenset()
        assert load_or_create(self.path)[0].storage == (b"n" * 32,)
        assert os.stat(self.path).st_mode & 0o777 == 0o600

    def test_into_folders_of_other_hosts_nobody_can_look(self, path):
        """Containers that share a volume of keys have their data under one path each, and none sees another's."""
        one = self.folder(path, "one", self.keys)
        self.folder(path, "one", self.keys, host="another container")
        (old,) = self.keys.storage
        one.renew_storage(b"n" * 32)
        self.folder(path, "one", one.keys)
        assert one.retire_storage(frozenset([name_of(old)])) == {name_of(old)}

    def test_what_a_killed_writer_left_goes_with_the_secrets_that_are_in_it(self, path):
        one = self.folder(path, "one", self.keys)
        (path / "cluster.key.4711.new").write_text(render(self.keys))
        one.renew_storage(b"n" * 32)
        self.folder(path, "one", one.keys)
        assert (path / "cluster.key.4711.new").exists()
        one.retire_storage(frozenset(map(name_of, self.keys.storage)))
        assert sorted(os.listdir(path)) == ["cluster.key", "cluster.key.folders", "one"]

    def test_a_folder_that_is_gone_needs_nothing(self, path):
        one = self.folder(path, "one", self.keys)
        self.folder(path, "other", self.keys)
        shutil.rmtree(path / "other")
        one.renew_storage(b"n" * 32)
        assert one.retire_storage(frozenset(map(name_of, self.keys.storage))) == frozenset()

    def test_a_secret_that_was_erased_while_a_new_folder_was_begun_is_put_back(self, path):
        change(self.path, lambda keys: replace(keys, storage=(b"n" * 32,)))
        self.folder(path, "late", self.keys)
        assert load_or_create(self.path)[0].storage == (b"n" * 32, *self.keys.storage)
