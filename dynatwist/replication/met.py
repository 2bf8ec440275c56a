"""Which requests an owner has accepted something of lately, so that none is carried out twice by two proposers.

A request whose proposer is not heard of is given to another one, within seconds. That one asks a majority; if what the
first one proposed was chosen, one of them has accepted it, and remembers, or has been started since.
"""

from __future__ import annotations

REPEATED_S = 8
"""After so many seconds no forwarded request is repeated any more: its attempts take three, and frames that lay longer
in a socket are refused."""
MOST = 20_000
"""Ids that are remembered: two megabytes. When there are more, anything may have been met that is not remembered."""


class Met:
    """See the module.

    :param now_s: when this process began; what was accepted before, nobody remembers.
    """

    __slots__ = ("_forgotten_s", "_ops")

    def __init__(self, now_s: float) -> None:
        self._ops: dict[bytes, float] = {}
        self._forgotten_s = now_s

    def note(self, op: bytes, now_s: float) -> None:
        """Something was accepted of a request."""
        if op:
            self._ops.pop(op, None)
            self._ops[op] = now_s
            if len(self._ops) > MOST:
                self._forgotten_s = self._ops.pop(next(iter(self._ops)))

    def may_have_met(self, op: bytes, now_s: float) -> bool:
        """Whether something of a request that may be repeated now may have been accepted here."""
        return op in self._ops or now_s - self._forgotten_s < REPEATED_S

    def sweep(self, now_s: float) -> None:
        """Forget what cannot be repeated any more; to be called every second."""
        ops = self._ops
        while ops and now_s - ops[first := next(iter(ops))] > REPEATED_S:
            del ops[first]
