"""Asking the nodes of a cluster, for the doctor."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from dynatwist.health.members import MemberSeen
from dynatwist.sync import Client, Forbidden, KvError, Unauthorized, Unavailable

from .looking import certificate_seen
from .seen import CertificateSeen, ClusterSeen, NodeSeen

Connect = Callable[[Sequence[str]], Client]
"""Makes a client of some nodes, as the user who asks."""
CERTIFICATE_S = 3.0
"""For a node to show its certificate; as long as it takes to be taken for dead."""


def ask(urls: Sequence[str], is_named: bool, connect: Connect) -> ClusterSeen:
    """Ask some nodes, and the members of which the first one that answers tells."""
    members: tuple[MemberSeen, ...] = ()
    unseen: tuple[str, ...] = ()
    counted, problem, needs_login = 0, "", False
    try:
        with connect(urls) as client:
            shown = client.members()["nodes"]
            members, counted = tuple(_members(shown)), client.stats()["cluster"]["members"]
            unseen = tuple(_unseen(client, {node["id"] for node in shown.values()}))
    except (Unauthorized, Forbidden):
        problem, needs_login = "only the administrator is told of the members", True
    except KvError as error:
        problem = str(error)
    scheme = urlsplit(urls[0]).scheme
    every = tuple(dict.fromkeys((*urls, *(f"{scheme}://{member.address}" for member in members))))
    return ClusterSeen(
        urls=tuple(urls),
        is_named=is_named,
        nodes=tuple(_node(url, connect) for url in every),
        members=members,
        counted=counted,
        unseen=unseen,
        problem=problem,
        needs_login=needs_login,
        certificates=tuple(_certificate(url) for url in every if url.startswith("https:")),
    )


def _members(shown: dict[str, Any]) -> Iterator[MemberSeen]:
    for address, node in sorted(shown.items()):
        yield MemberSeen(address, node["status"], node["ready"], node["registered"], node["version"])


def _unseen(client: Client, shown: set[str]) -> Iterator[str]:
    """Members that are not shown; only the administrator is told of them."""
    try:
        registered = client.call("GET", "/admin/members")["members"]
    except KvError:
        return
    for member in registered:
        if member["id"] not in shown:
            yield f"{member['id']} at {member['address']}"


def _node(url: str, connect: Connect) -> NodeSeen:
    try:
        with connect([url]) as client:
            client.call("GET", "/heartbeat")  # the connection is there then, and the next one is timed
            began_s, monotonic_s = time.time(), time.monotonic()
            answer = client.call("GET", "/heartbeat")
            took_s = time.monotonic() - monotonic_s
            standing = _standing(client)
    except (KvError, KeyError, TypeError) as error:
        return NodeSeen(url, problem=str(error) or "answers, and is no node")
    return NodeSeen(
        url=url,
        clock_ahead_s=answer["timestamp"] / 1000 - (began_s + took_s / 2),
        unsure_s=took_s / 2,
        is_ready=standing.get("ready", False),
        not_whole=standing.get("partitions_not_whole", 0),
        findings=tuple(standing.get("findings", ())),
    )


def _standing(client: Client) -> dict[str, Any]:
    """What ``/readyz`` says; a node that does not serve yet says no more than that."""
    try:
        found: dict[str, Any] = client.call("GET", "/readyz")
    except Unavailable as error:
        if error.status == 0:
            raise
        return {}
    return found


def _certificate(url: str) -> CertificateSeen:
    parts = urlsplit(url)
    try:
        pem = ssl.get_server_certificate((parts.hostname or "", parts.port or 443), timeout=CERTIFICATE_S)
    except OSError as error:
        return CertificateSeen(url, problem=error.strerror or str(error))
    return certificate_seen(url, pem.encode())
