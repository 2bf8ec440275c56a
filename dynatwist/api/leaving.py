"""Ephemeral records whose socket has ended: how each of them ends, and that none stays behind.

A socket that ended in order takes its records along at once. One that was lost may come back: its records wait for
their time, and whatever was written over them meanwhile stays. A write whose answer was lost may have left a record
that nobody knows of; after a time it is looked for. All that is done until it is certain, as long as this process
lives; after that, owners do it (`dynatwist.requests.leases`).
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import msgspec

from dynatwist.budget import Charge
from dynatwist.model.access import ALL
from dynatwist.model.record import Key, Record
from dynatwist.replication.request import Code, Kind, Operation, Result, etag
from dynatwist.sometimes import sometimes

from .context import Context

AGAIN_S = 2.0
"""Before what could not be carried out is tried again: as long as a node that stops, or a partition, may take at least
to be found out."""
NOT_NOW = (Code.UNAVAILABLE, Code.UNCERTAIN, Code.OVERLOADED, Code.FULL)
"""Answers after which it is tried again."""
UNCERTAIN_S = 5.0
"""For a write whose answer was lost to have taken effect, or never to do so: more than twice the time that one has."""


class Left(msgspec.Struct, frozen=True, gc=False):
    """A record that a socket has left.

    :ivar tag: its ETag; empty where nobody knows what it became.
    :ivar in_order: whether the socket said goodbye.
    :ivar charge: of the user whose it is, until it has ended.
    """

    key: Key
    tag: str
    in_order: bool
    charge: Charge


class Leaving:
    """See the module; one for all sockets of a node."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kept: set[tuple[Key, str]] = set()
        self._busy: Counter[Key] = Counter()

    # What sockets keep

    def keep(self, key: Key, record: Record) -> None:
        """A socket keeps a record."""
        self._kept.add((key, etag(record)))

    def let_go(self, key: Key, record: Record) -> None:
        """It does not any more."""
        self._kept.discard((key, etag(record)))

    def keeps(self, key: Key, record: Record) -> bool:
        """Whether some socket keeps a record."""
        return (key, etag(record)) in self._kept

    def begin(self, key: Key) -> None:
        """A socket is about to put a record: whoever finds it before the socket hears of it leaves it alone."""
        self._busy[key] += 1

    def over(self, key: Key) -> None:
        """It has heard of that."""
        self._busy[key] -= 1
        if not self._busy[key]:
            del self._busy[key]

    # What they leave

    def leave(self, left: Left, delay_s: float) -> None:
        """End a record, as it was put, in a while."""
        runtime = self._context.cluster.runtime
        if delay_s > 0:
            runtime.clock.callLater(delay_s, runtime.in_steps, partial(self._end, left))
        else:
            runtime.in_steps(partial(self._end, left))

    def _end(self, left: Left) -> None:
        if self._context.cluster.standing.is_stopping:
            return
        coordinator = self._context.coordinator
        if not left.tag:
            coordinator.submit(Operation(Kind.GET, left.key), partial(self._found, left))
            return
        kind = Kind.DELETE if left.in_order else Kind.END
        operation = Operation(kind, left.key, any_owner=True, if_match=(left.tag,), may=ALL.may)
        coordinator.submit(operation, partial(self._ended, left))

    def _found(self, left: Left, result: Result) -> None:
        """What there is where nobody knows what a write became."""
        record, me = result.record, self._context.cluster.processes.me
        if result.code in NOT_NOW or left.key in self._busy:
            self.leave(left, AGAIN_S)
        elif record is None or record.lease is None or record.lease.actor != me or self.keeps(left.key, record):
            left.charge.give_back()
        else:
            sometimes("a put that nobody heard of has left an ephemeral record")
            self._end(msgspec.structs.replace(left, tag=etag(record)))

    def _ended(self, left: Left, result: Result) -> None:
        if result.code in NOT_NOW:
            self.leave(left, AGAIN_S)
        else:
            left.charge.give_back()
