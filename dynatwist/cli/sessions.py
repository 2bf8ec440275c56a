"""Who is logged in where: a token for each user of each cluster.

A cluster is known by its id, and found by the addresses of its members: whoever has logged in at one node is logged in
at all.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from dynatwist.sansio.errors import KvError

from .files import load, save, state_folder

if TYPE_CHECKING:
    from dynatwist.sync import Client


class Session(msgspec.Struct):
    """Of one cluster.

    :ivar addresses: of its nodes, HOST:PORT, as far as they are known.
    :ivar current: who logged in last.
    :ivar tokens: by user.
    """

    addresses: list[str]
    current: str
    tokens: dict[str, str]


Sessions = dict[str, Session]
"""By the cluster's id."""


def _path() -> str:
    return os.path.join(state_folder(), "sessions.json")


def _all() -> Sessions:
    return load(_path(), Sessions) or {}


def address_of(url: str) -> str:
    """HOST:PORT of a URL; this machine has one name."""
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname in ("localhost", "::1") else parts.hostname or ""
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _find(sessions: Sessions, urls: list[str]) -> str | None:
    """The cluster that one of some nodes belongs to."""
    wanted = {address_of(url) for url in urls}
    return next((name for name, one in sessions.items() if wanted & set(one.addresses)), None)


def token_for(client: Client, user: str) -> str | None:
    """The token of a user, or of whoever logged in last.

    A node that is not known yet is asked which cluster it belongs to, if anybody has logged in anywhere.
    """
    sessions = _all()
    if not sessions:
        return None
    cluster = _find(sessions, client.urls)
    if cluster is None:
        cluster = _cluster_of(client)
        if cluster not in sessions:
            return None
        sessions[cluster].addresses += [address_of(url) for url in client.urls]
        save(_path(), sessions)
    session = sessions[cluster]
    return session.tokens.get(user or session.current)


def who(urls: tuple[str, ...], user: str) -> tuple[str, list[str]]:
    """As whom a command at some nodes is carried out, empty for nobody; and who else is logged in."""
    sessions = _all()
    cluster = _find(sessions, list(urls))
    if cluster is None:
        return "", []
    session = sessions[cluster]
    name = user or session.current
    return (name if name in session.tokens else ""), sorted({*session.tokens} - {name})


def keep_token(client: Client, user: str) -> None:
    """Remember who has just logged in."""
    sessions = _all()
    cluster = _cluster_of(client)
    session = sessions.setdefault(cluster, Session([], user, {}))
    found = {*session.addresses, *map(address_of, client.urls), *_members(client)}
    for name in [one for one in sessions if one != cluster]:  # which is not there any more, where this one is now
        sessions[name].addresses = [address for address in sessions[name].addresses if address not in found]
        if not sessions[name].addresses:
            del sessions[name]
    assert client.token is not None
    sessions[cluster] = Session(sorted(found), user, {**session.tokens, user: client.token})
    save(_path(), sessions)


def forget_token(urls: tuple[str, ...], user: str) -> None:
    """Somebody is logged in no more."""
    sessions = _all()
    cluster = _find(sessions, list(urls))
    if cluster is not None:
        session = sessions[cluster]
        session.tokens.pop(user or session.current, None)
        if user in ("", session.current):
            session.current = next(iter(session.tokens), "")
        save(_path(), sessions)


def _cluster_of(client: Client) -> str:
    """The id of a cluster, or where it shows that to nobody, the address of the node in use."""
    try:
        found: str | None = client.stats()["cluster"]["id"]
    except KvError:
        found = None
    return found or address_of(client.urls[0])


def _members(client: Client) -> list[str]:
    try:
        return list(client.members()["nodes"])
    except KvError:
        return []
