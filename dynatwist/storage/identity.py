"""What makes a data folder that node and no other, kept twice, sealed: nothing in the folder is irreplaceable.

The two copies are written one after the other, each by write, fsync, rename, fsync of the folder; the one with the
greater `revision` counts.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dynatwist.errors import StartError
from dynatwist.model.registry import Registry
from dynatwist.replication.paxos import Vote
from dynatwist.sometimes import sometimes

from .files import FileSystem, read_or_none, replace_file
from .keyring import ClusterKeys
from .room import Spare, is_full
from .seal import FORMAT_VERSION, NEWEST_VERSION, derive_key, open_file, seal_file

_KIND = b"IDEN"
COPIES = ("identity-a", "identity-b")
_SPARE = "identity-spare"
_SPARE_BYTES = 4096
"""At least so much is kept for the next identity, besides three times its size, so that a full disk stops no start."""


def seal_key(secret: bytes) -> bytes:
    """What a storage secret seals identity files with."""
    return derive_key(secret, b"", b"identity")


class Identity(msgspec.Struct, array_like=True):
    """A node's memory of itself.

    :ivar node_id: eight random bytes, for the life of the folder.
    :ivar epoch: eight random bytes, new at every process start.
    :ivar starts: process starts so far; a peer that met a higher count knows a restored backup.
    :ivar data_key: seals the WAL and the cold saves; itself sealed by the key file's storage secret.
    :ivar registry: the newest registry known; ``None`` before the node is in a cluster.
    :ivar registry_votes: what this node promised and accepted, per registry version.
    :ivar peer_starts: the highest (start count, epoch) met of each peer.
    :ivar wall_ms: the greatest wall reading persisted here.
    :ivar logs_registry: whether the log says which registry the replicas go by; not so in folders of earlier releases.
    :ivar old_data_keys: those before, the newest first, while some file may still need one of them.
    :ivar retiring: names of storage secrets that are to be erased from the key file once nobody needs them.
    """

    node_id: bytes
    epoch: bytes
    starts: int
    incarnation: int
    data_key: bytes
    revision: int = 0
    registry: Registry | None = None
    registry_votes: dict[int, Vote] = {}
    peer_starts: dict[bytes, tuple[int, bytes]] = {}
    wall_ms: int = 0
    logs_registry: bool = False
    old_data_keys: tuple[bytes, ...] = ()
    retiring: tuple[str, ...] = ()

    @property
    def data_keys(self) -> tuple[bytes, ...]:
        """What opens the files of the folder, and, the first one, seals new ones."""
        return (self.data_key, *self.old_data_keys)

    def renew_data_key(self, data_key: bytes) -> None:
        """Seal by another key from now on."""
        self.old_data_keys, self.data_key = self.data_keys, data_key


class IdentityFile:
    """Loads and saves the two copies.

    :ivar sealed_by: the storage secret by which the copy was sealed that was loaded; empty before.
    """

    def __init__(self, fs: FileSystem, folder: str, keys: ClusterKeys, randbytes: Callable[[int], bytes]) -> None:
        self._fs = fs
        self._folder = folder
        self._randbytes = randbytes
        self.sealed_by = b""
        self.go_by(keys)

    def go_by(self, keys: ClusterKeys) -> None:
        """Seal by the first of these storage secrets from now on; any of them opens."""
        self._keys = {secret: seal_key(secret) for secret in keys.storage}

    def load(self) -> tuple[Identity | None, list[str]]:
        """The newest copy that verifies, and findings for the log.

        :raises StartError: when there are copies and none verifies.
        """
        found: list[tuple[Identity, bytes]] = []
        findings: list[str] = []
        present = [name for name in COPIES if name in self._fs.names(self._folder)]
        for name in present:
            data = read_or_none(self._fs, f"{self._folder}/{name}")
            opened = self._open(data) if data is not None else None
            if opened is None:
                harm = "cannot be read" if data is None else "is damaged"
                findings.append(f"{name} {harm}; its twin is used and it is written anew")
            else:
                found.append(opened)
        if len(found) == 1 and len(present) == 1:
            findings.append("one of the two identity files is missing; its twin is used and it is written anew")
        if present and not found:
            asked = "is --key-file the one this folder was made with, storage lines and all?"
            raise StartError(f"{self._folder}: the identity files do not open; {asked}")
        newest = max(found, key=lambda one: one[0].revision, default=None)
        if newest is None:
            return None, findings
        identity, self.sealed_by = newest
        return identity, findings

    def _open(self, data: bytes) -> tuple[Identity, bytes] | None:
        for secret, key in self._keys.items():
            opened = open_file(key, _KIND, data)
            if opened.intact and opened.payloads:
                return msgspec.msgpack.decode(opened.payloads[0], type=Identity), secret
        return None

    def save(self, identity: Identity) -> None:
        """Write both copies, durably; where the disk is full, in the place of the spare file. Raises the revision."""
        identity.revision += 1
        payload = msgspec.msgpack.encode(identity)
        goes_by_zones = identity.registry is not None and identity.registry.zoned
        version = NEWEST_VERSION if goes_by_zones or identity.old_data_keys else FORMAT_VERSION
        for name in COPIES:
            data = seal_file(tuple(self._keys.values()), _KIND, self._randbytes(16), payload, version)
            try:
                replace_file(self._fs, self._folder, name, data)
            except OSError as error:
                if not is_full(error) or not self._spare(len(data)).give_up():
                    raise
                sometimes("an identity is written in the place of its spare file")
                replace_file(self._fs, self._folder, name, data)
        if _SPARE not in self._fs.names(self._folder):
            self._spare(len(payload)).make()

    def _spare(self, size_bytes: int) -> Spare:
        return Spare(self._fs, f"{self._folder}/{_SPARE}", _SPARE_BYTES + 3 * size_bytes)
