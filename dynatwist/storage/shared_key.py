"""Data folders that share a key file: beside it stands which, so that none of them loses the secret that it needs.

The list, ``KEYFILE.folders``, has a host and a path a line. A node adds its own at each start. Into the folders of
other hosts, or containers, nobody can look: while one is listed, no secret is erased. What is gone from this host is
in nobody's way.
"""

from __future__ import annotations

import os
from fcntl import LOCK_EX, flock
from urllib.parse import quote, unquote

from dynatwist.errors import StartError

from .files import FileSystem
from .keyfile import change
from .keyring import ClusterKeys, NoSuchKeys, name_of
from .needed import secrets_needed

MOST_FOLDERS = 1024
"""As many as a cluster has members; beyond that, the ones noted first are forgotten."""


class SharedKey:
    """See the module.

    :param key_file: its path.
    :param folder: of this node.
    :param host: the name of this machine, or container.
    """

    def __init__(self, fs: FileSystem, key_file: str, folder: str, host: str) -> None:
        self._fs = fs
        self._key_file = key_file
        self._list = f"{key_file}.folders"
        self._mine = f"{quote(host)} {quote(folder)}"
        self._host = host

    def note(self, keys: ClusterKeys) -> None:
        """This node uses the key file; its data folder is there, sealed by the first of these storage secrets.

        If another node has erased that secret meanwhile, since it did not know of this folder yet, it is put back.
        Where nothing can be written beside the key file, nothing can be erased from it either.
        """
        try:
            self._add()
            change(self._key_file, lambda found: found.with_needed_storage(keys.storage[0]))
        except NoSuchKeys as error:
            raise StartError(f"{self._key_file}: {error}") from None
        except OSError:
            return

    def _add(self) -> None:
        fd = os.open(self._list, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "r+", encoding="ascii") as file:
            flock(file, LOCK_EX)
            lines = file.read().splitlines()
            if self._mine in lines:
                return
            file.seek(0)
            file.truncate()
            file.write("".join(f"{line}\n" for line in [*lines, self._mine][-MOST_FOLDERS:]))
            file.flush()
            os.fsync(fd)

    def needed_by_others(self, secrets: tuple[bytes, ...]) -> frozenset[str]:
        """Of some storage secrets, the names of those that the other folders need."""
        needed: set[str] = set()
        for line in self._others():
            host, _, folder = line.partition(" ")
            if unquote(host) != self._host:
                return frozenset(map(name_of, secrets))
            needed |= secrets_needed(self._fs, unquote(folder), secrets)
        return frozenset(needed)

    def _others(self) -> list[str]:
        try:
            with open(self._list, encoding="ascii", errors="replace") as file:
                return [line for line in file.read().splitlines() if line != self._mine]
        except FileNotFoundError:
            return []
