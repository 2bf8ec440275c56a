"""Looking into backups: what is in them, and whether all of it opens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from dynatwist.backups.chain import require_chain
from dynatwist.backups.entries import Tallies, Totals
from dynatwist.backups.selection import GROUPS, SERVICES, SETTINGS, SYSTEM, USERS, is_system

from .backup_files import BackupChain, BackupFile, chain_argument, told
from .backup_keys import key_option
from .backup_words import in_words
from .chosen import Chosen
from .progress import progress
from .show import counted, show, show_rows


@click.command()
@chain_argument
@key_option
@click.pass_obj
def inspect(chosen: Chosen, paths: tuple[str, ...], key_file: str | None) -> None:
    """Show what is in the backup FILE: when it was made, by which version, its tables with their sizes, its users.

    Of increments behind it, what each of them changed.
    """
    with told():
        files = [BackupFile(path, key_file) for path in paths]
        links = [file.link() for file in files]
        if len(links) > 1:
            require_chain(links)
    found = [(path, file, link.totals) for path, file, link in zip(paths, files, links, strict=True)]
    if chosen.output not in ("", "table"):
        described = [_described(file, totals) for _, file, totals in found]
        show(described if len(described) > 1 else described[0], chosen.output)
        return
    for path, file, totals in found:
        header, before = file.header, f"{path}: " if len(found) > 1 else ""
        click.echo(f"{before}made {header.created} by DynaTwist {header.dynatwist}, {file.size_bytes} bytes")
        for line in _remarks(totals):
            click.echo(line)
        columns = ("table", "records", "bytes", "consistency", *(["deleted"] if totals.is_increment else []))
        show_rows(chosen, columns, [row[: len(columns)] for row in _rows(totals)])


def _remarks(totals: Totals) -> Iterator[str]:
    if totals.base is not None:
        yield f"an increment: what has changed since the backup of {totals.base.created} (id {totals.base.id[:8]})"
    if totals.only:
        yield f"only of {', '.join(totals.only)}"
    if totals.prefix:
        yield f"only keys that begin with {totals.prefix!r}"
    if totals.missing:
        yield f"partial: {len(totals.missing)} of 256 parts of the keys had no majority of their owners"
    kept = {name: totals.tables[name].records if name in totals.tables else 0 for name in SYSTEM}
    if not totals.only and not totals.prefix:
        yield (
            f"{counted(kept[USERS], 'user')}, {counted(kept[GROUPS], 'group')}, settings of "
            f"{counted(kept[SETTINGS], 'table')}, {counted(kept[SERVICES], 'service token')}"
        )


def _rows(totals: Totals) -> list[tuple[str, int, int, str, int]]:
    return [
        (name, tally.records, tally.bytes, "strong" if name in totals.strong else "available", tally.gone)
        for name, tally in totals.tables.items()
        if not is_system(name)
    ]


def _described(found: BackupFile, totals: Totals) -> dict[str, Any]:
    columns = ("records", "bytes", "consistency", "deleted")
    base = totals.base
    return {
        "id": found.header.id,
        "base": {"id": base.id, "created": base.created, "digest": base.digest.hex()} if base is not None else None,
        "created": found.header.created,
        "dynatwist": found.header.dynatwist,
        "size": found.size_bytes,
        "only": totals.only,
        "prefix": totals.prefix,
        "missing": totals.missing,
        "users": totals.tables[USERS].records if USERS in totals.tables else 0,
        "tables": {name: dict(zip(columns, rest, strict=True)) for name, *rest in _rows(totals)},
    }


@click.command()
@chain_argument
@key_option
def verify(paths: tuple[str, ...], key_file: str | None) -> None:
    """Open every chunk of the backup FILE, decode every record, and compare the counts.

    With increments behind it, do so with each, and say how much they hold together.
    """
    tallies = Tallies()
    with told():
        chain = BackupChain(paths, key_file)
        with progress("verifying", chain.size_bytes) as advance:
            for entries, read_bytes in chain.pieces():
                tallies.add(entries)
                advance(read_bytes)
    click.echo(f"{', '.join(paths)}: whole, {in_words(tallies.by_table)}")
