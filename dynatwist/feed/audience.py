"""Who listens to what: subscriptions by key, and by table and prefix; and by what each may see.

To find who listens to a key costs what matches it, not what listens: one look for the key, and one for each length that
prefixes of its table have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dynatwist.model.record import Key

from .event import Event
from .heard import Heard
from .sight import Sight
from .subscription import Subscription

Groups = dict[Sight, dict[Subscription, None]]
"""Subscriptions by what they may see, which is the same of all that one user has."""


class _Prefixes:
    """Subscriptions to a table, by the prefix of keys that they want."""

    __slots__ = ("_by_prefix", "_lengths")

    def __init__(self) -> None:
        self._by_prefix: dict[str, Groups] = {}
        self._lengths: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._by_prefix)

    def having(self, prefix: str) -> Groups:
        """Those with a prefix, to be added to."""
        groups = self._by_prefix.get(prefix)
        if groups is None:
            groups = self._by_prefix[prefix] = {}
            self._lengths[len(prefix)] += 1
        return groups

    def drop(self, prefix: str) -> None:
        """Nobody wants that prefix any more."""
        del self._by_prefix[prefix]
        self._lengths[len(prefix)] -= 1
        if not self._lengths[len(prefix)]:
            del self._lengths[len(prefix)]

    def of(self, name: str) -> Iterator[Groups]:
        """Those with prefixes that a name begins with."""
        for length in self._lengths:
            if length > len(name):  # else a prefix that is the whole name would be found by its own length, and by this
                continue
            groups = self._by_prefix.get(name[:length])
            if groups is not None:
                yield groups


class Audience:
    """See the module. A subscription enters first, and joins the others once it was told what it had missed."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Groups] = {}
        self._by_table: dict[str | None, _Prefixes] = {}
        self._members: dict[Subscription, None] = {}
        self._newcomers: dict[Subscription, None] = {}

    def __len__(self) -> int:
        return len(self._members)

    def members(self) -> list[Subscription]:
        """All of them, in the order in which they came."""
        return list(self._members)

    def has(self, key: Key) -> bool:
        """Whether anybody listens who could have to be told of a key."""
        return next(self._groups_for(key), None) is not None

    def of(self, key: Key | None, event: Event | None) -> list[Subscription]:
        """Who listens to a key and may see an event; of no event, everybody; for no key, whoever listens to anything.

        Whoever may see nothing of it costs one question, however many subscriptions it has.
        """
        if key is None:
            return list(self._members)
        found: list[Subscription] = []
        for groups in self._groups_for(key):
            for sight, group in groups.items():
                if event is None or event.is_shown(sight):
                    found.extend(group)
        return found

    def _groups_for(self, key: Key) -> Iterator[Groups]:
        groups = self._by_key.get(key)
        if groups is not None:
            yield groups
        for table in (key[0], None):
            prefixes = self._by_table.get(table)
            if prefixes is not None:
                yield from prefixes.of(key[1])

    def enter(self, subscription: Subscription) -> None:
        """One more, which is not told of events yet."""
        self._members[subscription] = None

    def join(self, subscription: Subscription) -> None:
        """It is told of events from now on."""
        table, key = subscription.table, subscription.key
        if key is not None and table is not None:
            groups = self._by_key.setdefault((table, key), {})
        else:
            groups = self._by_table.setdefault(table, _Prefixes()).having(subscription.prefix)
        groups.setdefault(subscription.sight, {})[subscription] = None

    def came_from_elsewhere(self, subscription: Subscription) -> None:
        """It has heard what was announced at another node, and is not to hear that again."""
        self._newcomers[subscription] = None

    def settle(self, heard: Heard) -> None:
        """So much was announced here: whoever has heard no more elsewhere need not be asked any longer."""
        asked: dict[tuple[Heard, int], bool] = {}  # many come from one node, and have heard the same
        for subscription in list(self._newcomers):
            known, partitions = subscription.known, subscription.partitions
            one = (known, len(partitions) if len(partitions) > 1 else -partitions[0]) if known is not None else None
            if one is not None and one not in asked:
                asked[one] = one[0].is_within(heard, partitions)
            if one is None or asked[one]:
                subscription.forget_known()
                del self._newcomers[subscription]

    def leave(self, subscription: Subscription) -> bool:
        """It listens no more; false when it never did."""
        self._newcomers.pop(subscription, None)
        if self._members.pop(subscription, self) is self:
            return False
        table, key = subscription.table, subscription.key
        if key is not None and table is not None:
            self._leave(self._by_key.get((table, key), {}), subscription)
            if not self._by_key.get((table, key), True):
                del self._by_key[table, key]
        elif (prefixes := self._by_table.get(table)) is not None:
            self._leave_prefix(prefixes, subscription)
            if not len(prefixes):
                del self._by_table[table]
        return True

    def _leave_prefix(self, prefixes: _Prefixes, subscription: Subscription) -> None:
        groups = prefixes.having(subscription.prefix)
        self._leave(groups, subscription)
        if not groups:
            prefixes.drop(subscription.prefix)

    def _leave(self, groups: Groups, subscription: Subscription) -> None:
        group = groups.get(subscription.sight, {})
        group.pop(subscription, None)
        if not group:
            groups.pop(subscription.sight, None)
