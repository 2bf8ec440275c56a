"""The key of backups in a file of its own: of the command, and of a node that makes backups by itself."""

from __future__ import annotations

import os

from dynatwist.backups.errors import BackupError
from dynatwist.backups.keys import MAX_KEY_FILE_BYTES, Secret, of_key_file


def read_key_file(path: str) -> Secret:
    """The key in a file.

    :raises BackupError: it is none, cannot be read, or others may read it.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}") from None
    if mode & 0o077:
        raise BackupError(f"{path}: readable by others; run: chmod 600 {path}")
    try:
        return of_key_file(content)
    except BackupError as error:
        raise BackupError(f"{path}: {error}") from None
