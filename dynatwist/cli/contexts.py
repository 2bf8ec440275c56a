"""Contexts: clusters by name, each with its URLs and certificates."""

from __future__ import annotations

import os
from typing import Any

import click
import msgspec

from dynatwist.errors import DynakvError
from dynatwist.sansio.urls import checked

from .chosen import Chosen
from .files import config_folder, load, save
from .show import show_rows
from .work import USAGE, fail

USUAL_URL = "http://127.0.0.1:6660"


class Context(msgspec.Struct, frozen=True):
    """One cluster."""

    urls: tuple[str, ...]
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str = ""


class Contexts(msgspec.Struct):
    """All of them, and the one in use."""

    current: str = ""
    by_name: dict[str, Context] = {}


def _path() -> str:
    return os.path.join(config_folder(), "contexts.json")


def _all() -> Contexts:
    return load(_path(), Contexts) or Contexts()


def choose(
    *,
    urls: tuple[str, ...] = (),
    context: str = "",
    cacert: str | None = None,
    cert: str | None = None,
    key: str | None = None,
    **more: Any,
) -> Chosen:
    """What to use: URLs that are given, else a context that is named, else the one in use, else the usual port here.

    :raises click.UsageError: there is no context of that name, or a URL is none.
    """
    known = _all()
    name = context or ("" if urls else known.current)
    found = known.by_name.get(name) if name else Context(())
    if found is None:
        raise click.UsageError(f"there is no context {name!r}; dynakv context list shows those that there are")
    try:
        nodes = tuple(checked(urls or found.urls or (USUAL_URL,)))
    except ValueError as error:
        raise click.BadParameter(str(error).removeprefix("urls: "), param_hint="--url") from None
    cert, key = cert or found.cert, key or found.key
    if bool(cert) != bool(key):
        raise click.UsageError("--cert and --key belong together")
    more["user"] = more.get("user") or found.user
    return Chosen(nodes, cacert or found.ca, (cert, key) if cert and key else None, **more)


@click.group("context")
def context_commands() -> None:
    """Clusters by name: where they are, and which certificates they take."""


@context_commands.command()
@click.argument("name")
@click.option("--url", "urls", multiple=True, required=True, help="A node; repeatable.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False, resolve_path=True), help="Certificates to trust.")
@click.option("--cert", type=click.Path(exists=True, dir_okay=False, resolve_path=True), help="Certificate to show.")
@click.option("--key", type=click.Path(exists=True, dir_okay=False, resolve_path=True), help="Its key.")
@click.option("--user", default="", help="As whom, instead of whoever logged in last.")
def add(name: str, urls: tuple[str, ...], ca: str | None, cert: str | None, key: str | None, user: str) -> None:
    """Add NAME, or change it; the first one is in use at once."""
    try:
        made = Context(tuple(checked(urls)), ca, cert, key, user)
    except ValueError as error:
        raise click.BadParameter(str(error).removeprefix("urls: "), param_hint="--url") from None
    known = _all()
    known.by_name[name] = made
    known.current = known.current or name
    _save(known)
    click.echo(f"added {name}" + (", which is in use" if known.current == name else f"; dynakv context use {name}"))


@context_commands.command()
@click.argument("name")
def use(name: str) -> None:
    """Have commands go to NAME from now on."""
    known = _all()
    _require(known, name)
    known.current = name
    _save(known)
    click.echo(f"{name} is in use")


@context_commands.command()
@click.argument("name")
def remove(name: str) -> None:
    """Forget NAME."""
    known = _all()
    _require(known, name)
    del known.by_name[name]
    known.current = "" if known.current == name else known.current
    _save(known)
    click.echo(f"removed {name}")


@context_commands.command("list")
@click.pass_obj
def show_all(chosen: Chosen) -> None:
    """All contexts; the one in use has a star."""
    known = _all()
    rows = [
        ("*" if name == known.current else "", name, ", ".join(one.urls), one.user, one.ca)
        for name, one in sorted(known.by_name.items())
    ]
    show_rows(chosen, ("", "name", "urls", "user", "ca"), rows)


@context_commands.command("show")
@click.argument("name", required=False)
@click.pass_obj
def show_one(chosen: Chosen, name: str | None) -> None:
    """NAME, or the one in use."""
    known = _all()
    name = name or known.current
    if not name:
        fail(f"no context is in use; commands go to {', '.join(chosen.urls)}")
    _require(known, name)
    one = known.by_name[name]
    fields = {"name": name, **msgspec.structs.asdict(one), "urls": ", ".join(one.urls)}
    show_rows(chosen, tuple(fields), [tuple(fields.values())])


def _require(known: Contexts, name: str) -> None:
    if name not in known.by_name:
        fail(f"there is no context {name!r}; dynakv context list shows those that there are", USAGE)


def _save(known: Contexts) -> None:
    try:
        save(_path(), known)
    except DynakvError as error:
        fail(str(error))
