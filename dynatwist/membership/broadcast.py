"""The queue of what is to be piggybacked: each news item a bounded number of times, the least told first."""

from __future__ import annotations

from math import ceil, log10

from .messages import ENCODER, Alive, Dead, Suspect

RETRANSMIT_MULTIPLIER = 4
"""Times the logarithm of the number of members: how often news is passed on, as in memberlist."""


class BroadcastQueue:
    """News about members; newer news of a member replaces older."""

    def __init__(self) -> None:
        self._items: dict[bytes, tuple[int, bytes, Alive | Suspect | Dead]] = {}

    def add(self, news: Alive | Suspect | Dead) -> None:
        """Queue news."""
        self._items[news.node] = (0, ENCODER.encode(news), news)

    def discard(self, node: bytes) -> None:
        """What is known of a member is no news to others."""
        self._items.pop(node, None)

    def take(self, room_bytes: int, members: int) -> list[Alive | Suspect | Dead]:
        """News that fits into a packet; each counts as told once more.

        :param members: how many there are; news is told ``4 * ceil(log10(members + 1))`` times.
        """
        limit = RETRANSMIT_MULTIPLIER * ceil(log10(members + 1) or 1)
        taken: list[Alive | Suspect | Dead] = []
        for node, (told, encoded, news) in sorted(self._items.items(), key=lambda item: (item[1][0], item[0])):
            if len(encoded) > room_bytes:
                continue
            room_bytes -= len(encoded)
            taken.append(news)
            if told + 1 >= limit:
                del self._items[node]
            else:
                self._items[node] = (told + 1, encoded, news)
        return taken

    def __len__(self) -> int:
        return len(self._items)
