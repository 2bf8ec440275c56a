"""Backups: made of a cluster that serves, looked into, verified, and brought back."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from dynatwist import __version__
from dynatwist.backups.entries import Entry, Tally, Totals
from dynatwist.backups.errors import BackupError
from dynatwist.backups.format import BackupWriter
from dynatwist.backups.selection import GROUPS, SERVICES, SETTINGS, SYSTEM, USERS, Selection, is_system

from .backup_files import BackupFile, new_file
from .backup_keys import key_option, secret_for_new
from .chosen import Chosen
from .progress import progress
from .show import counted, show, show_rows
from .work import fail, run

if TYPE_CHECKING:
    from dynatwist.sync import Client

    from .restoring import Restoring

_file = click.argument("path", metavar="FILE")
_tables = click.option("--table", "tables", multiple=True, metavar="T", help="Only this table; repeatable.")
_prefix = click.option("--prefix", default="", metavar="P", help="Only keys that begin so.")


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong with a backup is one line."""
    try:
        yield
    except BackupError as error:
        fail(str(error))


# Making one


@click.command()
@_file
@_tables
@_prefix
@key_option
@click.option("--partial", "is_partial", is_flag=True, help="Take what there is, where owners of keys are away.")
@click.pass_obj
def backup(
    chosen: Chosen, path: str, tables: tuple[str, ...], prefix: str, key_file: str | None, is_partial: bool
) -> None:
    """Back the cluster up to FILE, sealed; log in as admin first.

    The cluster serves meanwhile. Everything that was acknowledged before is in it, or what was written over that since.
    """
    with _told():
        secret = secret_for_new(key_file)

        def work(client: Client) -> None:
            from .backup_source import Source

            selection, source = Selection(tables, prefix), Source(client, is_partial=is_partial)
            found = [one for one in source.tables() if selection.wants(one.name)]
            _require(tables, {one.name for one in found}, "there is no table {!r} with records")
            created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            writer = BackupWriter(secret, os.urandom, created=created, dynatwist=__version__)
            with new_file(path) as file, progress("backing up", sum(one.keys_about for one in found)) as advance:
                file.write(writer.head)
                for entries in source.entries(found, selection):
                    file.write(writer.add(entries))
                    advance(len(entries))
                strong = [one.name for one in found if one.consistency == "strong"]
                missing = sorted(source.missing)
                file.write(writer.end(strong=strong, only=tables, prefix=prefix, missing=missing))
            _say_made(path, writer.tallies.by_table, missing)

        run(chosen, work)


def _require(tables: Collection[str], found: Collection[str], text: str) -> None:
    for table in tables:
        if table not in found:
            raise BackupError(text.format(table))


def _say_made(path: str, made: dict[str, Tally], missing: Collection[int]) -> None:
    click.echo(f"{path}: {_in_words(made)}, {os.path.getsize(path)} bytes")
    if missing:
        click.echo(
            f"dynakv: of 256 parts of the keys, {len(missing)} had no majority of their owners: what was in them is "
            "missing, or perhaps not the last that was written",
            err=True,
        )


def _in_words(tables: dict[str, Tally]) -> str:
    data = [tally.records for name, tally in tables.items() if not is_system(name)]
    users = tables[USERS].records if USERS in tables else 0
    return f"{counted(sum(data), 'record')} of {counted(len(data), 'table')}, {counted(users, 'user')}"


# Looking at one


@click.command()
@_file
@key_option
@click.pass_obj
def inspect(chosen: Chosen, path: str, key_file: str | None) -> None:
    """Show what is in the backup FILE: when it was made, by which version, its tables with their sizes, its users."""
    with _told():
        found = BackupFile(path, key_file)
        totals = found.totals()
    if chosen.output in ("", "table"):
        header = found.header
        click.echo(f"made {header.created} by DynaTwist {header.dynatwist}, {found.size_bytes} bytes")
        for line in _remarks(totals):
            click.echo(line)
        show_rows(chosen, ("table", "records", "bytes", "consistency"), _rows(totals))
    else:
        show(_described(found, totals), chosen.output)


