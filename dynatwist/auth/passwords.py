"""Passwords: argon2id, off the reactor, by at most a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.internet.defer import Deferred

from dynatwist.errors import ApiError

MAX_WAITING = 64
T = TypeVar("T")
SALT_BYTES = 16


class Passwords:
    """Hashes and checks; refuses politely when too many wait.

    :param offload: runs a slow function off the reactor.
    :param randbytes: for salts.
    :param cost: (passes, KiB of memory) of argon2id; the default is OWASP's recommendation.
    """

    def __init__(
        self,
        offload: Callable[[Callable[[], Any]], Deferred[Any]],
        randbytes: Callable[[int], bytes],
        cost: tuple[int, int] = (2, 19456),
    ) -> None:
        self._offload = offload
        self._randbytes = randbytes
        self._hasher = PasswordHasher(time_cost=cost[0], memory_cost=cost[1], parallelism=1)
        self._waiting = 0

    def hash(self, secret: str) -> Deferred[str]:
        """The encoded hash of a secret."""
        salt = self._randbytes(SALT_BYTES)
        return self._run(lambda: self._hasher.hash(secret, salt=salt))

    def verify(self, encoded: str, secret: str) -> Deferred[bool]:
        """Whether a secret fits a hash."""

        def work() -> bool:
            try:
                return self._hasher.verify(encoded, secret)
            except (VerificationError, InvalidHashError):
                return False

        return self._run(work)

    def _run(self, work: Callable[[], T]) -> Deferred[T]:
        if self._waiting >= MAX_WAITING:
            raise ApiError(429, "slow_down", "too many logins at once; try again in a moment", {"Retry-After": "1"})
        self._waiting += 1

        def over(result: T) -> T:
            self._waiting -= 1
            return result

        return self._offload(work).addBoth(over)
