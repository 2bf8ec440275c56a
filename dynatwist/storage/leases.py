"""The live records that depend on the life of a process, by that process: nobody looks at all records for them."""

from __future__ import annotations

from collections.abc import Iterator

from dynatwist.model.dots import Actor
from dynatwist.model.lease import Lease
from dynatwist.model.record import Key


class Leases:
    """See the module."""

    def __init__(self) -> None:
        self._keys: dict[Actor, dict[int, dict[Key, None]]] = {}
        self._news: set[Actor] = set()

    def add(self, key: Key, lease: Lease) -> None:
        """A record with a lease is held."""
        self._keys.setdefault(lease.actor, {}).setdefault(lease.ttl_s, {})[key] = None
        self._news.add(lease.actor)

    def discard(self, key: Key, lease: Lease) -> None:
        """It is not any more."""
        by_ttl = self._keys.get(lease.actor, {})
        keys = by_ttl.get(lease.ttl_s, {})
        keys.pop(key, None)
        if not keys:
            by_ttl.pop(lease.ttl_s, None)
        if not by_ttl:
            self._keys.pop(lease.actor, None)

    def actors(self) -> frozenset[Actor]:
        """The processes that records depend on."""
        return frozenset(self._keys)

    def take_news(self) -> set[Actor]:
        """The processes of which a record has come since the last call."""
        news, self._news = self._news, set()
        return news

    def over(self, actor: Actor, silent_s: float) -> Iterator[Key]:
        """The records whose lease has ended, if a process was not heard of for so long, as they are held now."""
        for ttl_s, keys in list(self._keys.get(actor, {}).items()):
            if ttl_s <= silent_s:
                yield from list(keys)

    def __len__(self) -> int:
        """How many records there are."""
        return sum(len(keys) for by_ttl in self._keys.values() for keys in by_ttl.values())
