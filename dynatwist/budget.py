"""What clients may have of a node, and what they have of it now.

Rules:

- A thing is charged before it costs anything, and paid back in one place, however it ends.
- There is a bound on all of it, and one on the share of a single holder: a source address, a user, a connection. So one
  holder that takes all it can get leaves room for others.
- What is refused names the limit, and says what to do instead; `Budget.figures` shows all limits and what is spent.
- Peers, the log and the administrator are not charged here: their reserves are out of clients' reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from .errors import ApiError

RETRY = {"Retry-After": "1"}
ADMIN_CONNECTIONS = 4
"""Beyond the bound on clients', for the administrator: a browser opens two or three."""


class Allowance:
    """One kind of thing: connections, bytes, subscriptions.

    :param name: of the option that sets the bound, without dashes.
    :param what: plural, for people.
    :param most: of it in all.
    :param share: of it for one holder.
    :param share_name: of the option that sets the share, if that is another one.
    """

    __slots__ = ("_held", "_name", "_share_name", "_what", "most", "refused", "share", "spent")

    def __init__(self, *, name: str, what: str, most: int, share: int, share_name: str = "") -> None:
        self._name = name
        self._share_name = share_name or name
        self._what = what
        self.most = most
        self.share = share
        self.spent = 0
        self.refused = 0
        self._held: dict[str, int] = {}

    def held_by(self, holder: str) -> int:
        """What one holder has."""
        return self._held.get(holder, 0)

    def has_room(self, holder: str, amount: int = 1) -> bool:
        """Whether a holder may have so much more."""
        return self.spent + amount <= self.most and self._held.get(holder, 0) + amount <= self.share

    def take(self, holder: str, amount: int = 1) -> None:
        """Charge a holder.

        :raises ApiError: 429 for a holder that has its share, 503 when all is spent; nothing is charged then.
        """
        if not self.has_room(holder, amount):
            raise self.refuse(holder, amount)
        self.add(holder, amount)

    def add(self, holder: str, amount: int) -> None:
        """Charge what cannot be refused any more; for what may be, ask for room first, or `take`."""
        self._held[holder] = self._held.get(holder, 0) + amount
        self.spent += amount

    def refuse(self, holder: str, amount: int = 1) -> ApiError:
        """Why a holder may not have so much more, counted as a refusal."""
        self.refused += 1
        held = self._held.get(holder, 0)
        if held + amount > self.share:
            text = f"you have {held} {self._what}; the limit is {self.share} for each (--{self._share_name})"
            return ApiError(429, "too_many", f"{text}: end some first", RETRY)
        text = f"this node has {self.spent} {self._what}; the limit is {self.most} in all (--{self._name})"
        return ApiError(503, "full", f"{text}: try another node, or later", RETRY)

    def give_back(self, holder: str, amount: int = 1) -> None:
        """A holder has so much less."""
        held = self._held.get(holder, 0) - amount
        assert held >= 0, f"{holder} gives back more {self._what} than it took"
        self.spent -= amount
        if held:
            self._held[holder] = held
        else:
            self._held.pop(holder, None)


class Charge:
    """What one holder owes for one thing, a request or a connection say; paid back once, whenever it ends."""

    __slots__ = ("_allowance", "_holder", "amount")

    def __init__(self, allowance: Allowance, holder: str) -> None:
        self._allowance = allowance
        self._holder = holder
        self.amount = 0

    def take(self, amount: int = 1) -> None:
        """Charge so much more, or raise; see `Allowance.take`."""
        self._allowance.take(self._holder, amount)
        self.amount += amount

    def add(self, amount: int) -> None:
        """Charge what cannot be refused any more."""
        self._allowance.add(self._holder, amount)
        self.amount += amount

    def give_back(self, amount: int | None = None) -> None:
        """Pay some of it back, or all; the latter is harmless when repeated."""
        amount = self.amount if amount is None else amount
        if amount:
            self.amount -= amount
            self._allowance.give_back(self._holder, amount)

    def __enter__(self) -> Charge:
        return self

    def __exit__(self, *error: object) -> None:
        self.give_back()


@dataclass(frozen=True, slots=True)
class Budget:
    """All allowances of a node.

    :ivar connections: by source address.
    :ivar user_connections: on which a valid token was shown, by user.
    :ivar receiving: bytes of bodies that are arriving or being worked on, by user.
    :ivar unread: bytes of answers and events that their connection has no room for, by user, or address without one.
    :ivar subscriptions: by user, or address without one; each costs a queue.
    :ivar logins: checks of secrets at work or waiting, by source address.
    :ivar registrations: hashes for new names at work or waiting, by source address.
    :ivar streams: long answers, event streams and websockets under way, by user, or address without one.
    """

    connections: Allowance
    user_connections: Allowance
    receiving: Allowance
    unread: Allowance
    subscriptions: Allowance
    streams: Allowance
    logins: Allowance
    registrations: Allowance

    def __iter__(self) -> Iterator[Allowance]:
        return (getattr(self, one.name) for one in fields(self))

    def all(self) -> dict[str, Allowance]:
        """Each thing that is shared, by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}
