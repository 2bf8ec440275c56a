"""Records asked of a peer by their keys, however many and however large: each answer is bounded in bytes, and what it
does not cover is asked for again."""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.model.record import Key, Record
from dynatwist.model.records import unpack
from dynatwist.net.link import CALL_TIMEOUT_S
from dynatwist.net.messages import Fetch, Fetched
from dynatwist.net.replies import Reply
from dynatwist.sometimes import sometimes

from .cluster import Cluster
from .switchboard import Respond

OVERHEAD_BYTES = 200
"""Of a record in an answer, beside the record."""


def fetch(
    cluster: Cluster,
    node: bytes,
    keys: list[Key],
    take: Callable[[list[tuple[Key, Record]]], None],
    done: Callable[[bool], None],
    timeout_s: float = CALL_TIMEOUT_S,
) -> None:
    """Ask a peer for what it holds.

    :param take: called with some records, several times.
    :param done: called once at the end; whether the peer answered for all keys.
    :param timeout_s: of each answer.
    """

    def replied(reply: Reply) -> None:
        if not isinstance(reply, Fetched) or not reply.covered:
            done(False)
            return
        asked = set(keys)
        take([(key, record) for key, record in reply.records if key in asked])
        left = keys[reply.covered :] if reply.covered > 0 else []
        if left:
            fetch(cluster, node, left, take, done, timeout_s)
        else:
            done(True)

    cluster.links.call(node, Fetch(keys, cluster.answer_bytes), replied, timeout_s=timeout_s)


def answer_fetch(cluster: Cluster, message: Fetch, respond: Respond) -> None:
    """What is held of some keys, or of the first of them: as many as the asker has room for."""
    store = cluster.store
    found: list[tuple[Key, Record]] = []
    covered, room = -1, message.room_bytes
    for number, key in enumerate(message.keys):
        packed = store.replica_of(key).records.packed(key)
        if packed is None:
            continue
        room -= len(packed) + OVERHEAD_BYTES
        if found and room < 0 and message.room_bytes:
            sometimes("records that were asked for do not fit into one answer")
            covered = number
            break
        found.append((key, unpack(packed)))
    answer = Fetched(found, covered)
    store.readable.when_keys(message.keys, lambda: respond(answer))
