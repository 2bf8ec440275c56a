"""``dynakv import``: records out of files and other stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dynatwist.importing.rows import SourceError, stripped

from .arguments import offered_tables
from .chosen import Chosen
from .pages import tell
from .progress import progress
from .sources import KINDS, Source, source_of
from .tally import Tally
from .work import REFUSED, USAGE, fail, run
from .writing import Writer

if TYPE_CHECKING:
    from dynatwist.sync import Client


@click.command("import")
@click.argument("place", metavar="FILE")
@click.option("--from", "kind", type=click.Choice(KINDS), required=True, help="What is read.")
@click.option(
    "--table",
    default="",
    help="Where the records go; what an export wrote says that itself.",
    shell_complete=offered_tables,
)
@click.option(
    "--if-absent/--overwrite",
    "only_absent",
    default=True,
    help="What becomes of keys that are there: they are left as they are, or written over.  [default: if-absent]",
)
@click.option("--strip", metavar="PREFIX", default="", help="Take this off the beginning of keys.")
@click.option("--dry-run", is_flag=True, help="Read and check all, write nothing; asks no node.")
@click.pass_obj
def import_(chosen: Chosen, place: str, kind: str, table: str, only_absent: bool, strip: str, dry_run: bool) -> None:
    """Write records from FILE; '-' is stdin.

    \b
    --from jsonl   what 'dynakv export' writes, or lines {"key": ..., "value": ...}
    --from etcd    what 'etcdctl get "" --prefix -w json' prints, or http://HOST:2379
    --from consul  what 'consul kv export' prints, or http://HOST:8500
    --from redis   redis://[:PASSWORD@]HOST:PORT/DB

    The records are yours then, whosever they were. It may be run again.
    """
    if kind != "jsonl" and not table:
        raise click.UsageError(f"say where the records go: --table TABLE; {kind} has no tables")
    try:
        source = source_of(kind, place)
    except SourceError as error:
        fail(str(error), USAGE)
    tally = Tally()
    if dry_run:
        try:
            _read(source, Writer(None, tally, table=table, only_absent=only_absent), strip)
        except SourceError as error:
            fail(str(error))
    else:
        run(chosen, lambda client: _write(client, source, tally, table, only_absent, strip))
    _summarize(chosen, source, tally, dry_run)


def _write(client: Client, source: Source, tally: Tally, table: str, only_absent: bool, strip: str) -> None:
    try:
        _read(source, Writer(client, tally, table=table, only_absent=only_absent), strip)
    except BaseException:
        if tally.has_begun:
            click.echo(f"dynakv: stopped: {tally.said()}; to go on, run the import again", err=True)
        raise


def _read(source: Source, writer: Writer, strip: str) -> None:
    with progress("importing", source.count()) as advance:
        for item in source.items():
            writer.take(stripped(item, strip))
            advance(1)
        writer.flush()


def _summarize(chosen: Chosen, source: Source, tally: Tally, dry_run: bool) -> None:
    for name, why in tally.first_refused:
        click.echo(f"refused: {name}: {why}", err=True)
    more = tally.refused - len(tally.first_refused)
    if more > 0:
        click.echo(f"refused: and {more} more", err=True)
    if source.note():
        click.echo(f"note: {source.note()}", err=True)
    counts = {"written": tally.written, "left": tally.left, "ended": tally.ended, "refused": tally.refused}
    tell(chosen, counts, f"{tally.written} could be written, {tally.refused} refused" if dry_run else tally.said())
    fault = source.fault()
    if fault:
        fail(fault)
    if tally.refused:
        raise SystemExit(REFUSED)
