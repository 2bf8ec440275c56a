"""Commands about records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from .arguments import json_fields, json_object, key_argument, keys_argument, level_type, table_argument
from .chosen import Chosen
from .show import print_table, show
from .work import NOT_FOUND, fail, run

if TYPE_CHECKING:
    from dynatwist.sync import Client, Record

PAGE = 500
"""Keys that are deleted in one batch: it takes some milliseconds, and a node takes no more than a thousand."""


def show_records(chosen: Chosen, found: dict[str, Record[dict[str, Any]]], *, only_values: bool) -> None:
    """One record as it is, several by key."""
    if chosen.output == "table":
        rows = [(key, one.value, one.version, one.owner, one.etag) for key, one in found.items()]
        print_table(("key", "value", "version", "owner", "etag"), rows)
        return
    shown = {key: one.value if only_values or chosen.output == "raw" else one for key, one in found.items()}
    if len(shown) == 1:
        show(next(iter(shown.values())), chosen.output)
    else:
        show(shown, chosen.output)


@click.command()
@table_argument
@key_argument
@click.argument("value", nargs=-1, required=True, callback=json_fields)
@click.option("-w", "level", type=level_type, help="How many owners have to have it.")
@click.option("--ttl", type=click.IntRange(1), help="Seconds until it expires.")
@click.option("--if-match", metavar="ETAG", help="Only if that is held.")
@click.option("--if-none-match", is_flag=True, help="Only if there is none.")
@click.pass_obj
def put(
    chosen: Chosen,
    table: str,
    key: str,
    value: dict[str, Any],
    level: str | None,
    ttl: int | None,
    if_match: str | None,
    if_none_match: bool,
) -> None:
    """Write a record.

    VALUE is a JSON object, '-' for one on stdin, @FILE for one in a file, or fields such as level=42 name=Ann.
    """

    def work(client: Client) -> None:
        record = client.put(table, key, value, w=level, ttl=ttl, if_match=if_match, if_none_match=if_none_match)
        show_records(chosen, {key: record}, only_values=False)

    run(chosen, work)


@click.command()
@table_argument
@key_argument
@click.argument("changes", callback=json_object)
@click.option("--if-match", metavar="ETAG", help="Only if that is held.")
@click.pass_obj
def patch(chosen: Chosen, table: str, key: str, changes: dict[str, Any], if_match: str | None) -> None:
    """Merge CHANGES, a JSON object, into a record (RFC 7396); null takes a field away."""
    run(
        chosen,
        lambda client: show_records(
            chosen, {key: client.patch(table, key, changes, if_match=if_match)}, only_values=False
        ),
    )


@click.command()
@table_argument
@keys_argument
@click.option("-r", "level", type=level_type, help="How many owners are asked.")
@click.option("--value", "only_value", is_flag=True, help="Print only the value.")
@click.pass_obj
def get(chosen: Chosen, table: str, keys: tuple[str, ...], level: str | None, only_value: bool) -> None:
    """Read a record, or several."""
    if not keys:
        raise click.MissingParameter(param_type="argument", param_hint="KEY")

    def work(client: Client) -> None:
        if len(keys) == 1:
            found = {keys[0]: client.get(table, keys[0], r=level)}
        else:
            many = client.get_many(table, keys)
            found = {key: many[key] for key in keys if key in many}
        if found:
            show_records(chosen, found, only_values=only_value)
        missing = [key for key in keys if key not in found]
        if missing:
            fail(f"there is no {', '.join(missing)} in {table}", NOT_FOUND)

    run(chosen, work)


@click.command()
@table_argument
@key_argument
@click.argument("ttl", type=click.IntRange(1))
@click.pass_obj
def touch(chosen: Chosen, table: str, key: str, ttl: int) -> None:
    """Have a record end TTL seconds from now, as it is."""
    run(chosen, lambda client: show_records(chosen, {key: client.touch(table, key, ttl)}, only_values=False))


@click.command("del")
@table_argument
@keys_argument
@click.option("--prefix", help="All keys that begin so; says how many, and asks.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--if-match", metavar="ETAG", help="Only if that is held.")
@click.pass_obj
def delete(
    chosen: Chosen, table: str, keys: tuple[str, ...], prefix: str | None, yes: bool, if_match: str | None
) -> None:
    """Delete records."""
    if bool(keys) == (prefix is not None):
        raise click.UsageError("give keys, or --prefix")
    if if_match is not None and len(keys) != 1:
        raise click.UsageError("--if-match is for one key")

    def work(client: Client) -> None:
        if len(keys) == 1:
            client.delete(table, keys[0], if_match=if_match)
            return
        wanted = list(keys) or list(client.scan(table, prefix or ""))
        if prefix is not None:
            if not wanted:
                fail(f"no key in {table} begins with {prefix!r}", NOT_FOUND)
            _confirm(table, prefix, wanted, yes)
        _delete_all(client, table, wanted)

    run(chosen, work)


def _confirm(table: str, prefix: str, keys: list[str], yes: bool) -> None:
    what = f"{len(keys)} {'key' if len(keys) == 1 else 'keys'} of {table} that begin with {prefix!r}"
    if not yes and not click.confirm(f"delete {what}, from {keys[0]} to {keys[-1]}?", err=True):
        fail("nothing was deleted")


def _delete_all(client: Client, table: str, keys: list[str]) -> None:
    pages = [keys[begin : begin + PAGE] for begin in range(0, len(keys), PAGE)]
    failed: list[str] = []
    for page in _with_progress(pages):
        results = client.batch(table, [{"op": "delete", "key": key} for key in page])
        failed += [
            f"{key}: {result.get('error', result['status'])}"
            for key, result in zip(page, results, strict=True)
            if result["status"] >= 400
        ]
    if failed:
        fail(f"{len(failed)} of {len(keys)} were not deleted; the first: {failed[0]}")


def _with_progress(pages: list[list[str]]) -> Iterable[list[str]]:
    """The pages, with a bar on a terminal when there are many."""
    import sys

    if len(pages) < 3 or not sys.stderr.isatty():
        yield from pages
        return
    with click.progressbar(pages, label="deleting", file=sys.stderr) as shown:
        yield from shown


@click.command()
@table_argument
@click.option("--prefix", default="", help="Only those that begin so.")
@click.option("--after", default="", help="Only those behind this one.")
@click.option("--limit", type=click.IntRange(1), help="So many at most.")
@click.pass_obj
def keys(chosen: Chosen, table: str, prefix: str, after: str, limit: int | None) -> None:
    """List keys, one a line."""

    def work(client: Client) -> None:
        found = client.keys(table, prefix, after, limit) if limit or after else client.scan(table, prefix)
        if chosen.output in ("json", "yaml"):
            show(list(found), chosen.output)
            return
        for key in found:
            click.echo(key)

    run(chosen, work)
