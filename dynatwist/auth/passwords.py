"""Passwords: argon2id, off the reactor, by at most a few at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dynatwist.budget import Allowance, Charge

T = TypeVar("T")
SALT_BYTES = 16
"""As RFC 9106, section 3.1, recommends."""
MOST_KIB, MOST_PASSES, MOST_LANES = 1 << 20, 64, 16
"""Of a hash that is brought back from a backup: beyond what any node is configured to."""


def is_bearable(encoded: str) -> bool:
    """Whether a hash that comes from elsewhere is one of argon2id, and takes no more to check than a hash may."""
    try:
        cost = extract_parameters(encoded)
    except InvalidHashError:
        return False
    is_small = cost.memory_cost <= MOST_KIB and cost.time_cost <= MOST_PASSES and cost.parallelism <= MOST_LANES
    return cost.type is Type.ID and is_small


class Passwords:
    """Hashes and checks; refuses politely when too many wait.

    :param offload: runs a slow function off the reactor.
    :param randbytes: for salts.
    :param checking: what logins may have.
    :param registering: what hashes for new names may have; they wait for each other, so that whoever makes up names
        does not delay logins.
    :param cost: (passes, KiB of memory) of argon2id; the default is OWASP's recommendation.
    """

    def __init__(
        self,
        offload: Callable[[Callable[[], Any]], Deferred[Any]],
        randbytes: Callable[[int], bytes],
        *,
        checking: Allowance,
        registering: Allowance,
        cost: tuple[int, int] = (2, 19456),
    ) -> None:
        self._offload = offload
        self._randbytes = randbytes
        self._hasher = PasswordHasher(time_cost=cost[0], memory_cost=cost[1], parallelism=1)
        self._checking = checking
        self._registering = registering
        self._queue: deque[Callable[[], None]] = deque()
        self._is_registering = False

    def hash(self, secret: str, address: str, *, is_new: bool = False) -> Deferred[str]:
        """The encoded hash of a secret.

        :param is_new: whether it is for a new name; these are made one after the other.
        """
        salt = self._randbytes(SALT_BYTES)

        def work() -> str:
            return self._hasher.hash(secret, salt=salt)

        if not is_new:
            return self._run(work, self._checking, address)
        made: Deferred[str] = Deferred()
        charge = Charge(self._registering, address)
        charge.take()
        self._queue.append(lambda: self._register(work, charge, made))
        self._register_next()
        return made

    def _register_next(self) -> None:
        if self._queue and not self._is_registering:
            self._is_registering = True
            self._queue.popleft()()

    def _register(self, work: Callable[[], str], charge: Charge, made: Deferred[str]) -> None:
        def over(result: str | Failure) -> None:
            charge.give_back()
            self._is_registering = False
            self._register_next()
            made.callback(result)

        self._offload(work).addBoth(over)

    def verify(self, encoded: str, secret: str, address: str) -> Deferred[bool]:
        """Whether a secret fits a hash."""

        def work() -> bool:
            try:
                return self._hasher.verify(encoded, secret)
            except (VerificationError, InvalidHashError):
                return False

        return self._run(work, self._checking, address)

    def _run(self, work: Callable[[], T], allowance: Allowance, address: str) -> Deferred[T]:
        charge = Charge(allowance, address)
        charge.take()

        def over(result: T) -> T:
            charge.give_back()
            return result

        return self._offload(work).addBoth(over)
