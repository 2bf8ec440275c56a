"""Backups as files of this machine: a new one appears whole under its name, and is private."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import click

from dynatwist.backups.chain import Latest, Link, require_chain
from dynatwist.backups.entries import Entry, Totals
from dynatwist.backups.errors import BackupError
from dynatwist.backups.format import Backup
from dynatwist.backups.keys import Secret

from .backup_keys import secret_for
from .whole_file import in_its_place
from .work import fail

chain_argument = click.argument("paths", metavar="FILE [INCREMENT ...]", nargs=-1, required=True)


@contextmanager
def told() -> Iterator[None]:
    """What is wrong with a backup is one line."""
    try:
        yield
    except BackupError as error:
        fail(str(error))


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
    :param known: a secret that opened another one: where it may fit, nobody is asked again.
    :raises BackupError: it is no backup, cannot be read, or does not open.
    :ivar header: what it says in clear.
    :ivar secret: what it opens with.
    """

    def __init__(self, path: str, key_file: str | None, known: Secret | None = None) -> None:
        self._path = path
        with about(path):
            self.size_bytes = os.stat(path).st_size
            with open(path, "rb") as file:
                self.header = Backup(file.read).header
            fits = known is not None and type(known.derivation) is type(self.header.derivation)
            self.secret = known if known is not None and fits else secret_for(self.header.derivation, key_file)

    def link(self) -> Link:
        """What it is, and what its end says is in it."""
        with about(self._path), open(self._path, "rb") as file:
            backup = Backup(file.read)
            totals = backup.totals(self.secret)
            return Link(self._path, backup.base, totals)

    def pieces(self) -> Iterator[tuple[list[Entry] | Totals, int]]:
        """All of it, some records at a time, each with how many bytes of the file were read for it; checked."""
        with about(self._path), open(self._path, "rb") as file:
            backup = Backup(file.read)
            read_bytes = 0
            for piece in backup.opened(self.secret):
                yield piece, backup.size_bytes - read_bytes
                read_bytes = backup.size_bytes


class BackupChain:
    """A full backup, and increments on it.

    :param paths: in the order in which they were made.
    :param key_file: see `BackupFile`.
    :raises BackupError: they are none, or one is missing, or cannot be read.
    :ivar files: in the same order.
    :ivar links: what each of them is.
    """

    def __init__(self, paths: Sequence[str], key_file: str | None) -> None:
        self.files: list[BackupFile] = []
        for path in paths:
            self.files.append(BackupFile(path, key_file, self.files[0].secret if self.files else None))
        self.links = [file.link() for file in self.files]
        require_chain(self.links)

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files)

    def pieces(self) -> Iterator[tuple[list[Entry], int]]:
        """What they hold together, some records at a time, each with how many bytes were read for it; checked. What the
        system keeps comes first where there is an increment."""
        latest = Latest(len(self.files))
        for index, file in reversed(list(enumerate(self.files))):
            for piece, read_bytes in file.pieces():
                yield latest.of(index, piece) if isinstance(piece, list) else [], read_bytes
