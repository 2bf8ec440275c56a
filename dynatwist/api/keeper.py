"""The ephemeral records of one websocket: put, kept there while the socket lives, and left when it ends.

Nothing is written while all is well: the records name this process, and owners hear of it. The node listens to each of
these keys. When it hears of another record under one, it asks the owner that decides about the key: what others have
ended, since they took this process for gone, is put again, by the same user and with the rights of now; what a client
has written or deleted stays as it is, and is nobody's presence any more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from dynatwist.auth.tokens import Identity
from dynatwist.budget import Charge
from dynatwist.errors import ApiError
from dynatwist.feed.hub import Subscription
from dynatwist.feed.sight import EVERYTHING
from dynatwist.model.lease import MAX_TTL_S, Lease
from dynatwist.model.record import Key, Record, beats
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Kind, Operation, Result, etag
from dynatwist.requests.leases import require_leases
from dynatwist.requests.strong import NOT_EPHEMERAL
from dynatwist.requests.tables import Consistency
from dynatwist.sometimes import sometimes

from .context import Context
from .kept import Kept
from .leaving import AGAIN_S, NOT_NOW, UNCERTAIN_S, Leaving, Left
from .record_door import RecordDoor, Terms

MOST_EPHEMERAL = 1024
"""Of one socket: a person has a few presences, a gateway for many people opens more sockets."""
USUAL_TTL_S = 15
"""So long a client, its node or the network between may be gone before anybody is told: a node that is started anew, or
a phone in a tunnel, is back by then."""


class Keeper:
    """See the module.

    :param keeps: called with each put: from now on the socket must not be found dead too late.
    """

    def __init__(self, context: Context, door: RecordDoor, leaving: Leaving, keeps: Callable[[], None]) -> None:
        self._context = context
        self._door = door
        self._leaving = leaving
        self._keeps = keeps
        self._kept: dict[Key, Kept] = {}
        self._identity: Identity | None = None
        self._end: tuple[bool, float] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is kept."""
        return bool(self._kept)

    def identify(self, identity: Identity) -> None:
        """Whose socket it is; or a fresh token of the same user was shown."""
        self._identity = identity

    async def put(self, key: Key, value: bytes, level: Level, ttl: object) -> tuple[Operation, Result]:
        """Put a record that lives as long as this socket.

        :param ttl: seconds, as the client sent it; ``None`` for the usual ones.
        :raises ApiError: what is wrong with it, or why there is no result.
        """
        identity = self._identity
        assert identity is not None
        require_leases(self._context.cluster)
        operation = self._operation(identity, Kind.PUT, key, value, level, _ttl_s(ttl))
        kept = self._kept.get(key) or self._begin(identity, key)
        self._keeps()
        kept.begin()
        self._leaving.begin(key)
        try:
            result = await self._door.carry_out(identity, operation)
        except ApiError as error:
            if error.code == "uncertain":
                self._seek(kept)
            raise
        else:
            assert result.record is not None
            self._hold(kept, result.record)
            return operation, result
        finally:
            self._leaving.over(key)
            kept.over()
            self._settle(kept)

    def _operation(self, identity: Identity, kind: Kind, key: Key, value: bytes, level: Level, ttl_s: int) -> Operation:
        context = self._context
        if context.coordinator.tables.consistency(key[0]) is Consistency.STRONG:
            raise ApiError(400, "bad_ephemeral", NOT_EPHEMERAL)
        operation = self._door.write(identity, kind, *key, value, Terms(level))
        return msgspec.structs.replace(operation, ttl_ms=0, lease=Lease(context.cluster.processes.me, ttl_s))

    def _begin(self, identity: Identity, key: Key) -> Kept:
        if len(self._kept) >= MOST_EPHEMERAL:
            raise ApiError(429, "too_many", f"one socket keeps at most {MOST_EPHEMERAL} ephemeral records")
        charge = Charge(self._context.budget.subscriptions, identity.uid)
        charge.take()
        wake = partial(self._woken, key)
        subscription = Subscription(table=key[0], key=key[1], prefix="", sight=EVERYTHING, wake=wake)
        kept = self._kept[key] = Kept(key, charge, subscription)
        self._context.hub.subscribe(subscription, None)
        return kept

    def _hold(self, kept: Kept, record: Record) -> None:
        """A record is there."""
        if kept.record is not None:
            if not beats(record, kept.record):
                return
            self._leaving.let_go(kept.key, kept.record)
        kept.hold(record)
        self._leaving.keep(kept.key, record)

    def _settle(self, kept: Kept) -> None:
        """A put is over: the socket may have ended meanwhile, or something been heard of the key."""
        if kept.is_busy:
            return
        if kept.record is None:
            self._let_go(kept)
        elif self._end is not None:
            self._leave(kept, *self._end)
        elif kept.has_news:
            self._look_soon(kept)

    def _seek(self, kept: Kept) -> None:
        """Nobody knows whether a put was carried out: look for it when it must have been."""
        assert self._identity is not None
        charge = Charge(self._context.budget.subscriptions, self._identity.uid)
        charge.add(1)  # there is no refusing it: the record may be there
        self._leaving.leave(Left(kept.key, "", in_order=False, charge=charge), UNCERTAIN_S)

    # While the socket lives

    def _woken(self, key: Key) -> None:
        kept = self._kept.get(key)
        if kept is not None:
            kept.hear()
            if kept.has_news and not kept.is_busy:
                self._look_soon(kept)

    def _look_soon(self, kept: Kept) -> None:
        """In a later turn: a node that was frozen hears of the ends of all that it keeps at once."""
        kept.begin()
        self._leaving.begin(kept.key)
        self._context.cluster.runtime.in_steps(partial(self._look, kept))

    def _look(self, kept: Kept) -> None:
        """Have the record be there again, unless somebody has written since."""
        kept.begin_to_look()
        record, context = kept.record, self._context
        if self._end is not None or record is None or context.cluster.standing.is_stopping:
            self._looked(kept)
            return
        try:
            context.require_ready()
        except ApiError:  # it does not know the rules of now
            self._look_again(kept)
            return
        operation = self._again(kept.key, record)
        if operation is None:
            self._give_up(kept, record)
        else:
            context.coordinator.submit(operation, partial(self._found, kept, record))

    def _again(self, key: Key, record: Record) -> Operation | None:
        """What puts a record again, if its user is still one and may do that."""
        identity, lease = self._identity, record.lease
        if identity is None or lease is None or not self._context.users.still_counts(identity):
            return None
        try:
            operation = self._operation(identity, Kind.KEEP, key, record.value or b"", Level.QUORUM, lease.ttl_s)
        except ApiError:
            return None
        return msgspec.structs.replace(operation, if_match=(etag(record),))

    def _found(self, kept: Kept, record: Record, result: Result) -> None:
        """The owner that decides about the key has answered.

        :param record: that was to be there.
        """
        found = result.record
        if found is not None and (result.code is Code.OK or self._is_ours(kept, record, found)):
            if found.dot != record.dot:
                sometimes("a record that was ended while its socket lived is put again")
            self._hold(kept, found)
            self._looked(kept)
        elif result.code in NOT_NOW or not result.is_shown:
            if result.code is Code.UNCERTAIN:
                kept.doubt()
                self._seek(kept)
            self._look_again(kept)
        else:
            self._give_up(kept, record)

    def _look_again(self, kept: Kept) -> None:
        kept.miss()
        self._context.cluster.runtime.clock.callLater(AGAIN_S, self._looked, kept)

    def _is_ours(self, kept: Kept, record: Record, found: Record) -> bool:
        """Whether what is there was put for this socket, though the answer to that was lost."""
        is_like_it = kept.in_doubt and (found.lease, found.owner, found.value) == (
            record.lease,
            record.owner,
            record.value,
        )
        return is_like_it and not self._leaving.keeps(kept.key, found)

    def _looked(self, kept: Kept) -> None:
        self._leaving.over(kept.key)
        kept.over()
        self._settle(kept)

    def _give_up(self, kept: Kept, record: Record) -> None:
        """It is another's now, or was deleted, or its user may not put it; unless it was put anew meanwhile."""
        if kept.record is record:
            self._leaving.let_go(kept.key, record)
            kept.give_up()
        self._looked(kept)

    def _let_go(self, kept: Kept) -> None:
        if self._kept.get(kept.key) is kept:
            del self._kept[kept.key]
        self._context.hub.unsubscribe(kept.subscription)
        kept.charge.give_back()

    # When it ends

    def close(self, *, in_order: bool, silent_s: float) -> None:
        """The socket is gone.

        :param in_order: whether its client said goodbye, or its token ended.
        :param silent_s: for how long nothing had been heard of it; its records have so much less time.
        """
        now_s = self._context.cluster.runtime.monotonic_s()
        self._end = in_order, now_s - silent_s
        for kept in list(self._kept.values()):
            if not kept.is_busy:
                self._leave(kept, *self._end)

    def _leave(self, kept: Kept, in_order: bool, heard_s: float) -> None:
        record = kept.record
        assert record is not None
        assert record.lease is not None
        self._kept.pop(kept.key, None)
        self._context.hub.unsubscribe(kept.subscription)
        self._leaving.let_go(kept.key, record)
        left_s = heard_s + record.lease.ttl_s - self._context.cluster.runtime.monotonic_s()
        left = Left(kept.key, etag(record), in_order, kept.charge)
        self._leaving.leave(left, 0.0 if in_order else left_s)


def check_ephemeral(kind: Kind, ephemeral: object, idempotency_key: object) -> None:
    """What a frame says besides ``"ephemeral"``.

    :raises ApiError: 400 for what does not go with it.
    """
    if not isinstance(ephemeral, bool) or kind is not Kind.PUT:
        raise ApiError(400, "bad_ephemeral", '"ephemeral" must be true or false, and is for put')
    if idempotency_key is not None:
        text = "an ephemeral put takes no idempotency_key: whoever connects anew puts it anew"
        raise ApiError(400, "bad_ephemeral", text)


def _ttl_s(ttl: object) -> int:
    if ttl is None:
        return USUAL_TTL_S
    if not isinstance(ttl, int) or isinstance(ttl, bool) or not 1 <= ttl <= MAX_TTL_S:
        raise ApiError(400, "bad_ttl", f'the "ttl" of an ephemeral record is a whole number from 1 to {MAX_TTL_S}')
    return ttl
