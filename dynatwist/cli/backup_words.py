"""What the commands of backups say of what is in one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dynatwist.backups.entries import Tally
from dynatwist.backups.errors import BackupError
from dynatwist.backups.selection import USERS, is_system

from .show import counted


def require(tables: Collection[str], found: Collection[str], text: str) -> None:
    """All of some tables are there.

    :param text: what to say of one that is not.
    :raises BackupError: one is not.
    """
    for table in tables:
        if table not in found:
            raise BackupError(text.format(table))


def in_words(tables: Mapping[str, Tally]) -> str:
    """How much it is in all."""
    data = [tally for name, tally in tables.items() if not is_system(name)]
    users = tables[USERS].records if USERS in tables else 0
    deleted = sum(tally.gone for tally in data)
    of_tables = f"{counted(sum(tally.records for tally in data), 'record')} of {counted(len(data), 'table')}"
    return f"{of_tables}{f', {deleted} deleted' if deleted else ''}, {counted(users, 'user')}"
