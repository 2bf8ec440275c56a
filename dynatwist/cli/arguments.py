"""Arguments that several commands take, and what the shell offers for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click
import msgspec

from .chosen import Chosen

COMPLETE_S = 1.0
"""Whoever presses the tab key waits no longer; then nothing is offered."""
MOST_OFFERED = 100


def json_text(text: str) -> Any:
    """JSON from the command line, from stdin for ``-``, or from a file for ``@FILE``.

    :raises ValueError: it is none, or cannot be read.
    """
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            with open(text[1:], encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{text[1:]}: {error}") from None
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON: {error}") from None


def json_object(context: click.Context, parameter: click.Parameter, text: str) -> dict[str, Any]:
    """The JSON object that an argument is; for `click.argument`'s ``callback``."""
    try:
        found = json_text(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None
    if not isinstance(found, dict):
        raise click.BadParameter("expected a JSON object, such as '{\"level\": 42}'", context, parameter)
    return found


def json_fields(context: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> dict[str, Any]:
    """A JSON object from one word that is one, or from words such as ``level=42 name=Ann``."""
    if len(words) == 1 and (words[0][:1] in ("{", "[", "@", "-") or "=" not in words[0]):
        return json_object(context, parameter, words[0])
    found: dict[str, Any] = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not name or not separator:
            text = f"{word!r} is no field; write NAME=VALUE, or one JSON object in quotes"
            raise click.BadParameter(text, context, parameter)
        try:
            found[name] = msgspec.json.decode(text)
        except msgspec.MsgspecError:
            found[name] = text
    return found


Offer = Callable[[Any, click.Context], list[str]]


def _offered(find: Offer) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """What the shell offers; nothing where the cluster does not answer at once."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
        from dataclasses import replace

        from .work import connected

        root = context.find_root()
        chosen = root.obj if isinstance(root.obj, Chosen) else chosen_of(root)
        with suppress(Exception, SystemExit), connected(replace(chosen, timeout_s=COMPLETE_S)) as client:
            return [name for name in find(client, context) if name.startswith(begun)][:MOST_OFFERED]
        return []

    return complete


def chosen_of(root: click.Context) -> Chosen:
    """What was chosen, where the command itself did not run: while the shell completes."""
    from .contexts import choose

    given = root.params
    return choose(urls=given.get("urls") or (), context=given.get("context") or "", cacert=given.get("cacert"))


def _keys(client: Any, context: click.Context) -> list[str]:
    found: list[str] = client.keys(context.params["table"], limit=10 * MOST_OFFERED)
    return found


offered_tables = _offered(lambda client, context: sorted(client.stats()["tables"]))
table_argument = click.argument("table", shell_complete=offered_tables)
key_argument = click.argument("key", shell_complete=_offered(_keys))
keys_argument = click.argument("keys", nargs=-1, metavar="KEY...", shell_complete=_offered(_keys))
level_type = click.Choice(["one", "quorum", "majority", "all"])
