"""Commands about who asks: register, login, logout, whoami."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import click

from .chosen import Chosen
from .sessions import forget_token, keep_token, who
from .show import show_rows
from .work import LOGIN, REFUSED, fail, run

if TYPE_CHECKING:
    from dynatwist.sync import Client

ADMIN = "admin"

_secret = click.option(
    "--secret", envvar="DYNAKV_SECRET", prompt="Secret", hide_input=True, help="Asked when not given."
)


def _logged_in(client: Client, name: str) -> None:
    keep_token(client, name)
    click.echo(f"logged in as {name}")


@click.command()
@click.argument("name")
@_secret
@click.pass_obj
def register(chosen: Chosen, name: str, secret: str) -> None:
    """Register a user, and log in."""
    from dynatwist.sync import KvError

    def work(client: Client) -> None:
        try:
            client.register(name, secret)
        except KvError as error:
            if error.code == "user_exists":
                fail(f"{name} is registered already; dynakv login {name}")
            raise
        _logged_in(client, name)

    run(chosen, work)


@click.command()
@click.argument("name")
@_secret
@click.pass_obj
def login(chosen: Chosen, name: str, secret: str) -> None:
    """Log in; as 'admin' with the administrator's password."""
    from dynatwist.sync import NotFound, Unauthorized

    def work(client: Client) -> None:
        try:
            if name == ADMIN:
                client.login_admin(secret)
            else:
                client.login(name, secret, registers=False)
        except NotFound:
            _register_if_wanted(client, name, secret)
        except Unauthorized as error:
            fail(str(error), LOGIN)
        _logged_in(client, name)

    run(chosen, work)


def _register_if_wanted(client: Client, name: str, secret: str) -> None:
    """Whoever has mistyped a name has no use for a new user."""
    if not sys.stdin.isatty():
        fail(f"{name} is not registered; dynakv register {name}")
    if not click.confirm(f"{name} is not registered; register it?", err=True):
        raise SystemExit(REFUSED)
    client.register(name, secret)


@click.command()
@click.argument("name", required=False)
@click.pass_obj
def logout(chosen: Chosen, name: str | None) -> None:
    """Have all tokens of a user stop working, and forget the one here; of whoever is logged in when not named."""
    from dynatwist.sync import Unauthorized

    current, others = who(chosen.urls, chosen.user)
    user = name or current
    if not user:
        fail("nobody is logged in here", LOGIN)

    def work(client: Client) -> None:
        try:
            if user != ADMIN:
                client.logout(user)
            said = "logged out"
        except Unauthorized:
            said = "the token had ended already; it is forgotten"
        forget_token(chosen.urls, user)
        click.echo(said)

    run(replace(chosen, user=user) if user in (current, *others) else chosen, work)


@click.command()
@click.pass_obj
def whoami(chosen: Chosen) -> None:
    """As whom commands are carried out, and until when."""
    name, others = who(chosen.urls, chosen.user)
    if chosen.token:
        name, others = "whoever DYNAKV_TOKEN belongs to", []
    if not name:
        fail(f"nobody is logged in at {chosen.urls[0]} (dynakv login NAME)", LOGIN)

    def work(client: Client) -> None:
        client.ticket()  # the token counts, or this says that it does not
        until = _end_of(client.token or "")
        rows = [(name, until, client.urls[0], ", ".join(others))]
        show_rows(chosen, ("user", "until", "node", "also logged in"), rows)

    run(chosen, work)


def _end_of(token: str) -> str:
    """When a token ends, as it says itself."""
    from base64 import urlsafe_b64decode

    import msgspec

    try:
        payload = token.split(".")[1]
        end_s = msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
        return datetime.fromtimestamp(end_s).astimezone().strftime("%Y-%m-%d %H:%M")
    except (IndexError, KeyError, ValueError, TypeError, msgspec.MsgspecError):
        return ""
