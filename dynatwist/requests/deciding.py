"""What a write becomes at an owner: a record, or a refusal. Nothing waits here, so nothing can come in between."""

from __future__ import annotations

from dynatwist.cluster.cluster import Cluster
from dynatwist.model.access import Scope
from dynatwist.model.flaws import NOT_DECODED
from dynatwist.model.lease import ENDED_MS
from dynatwist.model.named import made_before
from dynatwist.model.record import Draft, Key, Record
from dynatwist.model.ring import is_system_table, partition_of
from dynatwist.replication.quorum import Tally
from dynatwist.replication.request import BEHIND, Code, Kind, Operation, Result, etag, quoted
from dynatwist.sometimes import sometimes

from .forwarding import HERE, Origin
from .mergepatch import patched
from .tables import Tables

SYSTEM_RESERVE_SHARE = 16
"""The memory limit is exceeded by one part in so many for users alone: registration, a changed secret and a logout go
on when data have filled the rest."""
FORGOTTEN = Result(Code.UNCERTAIN, text="written, and superseded since; what it was is not known any more")
MISMATCH = Result(Code.MISMATCH, text="this Idempotency-Key stood for another write of the key; give each its own")


class Deciding:
    """See the module.

    :param max_value_bytes: bounds the result of a patch.
    :param max_store_bytes: bound on memory, beyond which writes that add are refused.
    """

    def __init__(self, cluster: Cluster, tables: Tables, max_value_bytes: int, max_store_bytes: int) -> None:
        self._cluster = cluster
        self._tables = tables
        self._max_value_bytes = max_value_bytes
        self._max_store_bytes = max_store_bytes

    def decide(
        self, operation: Operation, origin: Origin, held: Record | None, *, knows_most: bool = False
    ) -> Record | Result:
        """The record that a request became, or why it became none.

        :param held: what is held for its key now.
        :param knows_most: whether a majority of the owners was asked for that. If not, a second attempt does not take
            the moment of the first into the history: it would win over all that the majority does meanwhile.
        """
        known = self._known(operation, origin, held)
        if known is None and operation.kind is Kind.KEEP and held is not None:
            known = self._kept(operation, held)
        if known is not None:
            return known
        again = self.made_before(operation, held)
        if again is not None:
            return held if again.code is Code.OK and again.was is None and held is not None else again
        after_ms = max(origin.after_ms, held.stamp.ms + 1) if origin.in_doubt and held is not None else origin.after_ms
        draft = self.draft(operation, origin, held, knows_most=knows_most)
        if isinstance(draft, Result):
            return draft
        return self._cluster.store.write(operation.key, draft, after_ms=after_ms)

    def draft(
        self, operation: Operation, origin: Origin, held: Record | None, *, knows_most: bool = False
    ) -> Draft | Result:
        """What a request wants written over what is held, or why it wants nothing; see `decide`."""
        if held is not None and held.is_dead(self._cluster.store.lapse_ms):
            held = None
        refusal = self._too_late(origin) or self._refusal(operation, held) or self._no_room(operation, held)
        if refusal is not None:
            return refusal
        value = self._value(operation, held)
        if isinstance(value, Result):
            return value
        if value is not None and not self.has_room(operation.key, value, has_name=bool(operation.name)):
            return Result(Code.FULL, text="this node's memory limit is reached; delete something first")
        besides = origin.in_doubt and operation.kind is Kind.PUT and knows_most
        expires_ms = self._end(operation, held, value)
        return Draft(
            value,
            operation.uid,
            expires_ms,
            origin.op,
            origin.created,
            besides,
            operation.name,
            operation.lease,
            takes_over=operation.restored is not None,
        )

    def made_before(self, operation: Operation, held: Record | None) -> Result | None:
        """The answer to a write that was made already, under the name that its client gave it."""
        if not operation.name or held is None:
            return None
        before = made_before(held.named, operation.name, self._cluster.store.lapse_ms)
        if before is None:
            return None
        if before.name != operation.name:
            sometimes("a name that stood for another write is used again")
            return MISMATCH
        sometimes("a write is sent again that was made already")
        return Result(Code.OK, held, was=None if quoted(before.tag) == etag(held) else before)

    def _kept(self, operation: Operation, held: Record) -> Result | None:
        """That a record is there as it was put, or why it is not to be; ``None`` where it has ended with its lease."""
        if held.expires_ms == ENDED_MS:
            return None
        if etag(held) in operation.if_match and not held.is_dead(self._cluster.store.lapse_ms):
            return Result(Code.OK, held)
        return Result(Code.PRECONDITION, held, text="somebody has written or deleted it since")

    def has_room(self, key: Key, value: bytes, *, has_name: bool = False) -> bool:
        """Whether memory has room for a value, or it takes no more than what it replaces."""
        return self._cluster.store.has_room_for(key, value, self._most_bytes(key), has_name=has_name)

    def _value(self, operation: Operation, held: Record | None) -> bytes | Result | None:
        """What is held afterwards, nothing after a delete; or why a patch makes no value."""
        if operation.kind is Kind.DELETE:
            return None
        if operation.makes:
            return operation.value
        assert held is not None
        if operation.kind is Kind.END:
            return held.value
        try:
            value = patched(held.value or b"{}", operation.value)
        except NOT_DECODED:  # a number beyond all that can be decoded, from a peer
            return Result(Code.MALFORMED, text="the value held cannot be merged with; put a whole one instead")
        most_bytes = self._tables.settings(operation.key[0]).max_value or self._max_value_bytes
        if len(value) > min(most_bytes, self._max_value_bytes):
            return Result(Code.TOO_LARGE, text=f"the merged value exceeds {most_bytes} bytes")
        return value

    def _end(self, operation: Operation, held: Record | None, value: bytes | None) -> int:
        """When what is written ends by itself: as asked for; a patch that asks for nothing leaves it as it was."""
        if operation.kind is Kind.END:
            return ENDED_MS
        if operation.restored is not None:
            return operation.restored.expires_ms
        if operation.ttl_ms and value is not None:
            return self._cluster.store.clock.end_after(operation.ttl_ms)
        return held.expires_ms if operation.kind is Kind.PATCH and held is not None and not operation.ttl_ms else 0

    def _known(self, operation: Operation, origin: Origin, held: Record | None) -> Record | Result | None:
        """What an earlier attempt of a request became, where anything tells."""
        store = self._cluster.store
        if origin.op and held is not None and held.op == origin.op:
            return held
        if not origin.in_doubt:
            return None
        if store.requests.knows(origin.op):
            written = store.requests.became(origin.op)
            if written is None:
                return FORGOTTEN
            store.merge(operation.key, written)  # another owner may have told of it; who counts as having it has it
            return written
        if held is not None and origin.created is not None and held.lineage.shows(origin.created):
            sometimes("a history shows that a forwarded request has created its key, and was superseded")
            return FORGOTTEN
        return None

    def _too_late(self, origin: Origin) -> Result | None:
        """Why a request that was forwarded is not carried out any more, if so."""
        if origin is HERE or self._cluster.runtime.monotonic_s() <= origin.until_s:
            return None
        return Result(Code.UNAVAILABLE, text="the request came too late to be carried out")

    def _no_room(self, operation: Operation, held: Record | None) -> Result | None:
        """Why the disk has no room for a write, if so."""
        full = self._cluster.store.wal.refusal(_adds(operation, held))
        if not full:
            return None
        self._cluster.yielding.look()
        sometimes("a client's write is refused for want of room on the disk")
        return Result(Code.FULL, text=full)

    def _refusal(self, operation: Operation, held: Record | None) -> Result | None:
        """Why a write is refused before anything is done, or ``None``."""
        cluster = self._cluster
        if cluster.store.wal.is_behind:
            cluster.yielding.look()
            return Result(Code.OVERLOADED, text=BEHIND)
        if cluster.times.refusal:
            return Result(Code.UNAVAILABLE, text=cluster.times.refusal)
        partition = partition_of(*operation.key)
        if not cluster.standing.may_coordinate(partition):
            return Result(Code.UNAVAILABLE, text="this node is not ready to write")
        if not operation.any_owner and (forbidden := _forbidden(operation, held)):
            return Result(Code.FORBIDDEN, text=forbidden)
        if held is None and not operation.makes:
            code = Code.PRECONDITION if operation.if_match else Code.ABSENT
            return Result(code, text="there is no such key")
        if operation.if_none_match and held is not None:
            return Result(Code.PRECONDITION, held, text="the key exists")
        tags = operation.if_match if operation.kind is not Kind.KEEP else ()
        if tags and (held is None or not {etag(held), "*"}.intersection(tags)):
            return Result(Code.PRECONDITION, held, text="the record is not the one named by If-Match")
        owners = cluster.ownership.owners(partition)
        if all(map(cluster.peers.is_reachable, owners)):
            return None
        reachable = {owner for owner in owners if cluster.peers.is_reachable(owner)}
        tally = Tally(operation.level, cluster.ownership.groups(partition), cluster.peers.is_reachable)
        if not tally.can_be_reached(reachable):
            for owner in reachable:
                tally.count(owner)
            text = f"w={operation.level.value} needs more replicas than answer now"
            return Result(Code.UNAVAILABLE, None, str(tally.reach(False)), text)
        return None

    def _most_bytes(self, key: Key) -> int:
        """The bound on memory for a write; users have a reserve, so that no other user's data lock them out."""
        reserve_bytes = self._max_store_bytes // SYSTEM_RESERVE_SHARE if is_system_table(key[0]) else 0
        return self._max_store_bytes + reserve_bytes


def _forbidden(operation: Operation, held: Record | None) -> str:
    """Why whoever asks may not write that; empty where nothing speaks against it."""
    may = operation.may
    if held is None:
        is_refused = operation.makes and not may.create
        return "you may not create records under this key" if is_refused else ""
    scope = may.delete if operation.kind is Kind.DELETE else may.update
    if scope.covers(held.owner, operation.uid):
        return ""
    if scope is Scope.OWN:
        return "the key belongs to another user"
    return f"you may not {'delete' if operation.kind is Kind.DELETE else 'change'} records under this key"


def _adds(operation: Operation, held: Record | None) -> bool:
    """Whether a write takes room on the disk for good; a change of a user that there is, as a logout, takes none."""
    if operation.kind in (Kind.DELETE, Kind.END):
        return False
    return held is None or not is_system_table(operation.key[0])
