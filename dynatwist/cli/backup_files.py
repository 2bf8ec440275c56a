"""Backups as files of this machine: a new one appears whole under its name, and is private."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from dynatwist.backups.entries import Entry, Totals
from dynatwist.backups.errors import BackupError
from dynatwist.backups.format import Backup

from .backup_keys import secret_for
from .whole_file import in_its_place


@contextmanager
def new_file(path: str) -> Iterator[BinaryIO]:
    """A file that is under its name once it is written and durable, and not before; nothing is left where that fails.

    :raises BackupError: it cannot be written.
    """
    beside = f"{path}.{os.getpid()}.new"
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with in_its_place(handle, beside, path) as file:
            yield file
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}") from None


@contextmanager
def about(path: str) -> Iterator[None]:
    """Says of which file something is wrong."""
    try:
        yield
    except BackupError as error:
        raise BackupError(f"{path}: {error}") from None
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}") from None


class BackupFile:
    """A backup that is read, as often as is wanted.

    :param key_file: what it opens with, if not with a passphrase, which is asked for once.
    :raises BackupError: it is no backup, cannot be read, or does not open.
    :ivar header: what it says in clear.
    """

    def __init__(self, path: str, key_file: str | None) -> None:
        self._path = path
        with about(path):
            self.size_bytes = os.stat(path).st_size
            with open(path, "rb") as file:
                self.header = Backup(file.read).header
            self._secret = secret_for(self.header.derivation, key_file)

    def totals(self) -> Totals:
        """What its end says is in it."""
        with about(self._path), open(self._path, "rb") as file:
            return Backup(file.read).totals(self._secret)

    def pieces(self) -> Iterator[tuple[list[Entry] | Totals, int]]:
        """All of it, some records at a time, each with how many bytes of the file were read for it; checked."""
        with about(self._path), open(self._path, "rb") as file:
            backup = Backup(file.read)
            read_bytes = 0
            for piece in backup.opened(self._secret):
                yield piece, backup.size_bytes - read_bytes
                read_bytes = backup.size_bytes
