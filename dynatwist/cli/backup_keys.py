"""What a backup is sealed with: a passphrase from the environment, a key file, or a passphrase asked for."""

from __future__ import annotations

import os
import sys

import click

from dynatwist.backups.errors import BackupError
from dynatwist.backups.keys import (
    MAX_KEY_FILE_BYTES,
    ByKeyFile,
    Derivation,
    Secret,
    of_key_file,
    of_passphrase,
)

VARIABLE = "DYNAKV_BACKUP_PASSPHRASE"

key_option = click.option(
    "--backup-key",
    "key_file",
    metavar="FILE",
    help=f"A file of 32 random bytes or more, instead of a passphrase from {VARIABLE} or the terminal.",
)


def read_key_file(path: str) -> Secret:
    """The key in a file.

    :raises BackupError: it is none, or others may read it.
    """
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise BackupError(f"{path}: readable by others; run: chmod 600 {path}")
            return of_key_file(file.read(MAX_KEY_FILE_BYTES + 1))
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}") from None
    except BackupError as error:
        text = str(error)
        raise BackupError(text if text.startswith(path) else f"{path}: {text}") from None


def secret_for_new(key_file: str | None) -> Secret:
    """What a new backup is to be sealed with; a passphrase is asked for twice."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        return of_passphrase(given, is_new=True)
    if key_file is not None:
        return read_key_file(key_file)
    return of_passphrase(_ask(confirm=True), is_new=True)


def secret_for(derivation: Derivation, key_file: str | None) -> Secret:
    """What a backup opens with. One that is sealed with a key file is not opened with a passphrase, which may be in the
    environment for others."""
    given = os.environ.get(VARIABLE)
    if key_file is not None and (given is None or isinstance(derivation, ByKeyFile)):
        return read_key_file(key_file)
    if isinstance(derivation, ByKeyFile):
        raise BackupError("it is sealed with a key file; give that with --backup-key FILE")
    return of_passphrase(given if given is not None else _ask(confirm=False))


def _ask(*, confirm: bool) -> str:
    if not sys.stdin.isatty():
        raise BackupError(f"no passphrase: set {VARIABLE}, or give --backup-key FILE")
    passphrase: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return passphrase
