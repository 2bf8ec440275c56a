"""How often this node dials others that are no members: whoever has the cluster key can name any address in gossip."""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.membership.budget import Budget

DIALS_A_SECOND = 20
"""A new node is dialled soon, among any number of made-up ones within a minute; nobody's port is flooded."""
FEW_FAILURES = 5
PATIENT_DIALS_A_SECOND = 5
"""For those that never answered so often: they are still dialled, and stand in no new node's way."""


class Dials:
    """See the module."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._new, self._old = Budget(DIALS_A_SECOND), Budget(PATIENT_DIALS_A_SECOND)
        self.put_off = 0

    def may(self, failures: int) -> bool:
        """Whether a node that is no member may be dialled now, after so many failures in a row."""
        budget = self._new if failures < FEW_FAILURES else self._old
        if budget.take(self._monotonic_s(), 1):
            return True
        self.put_off += 1
        return False
