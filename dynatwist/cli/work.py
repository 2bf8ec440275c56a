"""Running some work with a client, as the commands do, and what a command ends with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dynatwist.errors import DynakvError

from .chosen import Chosen
from .sessions import forget_token, token_for

if TYPE_CHECKING:
    from dynatwist.sync import Client

REFUSED, USAGE, UNREACHABLE, NOT_FOUND, CONDITION, LOGIN = 1, 2, 3, 4, 5, 6
"""Exit statuses: what was asked for was refused, or failed; was no command; no node answered; there is no such record;
a condition did not hold; a login is needed."""
INTERRUPTED = 130
"""As shells have it after Ctrl-C."""
Work = Callable[["Client"], Any]


def fail(text: str, status: int = REFUSED) -> NoReturn:
    """End with one line on stderr."""
    click.echo(f"dynakv: {text}", err=True)
    raise SystemExit(status)


def connected(chosen: Chosen) -> Client:
    """A client for the nodes that were chosen, as the user who is logged in there."""
    from dynatwist.sync import Client

    try:
        client = Client(chosen.urls, ca=chosen.ca, cert=chosen.cert, deadline_s=chosen.timeout_s)
    except (ValueError, OSError) as error:
        fail(str(error), USAGE)
    client.token = chosen.token or token_for(client, chosen.user)
    return client


def alone(chosen: Chosen, node: str | None) -> Chosen:
    """The same, of one node only: HOST:PORT or a URL; the first that was chosen where none is named."""
    if node is None:
        return replace(chosen, urls=chosen.urls[:1])
    scheme = chosen.urls[0].partition("://")[0]
    return replace(chosen, urls=(node if "://" in node else f"{scheme}://{node}",))


def run(chosen: Chosen, work: Work) -> None:
    """Run some work with a client; a fault is one line on stderr and an exit status."""
    from dynatwist.sync import Forbidden, KvError, NotFound, PreconditionFailed, Unauthorized, Unavailable, WatchRefused

    try:
        with connected(chosen) as client:
            work(client)
    except Unauthorized as error:
        if error.code == "bad_token" and not chosen.token:
            with suppress(DynakvError):
                forget_token(chosen.urls, chosen.user)
        fail(f"{error} (dynakv login NAME, or set DYNAKV_TOKEN)", LOGIN)
    except Forbidden as error:
        fail(f"{error} (dynakv login admin)" if error.code == "admin_only" else str(error))
    except NotFound as error:
        fail(str(error), NOT_FOUND)
    except PreconditionFailed as error:
        fail(str(error), CONDITION)
    except Unavailable as error:
        fail(str(error), UNREACHABLE if error.status == 0 else REFUSED)
    except (KvError, DynakvError, WatchRefused, TypeError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
