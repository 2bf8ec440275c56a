"""Comparing views: when, and what a node tells of its own, in pages that fit into packets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .actions import Random, Send, Whom
from .budget import Budget
from .claims import Claims
from .members import State
from .messages import ENCODER, Alive, Compare, Dead, States
from .outbox import Outbox
from .settings import SwimSettings
from .view import View, bucket_of

MAX_PAGES = 16
"""Of one exchange; what is left differs still, and comes with the next one."""
_BUCKET_BYTES = 12
"""Number and digest of a bucket, encoded."""
_HEAD_BYTES = 16
"""What goes around a page of them."""


class Exchange:
    """When to compare views, and how much to tell. The last comparison may have shown members never met; then the next
    one is due soon.
    """

    def __init__(self, *, settings: SwimSettings, random: Random, view: View, claims: Claims, outbox: Outbox) -> None:
        self._settings = settings
        self._random = random
        self._view = view
        self._claims = claims
        self._outbox = outbox
        self._budget = Budget(settings.exchange_bytes_s)
        self._last_s = float("-inf")
        self._learning = False

    def notice(self, now_s: float, whom: Whom, digest: int) -> None:
        """Compare with somebody whose view differs."""
        if digest and digest != self._view.digest and self._is_due(now_s):
            self.ask(whom)

    def _is_due(self, now_s: float) -> bool:
        """Whether to compare with somebody whose view differs; news that is under way may be why."""
        patience = self._settings.exchange_patience if self._outbox.news and not self._learning else 1.0
        if now_s < self._last_s + patience * self._settings.exchange_interval_s:
            return False
        self._last_s = now_s
        self._learning = False
        return True

    def ask(self, whom: Whom) -> None:
        """Ask where views differ. We say who we are as well: a stranger is told apart by that."""
        self._outbox.actions.append(Send(whom, [self._claims.me, Compare(self._view.digests())]))

    def answer(self, now_s: float, whom: Whom, digests: bytes) -> None:
        """Tell somebody what is known here of the buckets in which our views differ."""
        differing = self._view.differing(digests)
        self._random.shuffle(differing)
        self._tell(now_s, whom, differing, self._view.bucket_digest)

    def take_in(self, now_s: float, whom: Whom, states: list[Alive | Dead], buckets: dict[int, bytes]) -> None:
        """Somebody tells what it knows; tell it what is known here besides."""
        self._learning |= self._claims.take_in(now_s, states)
        differing = [n for n, digest in sorted(buckets.items()) if self._view.bucket_digest(n) != digest]
        self._tell(now_s, whom, differing, None)

    def _tell(self, now_s: float, whom: Whom, buckets: list[int], digest: Callable[[int], bytes] | None) -> None:
        """`pages`, as far as there is budget for them; whoever misses some will ask again."""
        for page in pages(self._view, buckets, digest, self._settings.payload_bytes):
            if not self._budget.take(now_s, self._settings.payload_bytes):
                return
            self._outbox.actions.append(Send(whom, [page]))


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
