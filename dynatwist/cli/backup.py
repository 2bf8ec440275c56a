"""Backups of a cluster that serves: full ones, and increments on others."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from dynatwist import __version__
from dynatwist.backups.chain import Link
from dynatwist.backups.entries import Entry, Mark
from dynatwist.backups.errors import BackupError
from dynatwist.backups.format import BackupWriter
from dynatwist.backups.selection import Selection, is_system

from .backup_files import BackupFile, new_file, told
from .backup_keys import key_option, secret_for_new
from .backup_words import in_words, require
from .chosen import Chosen
from .progress import progress
from .work import run

if TYPE_CHECKING:
    from dynatwist.sync import Client

    from .backup_source import Source, Table


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--table", "tables", multiple=True, metavar="T", help="Only this table; repeatable.")
@click.option("--prefix", default="", metavar="P", help="Only keys that begin so.")
@click.option("--since", "base_path", metavar="BASE", help="Only what has changed since this backup.")
@key_option
@click.option("--partial", "is_partial", is_flag=True, help="Take what there is, where owners of keys are away.")
@click.pass_obj
def backup(
    chosen: Chosen,
    path: str,
    tables: tuple[str, ...],
    prefix: str,
    base_path: str | None,
    key_file: str | None,
    is_partial: bool,
) -> None:
    """Back the cluster up to FILE, sealed; log in as admin first.

    The cluster serves meanwhile. Everything that was acknowledged before is in it, or what was written over that since.
    With --since, the file is of use together with BASE, and with what BASE goes on from.
    """
    if base_path is not None and (tables or prefix or is_partial):
        raise click.UsageError("--since takes the tables and prefix of its BASE, and all of them: leave the others out")
    with told():
        base = _base(base_path, path, key_file) if base_path is not None else None
        secret = secret_for_new(key_file)
        selection = Selection(tables, prefix) if base is None else Selection(base.totals.only, base.totals.prefix)

        def work(client: Client) -> None:
            from .backup_source import Source

            source = Source(client, is_partial=is_partial)
            created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            itself = base.itself if base is not None else None
            writer = BackupWriter(secret, os.urandom, created=created, dynatwist=__version__, base=itself)
            _make(path, writer, source, selection, base)
            click.echo(f"{path}: {in_words(writer.tallies.by_table)}, {os.path.getsize(path)} bytes")
            _say_missing(source.missing)

        run(chosen, work)


def _base(base_path: str, path: str, key_file: str | None) -> Link:
    """The backup to go on from."""
    if os.path.exists(path) and os.path.samefile(base_path, path):
        raise BackupError(f"{path}: it is the base, and stays needed; choose another name")
    link = BackupFile(base_path, key_file).link()
    if link.totals.mark is None:
        why = "it is partial" if link.totals.missing else "it was made while a member knew no increments"
        raise BackupError(f"{base_path}: {why}, so no increment goes on from it; make a full one (dynakv backup FILE)")
    return link


def _make(path: str, writer: BackupWriter, source: Source, selection: Selection, base: Link | None) -> None:
    """Write the file."""
    mark = base.totals.mark if base is not None else None
    found = [one for one in source.tables() if selection.wants(one.name)]
    if base is None:
        require(selection.tables, {one.name for one in found}, "there is no table {!r} with records")
    read = [*_ended(found, mark), *found]
    about = sum(one.keys_about for one in found) if mark is None else None
    with new_file(path) as file, progress("backing up", about) as advance:
        file.write(writer.head)
        for entries in _entries(source, read, selection, base):
            file.write(writer.add(entries))
            advance(len(entries))
        strong = [one.name for one in found if one.consistency == "strong"]
        names = tuple(one.name for one in read if not is_system(one.name))
        next_mark = Mark(source.clock.encode(), names) if source.clock and not source.missing else None
        missing = sorted(source.missing)
        file.write(
            writer.end(strong=strong, only=selection.tables, prefix=selection.prefix, missing=missing, mark=next_mark)
        )


def _ended(found: Iterable[Table], mark: Mark | None) -> Iterator[Table]:
    """The tables of a base that have no records any more."""
    from .backup_source import Table

    names = {one.name for one in found}
    yield from (Table(name) for name in (mark.tables if mark is not None else ()) if name not in names)


def _entries(source: Source, tables: Iterable[Table], selection: Selection, base: Link | None) -> Iterator[list[Entry]]:
    from dynatwist.sync import KvError

    mark = base.totals.mark if base is not None else None
    try:
        yield from source.entries(tables, selection, mark.clock.decode() if mark is not None else "")
    except KvError as error:
        if base is None or error.code not in ("deletes_forgotten", "bad_clock"):
            raise
        what = (
            "is of another cluster"
            if error.code == "bad_clock"
            else ("is too old: something may have been deleted since of which no member knows any more")
        )
        raise BackupError(f"{base.name} {what}; make a full backup (dynakv backup FILE)") from None


def _say_missing(missing: Collection[int]) -> None:
    if missing:
        click.echo(
            f"dynakv: of 256 parts of the keys, {len(missing)} had no majority of their owners: what was in them is "
            "missing, or perhaps not the last that was written",
            err=True,
        )
