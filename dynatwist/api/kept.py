"""One ephemeral record of one websocket: what was put, what is under way about it, what was heard of its key."""

from __future__ import annotations

from dynatwist.budget import Charge
from dynatwist.feed.hub import Event, Subscription
from dynatwist.model.record import Key, Record, beats


class Kept:
    """See the module.

    :param subscription: to its key.
    :ivar record: as it was put last; ``None`` before the first time, and when it is not this socket's any more.
    :ivar in_doubt: whether it may have been put again, and nobody knows.
    """

    __slots__ = ("_has_missed", "_news", "_under_way", "charge", "in_doubt", "key", "record", "subscription")

    def __init__(self, key: Key, charge: Charge, subscription: Subscription) -> None:
        self.key = key
        self.charge = charge
        self.subscription = subscription
        self.record: Record | None = None
        self.in_doubt = False
        self._under_way = 0
        self._has_missed = False
        self._news: Record | None = None

    # What is done about it

    @property
    def is_busy(self) -> bool:
        """Whether a put of it, or a look at it, is not answered yet."""
        return self._under_way > 0

    def begin(self) -> None:
        """It is put, or looked at."""
        self._under_way += 1

    def over(self) -> None:
        """That is answered."""
        self._under_way -= 1

    def hold(self, record: Record) -> None:
        """It is there."""
        self.record, self.in_doubt = record, False

    def doubt(self) -> None:
        """It may have been put again."""
        self.in_doubt = True

    def give_up(self) -> None:
        """It is not this socket's any more."""
        self.record = None

    # What is heard of it

    def hear(self) -> None:
        """Take what the subscription has."""
        while (item := self.subscription.take()) is not None:
            if not isinstance(item, Event):
                self.miss()
            elif self._news is None or beats(item.record, self._news):
                self._news = item.record

    def miss(self) -> None:
        """Something may have happened to its key, and not been heard of."""
        self._has_missed = True

    @property
    def has_news(self) -> bool:
        """Whether another record may be under its key by now."""
        news, record = self._news, self.record
        return self._has_missed or (news is not None and record is not None and beats(news, record))

    def begin_to_look(self) -> None:
        """What was heard until now is being looked at."""
        self._has_missed, self._news = False, None
