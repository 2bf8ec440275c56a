"""``dynakv export``: records as lines of JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

import click
import msgspec

from dynatwist.importing.jsonl import FORMAT, VERSION, Foot, Head, Line

from .arguments import offered_tables
from .chosen import Chosen
from .pages import path_of
from .progress import progress
from .show import counted
from .tables import all_tables
from .work import fail, run

if TYPE_CHECKING:
    from dynatwist.sync import Client

STDOUT = "-"
"""Instead of a file."""
PAGE_KEYS = 500
"""Keys that are listed together; names of the greatest length make half a megabyte."""
MOST_AT_ONCE = 100
"""Records that are fetched together, at most: where large ones follow upon small ones, nobody knows that beforehand."""
PAGE_BYTES = 1 << 20
"""Of records that are fetched together, about: an answer of that size comes in time over a slow line as well."""


class _Held(msgspec.Struct):
    """A record as a node shows it; its value stays as it was written, every digit of it."""

    value: msgspec.Raw
    version: int = 0
    timestamp: int = 0
    owner: str = ""
    expires_at: int | None = None
    ephemeral: bool = False


_PAGE = msgspec.json.Decoder(dict[str, _Held])


@click.command()
@click.argument("tables", nargs=-1, metavar="[TABLE]...", shell_complete=offered_tables)
@click.option("--prefix", default="", help="Only keys that begin so.")
@click.option("--file", "path", metavar="FILE", default=STDOUT, help="Write there, mode 0600; whole or not at all.")
@click.pass_obj
def export(chosen: Chosen, tables: tuple[str, ...], prefix: str, path: str) -> None:
    """Write records as lines of JSON.

    Those of some tables, as far as you may read them; of all tables when none is named, for the administrator. The
    first line names the format, the last one says how many records there are. Records that live as long as a
    connection are left out. 'dynakv import FILE --from jsonl' reads it.
    """

    def work(client: Client) -> None:
        counts = _counts(client) if not tables else dict.fromkeys(tables, 0)
        with _output(path) as file, progress("exporting", sum(counts.values()) or None) as advance:
            total = 0
            for line, count in _lines(client, list(counts), prefix):
                file.write(line)
                total += count
                advance(count)
        if path != STDOUT:
            said = f"exported {counted(total, 'record')} of {counted(len(counts), 'table')} to {path}"
            click.echo(said, err=True)

    run(chosen, work)


def _counts(client: Client) -> dict[str, int]:
    """All tables, with about how many records they have."""
    from dynatwist.sync import Forbidden

    try:
        return {one.name: one.keys for one in all_tables(client)}
    except Forbidden:
        fail("only the administrator exports all tables; name those that you want, or dynakv login admin")


@contextmanager
def _output(path: str) -> Iterator[BinaryIO]:
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    from .whole_file import whole_file

    with whole_file(path) as file:
        yield file


def _lines(client: Client, tables: list[str], prefix: str) -> Iterator[tuple[bytes, int]]:
    """All lines, and how many records each is: pages of records, and two that say what they are."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    yield msgspec.json.encode(Head(FORMAT, VERSION, now, tables, prefix)) + b"\n", 0
    found: dict[str, int] = {}
    for table in tables:
        found[table] = 0
        for lines in _pages(client, table, prefix):
            found[table] += len(lines)
            yield b"".join(lines), len(lines)
    yield msgspec.json.encode(Foot(FORMAT, sum(found.values()), found)) + b"\n", 0


def _pages(client: Client, table: str, prefix: str) -> Iterator[list[bytes]]:
    after, at_once = "", 4
    while keys := client.keys(table, prefix, after, PAGE_KEYS):
        while keys:
            some, keys = keys[:at_once], keys[at_once:]
            lines, size_bytes = _fetched(client, table, some)
            at_once = how_many_next(len(some), at_once, size_bytes)
            after = some[-1]
            yield lines


def how_many_next(count: int, at_once: int, size_bytes: int) -> int:
    """How many records to fetch next: ever more while they are small, so that few of the largest come together.

    :param count: so many were fetched now, of which so many might have been.
    """
    each_bytes = max(1, size_bytes // count)
    return max(1, min(2 * at_once, PAGE_BYTES // each_bytes, MOST_AT_ONCE))


def _fetched(client: Client, table: str, keys: list[str]) -> tuple[list[bytes], int]:
    """Lines of some records, and their bytes; what was deleted meanwhile is left out."""
    answer = client.ask("POST", path_of(table, "keys"), {"keys": keys}, {}, repeatable=True)
    held = _PAGE.decode(answer)
    lines = [
        msgspec.json.encode(_line(table, key, one)) + b"\n"
        for key in keys
        if (one := held.get(key)) is not None and not one.ephemeral
    ]
    return lines, len(answer)


def _line(table: str, key: str, held: _Held) -> Line:
    return Line(
        table=table,
        key=key,
        value=held.value,
        owner=held.owner,
        version=held.version,
        timestamp=held.timestamp,
        expires_at=held.expires_at,
    )