def _remarks(totals: Totals) -> Iterator[str]:
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


def _rows(totals: Totals) -> list[tuple[str, int, int, str]]:
    return [
        (name, tally.records, tally.bytes, "strong" if name in totals.strong else "available")
        for name, tally in totals.tables.items()
        if not is_system(name)
    ]


def _described(found: BackupFile, totals: Totals) -> dict[str, Any]:
    columns = ("records", "bytes", "consistency")
    return {
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
@_file
@key_option
def verify(path: str, key_file: str | None) -> None:
    """Open every chunk of the backup FILE, decode every record, and compare the counts."""
    with _told():
        totals = _read_through(BackupFile(path, key_file), lambda entries: None)
    click.echo(f"{path}: whole, {_in_words(totals.tables)}")


# Bringing it back


@click.command()
@_file
@_tables
@_prefix
@click.option("--overwrite", is_flag=True, help="Write over what is there.")
@click.option("--if-absent", is_flag=True, help="Leave what is there, the default.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say what would be done.")
@key_option
@click.pass_obj
def restore(
    chosen: Chosen,
    path: str,
    tables: tuple[str, ...],
    prefix: str,
    overwrite: bool,
    if_absent: bool,
    is_dry: bool,
    key_file: str | None,
) -> None:
    """Bring the backup FILE back into a cluster; log in as admin first.

    By default what is there stays. It may be run again after it was interrupted. With --table or --prefix, users,
    groups and service tokens stay as they are.
    """
    if overwrite and if_absent:
        raise click.UsageError("--overwrite and --if-absent: give one of them")
    with _told():
        found = BackupFile(path, key_file)

        def work(client: Client) -> None:
            from .restoring import Restoring

            selection = Selection(tables, prefix)
            system: list[Entry] = []

            def of_system(entry: Entry) -> bool:
                return is_system(entry.table) and selection.takes(entry)

            totals = _read_through(found, lambda entries: system.extend(filter(of_system, entries)))
            _require(tables, totals.tables, "there is no table {!r} in it")
            restoring = Restoring(client, overwrite=overwrite, is_dry=is_dry, patience_s=chosen.timeout_s)
            for table in SYSTEM:
                restoring.restore([one for one in system if one.table == table])
            with progress("restoring", found.size_bytes) as advance:
                for piece, read_bytes in found.pieces():
                    if isinstance(piece, list):
                        restoring.restore([one for one in piece if selection.takes(one) and not is_system(one.table)])
                    advance(read_bytes)
            _say_restored(restoring, is_dry=is_dry)

        run(chosen, work)


def _read_through(found: BackupFile, take: Callable[[list[Entry]], None]) -> Totals:
    """Read all of a backup, so that it is known to be whole; answers what is in it."""
    totals: Totals | None = None
    with progress("verifying", found.size_bytes) as advance:
        for piece, read_bytes in found.pieces():
            if isinstance(piece, Totals):
                totals = piece
            else:
                take(piece)
            advance(read_bytes)
    assert totals is not None  # pieces end with them
    return totals


def _say_restored(restoring: Restoring, *, is_dry: bool) -> None:
    tally = restoring.tally
    done = "would be written" if is_dry else "written"
    click.echo(f"{tally.written} {done}, {tally.kept} there already, {tally.expired} expired")
    if tally.taken:
        click.echo(
            f"dynakv: {counted(tally.taken, 'user')} registered anew there stay as they are: what was theirs in the "
            "backup is nobody's; --overwrite brings the former ones back",
            err=True,
        )
    if tally.refused:
        for example in tally.examples:
            click.echo(f"  {example}", err=True)
        fail(f"{tally.refused} records were refused; the first of them are above")
