"""Who listens to what: subscriptions by key and by table, and by what each may see."""

from __future__ import annotations

from dynatwist.model.record import Key

from .event import Event
from .sight import Sight
from .subscription import Subscription

Groups = dict[Sight, dict[Subscription, None]]
"""Subscriptions by what they may see, which is the same of all that one user has."""


class Audience:
    """See the module. A subscription enters first, and joins the others once it was told what it had missed."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Groups] = {}
        self._by_table: dict[str | None, Groups] = {}
        self._members: dict[Subscription, None] = {}

    def __len__(self) -> int:
        return len(self._members)

    def members(self) -> list[Subscription]:
        """All of them, in the order in which they came."""
        return list(self._members)

    def has(self, key: Key) -> bool:
        """Whether anybody listens who could have to be told of a key."""
        return key in self._by_key or key[0] in self._by_table or None in self._by_table

    def of(self, key: Key | None, event: Event | None) -> list[Subscription]:
        """Who listens to a key and may see an event; of no event, everybody; for no key, whoever listens to anything.

        Whoever may see nothing of it costs one question, however many subscriptions it has.
        """
        if key is None:
            return list(self._members)
        found: list[Subscription] = []
        for sight, group in self._by_key.get(key, {}).items():
            if event is None or event.is_shown(sight):
                found.extend(group)
        for table in (key[0], None):
            for sight, group in self._by_table.get(table, {}).items():
                if event is None or event.is_shown(sight):
                    found.extend(one for one in group if one.matches(key))
        return found

    def enter(self, subscription: Subscription) -> None:
        """One more, which is not told of events yet."""
        self._members[subscription] = None

    def join(self, subscription: Subscription) -> None:
        """It is told of events from now on."""
        self._groups_of(subscription).setdefault(subscription.sight, {})[subscription] = None

    def leave(self, subscription: Subscription) -> bool:
        """It listens no more; false when it never did."""
        if self._members.pop(subscription, self) is self:
            return False
        groups = self._groups_of(subscription)
        group = groups.get(subscription.sight, {})
        group.pop(subscription, None)
        if not group:
            groups.pop(subscription.sight, None)
        if subscription.key is not None and subscription.table is not None:
            if not self._by_key.get((subscription.table, subscription.key), True):
                del self._by_key[subscription.table, subscription.key]
        elif not self._by_table.get(subscription.table, True):
            del self._by_table[subscription.table]
        return True

    def _groups_of(self, subscription: Subscription) -> Groups:
        if subscription.key is not None and subscription.table is not None:
            return self._by_key.setdefault((subscription.table, subscription.key), {})
        return self._by_table.setdefault(subscription.table, {})
