"""Lists that a node answers page by page, and what a command says that has changed something."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from .chosen import Chosen
from .show import show

if TYPE_CHECKING:
    from dynatwist.sync import Client


def pages(client: Client, path: str) -> Iterator[dict[str, Any]]:
    """All pages of a list; each names in ``next_after`` where the next one begins."""
    from urllib.parse import quote

    after: str | None = ""
    while after is not None:
        page = client.call("GET", f"{path}?after={quote(after, safe='')}")
        yield page
        after = page["next_after"]


def path_of(*parts: str) -> str:
    """A path of segments that may have any characters."""
    from urllib.parse import quote

    return "".join(f"/{quote(part, safe='')}" for part in parts)


def tell(chosen: Chosen, answer: Any, text: str) -> None:
    """Say what was done: in words, or as the node has answered it where a format was chosen."""
    if chosen.output in ("", "table"):
        click.echo(text)
    else:
        show(answer, chosen.output)
