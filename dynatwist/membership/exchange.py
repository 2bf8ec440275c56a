"""What a node tells of its view, in pages that fit into packets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .members import State
from .messages import ENCODER, Alive, Dead, States
from .view import View, bucket_of

MAX_PAGES = 16
"""Of one exchange; what is left differs still, and comes with the next one."""
_BUCKET_BYTES = 12
_HEAD_BYTES = 16


def pages(
    view: View, buckets: list[int], digest: Callable[[int], bytes] | None, payload_bytes: int
) -> Iterator[States]:
    """The members in some buckets.

    :param buckets: told in this order, as many as there is room for.
    :param digest: of a bucket; ``None`` when no answer is wanted.
    """
    if not buckets:
        return
    members: dict[int, list[bytes]] = {bucket: [] for bucket in buckets}
    for node in view.alive:
        found = members.get(bucket_of(node))
        if found is not None:
            found.append(node)
    page: list[Alive | Dead] = []
    told: dict[int, bytes] = {}
    room, count = payload_bytes - _HEAD_BYTES, 1

    def turn(size: int) -> Iterator[States]:
        """Make room for something, with a new page if need be."""
        nonlocal page, told, room, count
        if size > room:
            yield States(page, told)
            page, told, room, count = [], {}, payload_bytes - _HEAD_BYTES, count + 1
        room -= size

    for bucket in buckets:
        for node in sorted(members[bucket]):
            for state in states_of(view, node):
                yield from turn(len(ENCODER.encode(state)))
                page.append(state)
        if digest is not None:
            yield from turn(_BUCKET_BYTES)
            told[bucket] = digest(bucket)
        if count >= MAX_PAGES:
            break
    yield States(page, told)


def states_of(view: View, node: bytes) -> list[Alive | Dead]:
    """What is known of one member: what it said of itself, and how it went down."""
    fate = view.fates.get(node)
    if fate is None:
        return [view.alive[node]]
    return [view.alive[node], Dead(node, fate.incarnation, node if fate.state is State.LEFT else b"")]
