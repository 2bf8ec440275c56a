"""What a backup is sealed with: a passphrase from the environment, a key file, or a passphrase asked for."""

from __future__ import annotations

import os
import sys

import click

from dynatwist.backups.errors import BackupError
from dynatwist.backups.keys import ByKeyFile, Derivation, Secret, of_passphrase
from dynatwist.storage.backup_key import read_key_file

VARIABLE = "DYNAKV_BACKUP_PASSPHRASE"

key_option = click.option(
    "--backup-key",
    "key_file",
    metavar="FILE",
    help=f"A file of 32 random bytes or more, instead of a passphrase from {VARIABLE} or the terminal.",
)


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
