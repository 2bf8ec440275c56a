"""What a client leaves unread of its answers: charged while it waits in the transport, and not for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynatwist.budget import Allowance, Charge
from dynatwist.runtime import Timer, cancel

AT_LEAST_BYTES = 64 << 10
"""What a transport holds at least, when it says that its client does not read."""


class Unread:
    """Of one connection.

    :param allowance: what is charged.
    :param limit_s: how long it may wait.
    :param call_later: runs a function after so many seconds.
    :param dismiss: closes the connection.
    """

    __slots__ = ("_allowance", "_call_later", "_charge", "_dismiss", "_limit_s", "_timer")

    def __init__(
        self, allowance: Allowance, limit_s: float, call_later: Callable[..., Any], dismiss: Callable[[], None]
    ) -> None:
        self._allowance = allowance
        self._limit_s = limit_s
        self._call_later = call_later
        self._dismiss = dismiss
        self._charge: Charge | None = None
        self._timer: Timer | None = None

    def stalls(self, holder: str) -> None:
        """Something waits in the transport from now on.

        :param holder: whom it is charged to.
        """
        if self._charge is None:
            self._timer = self._call_later(self._limit_s, self._dismiss)
            self._charge = Charge(self._allowance, holder)
            self._charge.add(AT_LEAST_BYTES)

    def wrote(self, size_bytes: int) -> None:
        """So much was handed to the transport; it is charged if it waits there."""
        if self._charge is not None:
            self._charge.add(size_bytes)

    def drained(self) -> None:
        """Nothing waits in the transport any more."""
        cancel(self._timer)
        self._timer = None
        charge, self._charge = self._charge, None
        if charge is not None:
            charge.give_back()
