"""``dynakv edit``: a record in an editor, written back only if nobody else has written meanwhile."""

from __future__ import annotations

import difflib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from .arguments import key_argument, table_argument
from .chosen import Chosen
from .records import show_records
from .work import CONDITION, fail, run

if TYPE_CHECKING:
    from dynatwist.sync import Client, PreconditionFailed


@click.command()
@table_argument
@key_argument
@click.pass_obj
def edit(chosen: Chosen, table: str, key: str) -> None:
    """Change a record in $VISUAL or $EDITOR; a new one begins as {}.

    It is written only if nobody else has written meanwhile. Else the difference is shown, and your text kept.
    """
    from dynatwist.sync import NotFound, PreconditionFailed

    def work(client: Client) -> None:
        try:
            record = client.get(table, key)
            before, tag, ends_ms = as_text(record.value), record.etag, record.expires_at
        except NotFound:
            before, tag, ends_ms = "{\n}\n", None, None
        path = in_a_file(before)
        value = edited(path, before)
        if value is None:
            os.unlink(path)
            click.echo("nothing was changed")
            return
        try:
            left_s = None if ends_ms is None else max(1, round(ends_ms / 1000 - time.time()))
            written = client.put(table, key, value, ttl=left_s, if_match=tag, if_none_match=tag is None)
        except PreconditionFailed as error:
            _show_difference(error, value)
            fail(f"somebody else has written {key} meanwhile; your text is in {path}", CONDITION)
        except Exception:
            click.echo(f"dynakv: your text is in {path}", err=True)
            raise
        os.unlink(path)
        show_records(chosen, {key: written}, only_values=False)

    run(chosen, work)


def as_text(value: Any) -> str:
    """A value as people edit it."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def in_a_file(text: str) -> str:
    """Write a text to a new file for an editor; answers its path."""
    handle, path = tempfile.mkstemp(prefix="dynakv-", suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def edited(path: str, before: str) -> dict[str, Any] | None:
    """What comes out of the editor, opened again where that is no JSON object; ``None`` if nothing was changed."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    while True:
        try:
            done = subprocess.run([*editor, path], check=False)
        except OSError as error:
            os.unlink(path)
            fail(f"{editor[0]}: {error.strerror}; set EDITOR")
        if done.returncode:
            fail(f"{editor[0]} ended with {done.returncode}; your text is in {path}")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if text == before:
            return None
        try:
            value: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
            return value
        except msgspec.MsgspecError as error:
            said = f"this is no JSON object: {error}"
        if not sys.stdin.isatty() or not click.confirm(f"{said}. Edit again?", default=True, err=True):
            fail(f"{said}; your text is in {path}")


def _show_difference(error: PreconditionFailed, mine: dict[str, Any]) -> None:
    theirs = "" if error.held is None else as_text(error.held.value)
    lines = difflib.unified_diff(theirs.splitlines(), as_text(mine).splitlines(), "held now", "yours", lineterm="")
    colours = {"+": "green", "-": "red"}
    for line in lines:
        click.secho(line, fg=colours.get(line[0]), err=True)
