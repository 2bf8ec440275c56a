"""A file that is there as a whole or not at all: written beside, synced, and renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from dynatwist.errors import DynakvError


@contextmanager
def whole_file(path: str) -> Iterator[BinaryIO]:
    """Write a file, mode 0600; one that is there is replaced at the end, and stays if the block raises anything.

    :raises DynakvError: it cannot be written.
    """
    folder, name = os.path.split(os.path.abspath(path))
    beside = os.path.join(folder, f".{name}.{os.getpid()}.part")
    try:
        if os.path.isdir(path):
            raise DynakvError(f"{path} is a folder; name a file")
        file = os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
        _sync_folder(folder)
    except OSError as error:
        raise DynakvError(f"cannot write {path}: {error.strerror}") from None


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
