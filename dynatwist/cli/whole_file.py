"""A file that is there as a whole or not at all: written beside, synced, and renamed."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, NoReturn

from dynatwist.errors import DynakvError

TERMINATED = 128 + signal.SIGTERM
"""The exit status of a process that is terminated, as shells have it."""


@contextmanager
def whole_file(path: str) -> Iterator[BinaryIO]:
    """Write a file, mode 0600; one that is there is replaced at the end, and stays if the block raises anything.

    Also where the process is terminated nothing stays beside it; after kill -9 what is half written does, with a dot
    before its name. Only for the main thread.

    :raises DynakvError: it cannot be written.
    """
    folder, name = os.path.split(os.path.abspath(path))
    before = signal.signal(signal.SIGTERM, _end)
    try:
        if os.path.isdir(path):
            raise DynakvError(f"{path} is a folder; name a file")
        handle, beside = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder)
        with in_its_place(handle, beside, path) as file:
            yield file
    except OSError as error:
        raise DynakvError(f"cannot write {path}: {error.strerror}") from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def in_its_place(handle: int, beside: str, path: str) -> Iterator[BinaryIO]:
    """Write to a file that was opened beside another; at the end it is synced, and takes the other's place, durably. It
    is removed if the block raises anything.

    :param handle: of the file, which is closed.
    :raises OSError: it cannot be written.
    """
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    _sync_folder(os.path.dirname(path) or ".")


def _end(number: int, frame: object) -> NoReturn:
    raise SystemExit(TERMINATED)


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
