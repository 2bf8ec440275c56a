"""What lies on a disk: sealed files, a whole data folder, the key file."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from random import Random
from tempfile import TemporaryDirectory

from dynatwist.errors import StartError
from dynatwist.model.record import Draft, Key
from dynatwist.sim.disk import SimDisk
from dynatwist.sim.mount import Mount
from dynatwist.sim.world import Process, World
from dynatwist.storage.keyfile import change, load_or_create, render
from dynatwist.storage.keyring import MAX_TOKEN_KEYS, ClusterKeys
from dynatwist.storage.recovery import Recovered, recover
from dynatwist.storage.seal import Sealer, UnknownFormat, open_file, seal_file

from ..edits import edited
from ..target import Found, Target
from ..world import Nodes

KEY, KIND, SALT = bytes(range(32)), b"TEST", b"salt" * 4
PAYLOADS = [b"one", b"", b"three" * 20, b"four"]
KEYS = ClusterKeys((b"c" * 32,), (b"s" * 32,), ((b"t" * 32, 1_700_000_000),))


def _sealed_file() -> bytes:
    sealer = Sealer(KEY, KIND, SALT)
    return sealer.header + b"".join([sealer.seal(payload) for payload in PAYLOADS])


_SEALED = _sealed_file()


def sealed(data: bytes) -> None:
    """A sealed file. The first byte says whether it is one that was tampered with, or anything.

    What is opened is what was sealed, up to where it was tampered with, and that is told.
    """
    whole = data[1:] if data[:1] < b"\x40" else edited(_SEALED, data[1:])
    try:
        opened = open_file(KEY, KIND, whole)
    except UnknownFormat:
        return
    if opened.payloads != PAYLOADS[: len(opened.payloads)]:
        raise Found(f"opened {opened.payloads}")
    cut_between_frames = _SEALED.startswith(whole) and opened.good_bytes == len(whole)
    if opened.intact and not cut_between_frames:
        raise Found("a file that was tampered with counts as whole")


class _Folder:
    """The data folder of a node at several moments, and all that it ever held."""

    def __init__(self) -> None:
        nodes = Nodes(1)
        store = nodes.core.store
        self.ever: set[tuple[Key, bytes]] = set()
        self.images: list[dict[str, bytes]] = []
        for step in range(4):
            for number in range(6):
                key = "t", f"k{(step + number) % 8}"
                assert nodes.node.process is not None
                nodes.node.process.run(store.write, key, Draft(b'{"step":%d}' % step, "alice"))
                nodes.run(0.05)
                self.ever |= _contents_of(store.replicas)
            if step in (1, 2):
                nodes.result(nodes.core.folder.saver.save())
            nodes.run(0.5)
            self.images.append(nodes.node.disk.image())
        self.data_key = nodes.core.identity.data_key
        self.newest = self.images[-1]
        self.paths = sorted(path for path in self.newest if "/wal/" in path or "/cold/" in path)
        self.contents = _contents_of(self.recovered(self.newest)[0].state.replicas)
        assert self.contents <= self.ever

    def recovered(self, image: dict[str, bytes]) -> tuple[Recovered, dict[str, bytes]]:
        """What a start makes of it, and what it leaves."""
        disk = SimDisk(Random(1))
        disk.restore(image)
        found = recover(Mount(disk, Process(World(1), "start")), "/sim/0", self.data_key, True)
        return found, disk.image()

    def ends_early(self, image: dict[str, bytes]) -> bool:
        """Whether the log ends between two frames, before its end: nothing here can tell that from a log that never
        went on. Peers can, who remember how far it was durable."""
        last = max(path for path in self.paths if "/wal/" in path)
        return image.get(last, b"") != self.newest[last] and self.newest[last].startswith(image.get(last, b""))


def _contents_of(replicas: Iterable[object]) -> set[tuple[Key, bytes]]:
    return {
        (key, bytes(replica.records.packed(key)))  # type: ignore[attr-defined]
        for replica in replicas
        for key, _ in replica.records.items()  # type: ignore[attr-defined]
    }


_FOLDER: list[_Folder] = []


def recovery(data: bytes) -> None:
    """A start from a data folder that somebody was at: files are tampered with, lost, swapped, put back from before.

    The script has a file's number, what happens to it, and edits, each behind its length. Nothing is held that was not
    written; what is missing is told; and a second start finds what the first one left.
    """
    if not _FOLDER:
        _FOLDER.append(_Folder())
    folder = _FOLDER[0]
    image = _harmed(folder, data)
    try:
        found, left = folder.recovered(image)
        again, _ = folder.recovered(left)
    except UnknownFormat:
        return
    held = _contents_of(found.state.replicas)
    if not held <= folder.ever:
        raise Found(f"held and never written: {held - folder.ever}")
    if held != folder.contents and not found.findings and not folder.ends_early(image):
        raise Found(f"not a word of what is missing: {folder.contents - held}")
    if _contents_of(again.state.replicas) != held:
        raise Found("a second start finds something else")


def _harmed(folder: _Folder, script: bytes) -> dict[str, bytes]:
    image = dict(folder.newest)
    at = 0
    while at + 3 <= len(script):
        path = folder.paths[script[at] % len(folder.paths)]
        kind, size = script[at + 1] % 5, script[at + 2]
        edits = script[at + 3 : at + 3 + size]
        at += 3 + size
        match kind:
            case 0 | 1:
                image[path] = edited(image.get(path, b""), edits)
            case 2:
                image.pop(path, None)
            case 3:
                other = folder.paths[size % len(folder.paths)]
                image[path] = folder.newest[other]
            case 4:
                before = folder.images[size % len(folder.images)]
                image[path] = before.get(path, b"")
    return image


_BENCH = TemporaryDirectory(prefix="fuzz-keys-")


def keyfile(data: bytes) -> None:
    """The key file: one line says what is wrong with it; what is read is written and read again."""
    path = os.path.join(_BENCH.name, "k")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    try:
        keys, _ = load_or_create(path)
    except StartError as error:
        if "\n" in str(error):
            raise Found(f"more than a line: {error}") from None
        _stays_unread(path)
        return
    change(path, lambda before: before)
    with open(path, "wb") as file:
        file.write(render(keys).encode())
    if load_or_create(path)[0] != keys:
        raise Found("what is written is read as something else")


def _stays_unread(path: str) -> None:
    """A node that runs while its key file is spoilt says so as well when it is to change it."""
    try:
        change(path, lambda before: before)
    except StartError:
        return
    raise Found("a key file is refused at a start, and changed by a rotation")


def _sealed_seeds() -> Iterable[bytes]:
    yield b"\0" + _SEALED
    yield b"\0" + seal_file(KEY, b"ELSE", SALT, b"x")
    for at in range(0, len(_SEALED), 7):
        yield b"\xff" + bytes((at % 6, at >> 8, at & 255, 9, at % 251))


def _folder_seeds() -> Iterable[bytes]:
    for path in range(8):
        for kind in range(5):
            yield bytes((path, kind, 5, 0, 1, 40, 7, 3))
            yield bytes((path, kind, 5, 5, 1, 40, 7, 3))


def _keyfile_seeds() -> Iterable[bytes]:
    whole = render(KEYS)
    yield whole.encode()
    yield whole.replace("\n", "\r\n").encode()
    yield whole.encode() + b"\xff"
    yield whole.replace("1700000000", "9" * 21).encode()
    yield (whole + f"tokens {base64.b64encode(b't' * 32).decode()} 5\n" * (MAX_TOKEN_KEYS + 1)).encode()
    yield b"dynakv-keys 2\n"
    yield b""


TARGETS = (
    Target("sealed", sealed, _sealed_seeds, (b"DYNAKV", b"\xd7\x9a\xfe\x01", b"\x00\x04")),
    Target("recovery", recovery, _folder_seeds),
    Target(
        "keyfile", keyfile, _keyfile_seeds, (b"cluster ", b"storage ", b"tokens ", b"dynakv-keys 1\n", b"=", b"\x85")
    ),
)
