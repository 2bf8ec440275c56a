"""Bringing a backup back into a cluster, with increments on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dynatwist.backups.entries import Entry
from dynatwist.backups.selection import SYSTEM, Selection, is_system

from .backup_files import BackupChain, chain_argument, told
from .backup_keys import key_option
from .backup_words import require
from .chosen import Chosen
from .progress import progress
from .show import counted
from .work import fail, run

if TYPE_CHECKING:
    from dynatwist.sync import Client

    from .restoring import Restoring


@click.command()
@chain_argument
@click.option("--table", "tables", multiple=True, metavar="T", help="Only this table; repeatable.")
@click.option("--prefix", default="", metavar="P", help="Only keys that begin so.")
@click.option("--overwrite", is_flag=True, help="Write over what is there.")
@click.option("--if-absent", is_flag=True, help="Leave what is there, the default.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say what would be done.")
@key_option
@click.pass_obj
def restore(
    chosen: Chosen,
    paths: tuple[str, ...],
    tables: tuple[str, ...],
    prefix: str,
    overwrite: bool,
    if_absent: bool,
    is_dry: bool,
    key_file: str | None,
) -> None:
    """Bring the backup FILE, and increments on it, back into a cluster; log in as admin first.

    By default what is there stays. It may be run again after it was interrupted. With --table or --prefix, users,
    groups and service tokens stay as they are.
    """
    if overwrite and if_absent:
        raise click.UsageError("--overwrite and --if-absent: give one of them")
    with told():
        chain = BackupChain(paths, key_file)

        def work(client: Client) -> None:
            from .restoring import Restoring

            selection = Selection(tables, prefix)
            system = _system_of(chain, selection)
            restoring = Restoring(client, overwrite=overwrite, is_dry=is_dry, patience_s=chosen.timeout_s)
            for table in SYSTEM:
                restoring.restore([one for one in system if one.table == table])
            with progress("restoring", chain.size_bytes) as advance:
                for entries, read_bytes in chain.pieces():
                    restoring.restore([one for one in entries if selection.takes(one) and not is_system(one.table)])
                    advance(read_bytes)
            _say_restored(restoring, is_dry=is_dry)

        run(chosen, work)


def _system_of(chain: BackupChain, selection: Selection) -> list[Entry]:
    """What the system keeps, once all was read and so is known to be whole."""
    system: list[Entry] = []
    met: set[str] = set()
    with progress("verifying", chain.size_bytes) as advance:
        for entries, read_bytes in chain.pieces():
            system += [one for one in entries if is_system(one.table) and selection.takes(one)]
            met.update(one.table for one in entries)
            advance(read_bytes)
    require(selection.tables, met, "there is no table {!r} in it")
    return system


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
