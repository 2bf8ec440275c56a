"""What a record that comes from another node may not be, however well its bytes decode.

A member is trusted to speak the protocol, not to be free of mistakes: a value that is no JSON would be sent to clients
as it is, and a number that nothing can follow would stop whoever writes over it. The bounds here are beyond all that a
node can be configured to take from its clients, so no honest node's record has a flaw, whatever its release.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dynatwist.sometimes import sometimes

from . import lease as leases
from .clock import Stamp
from .dots import EPOCH_BYTES, NODE_ID_BYTES
from .lineage import FILLED, turned
from .named import is_flawless
from .record import MAX_VV_ACTORS, Key, Record

MAX_TABLE_CHARS = 1024
"""More than any node lets its clients use."""
MAX_KEY_CHARS = 8192
"""The same of keys."""
MAX_OWNER_CHARS = 1024
MAX_OP_BYTES = 1024
"""Nodes write both themselves, and far shorter ones: a user's name with a dot, and 16 random bytes."""
MAX_MOMENTS = 128
"""Of a history of creations: former releases keep 64, this one fewer."""
BEYOND = 1 << 53
"""More than any count, and than the milliseconds of any time; what is greater is no number that JSON can say."""
NOT_DECODED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are none of what was asked for: the second for a text that is no UTF-8."""
_ACTOR_BYTES = NODE_ID_BYTES + EPOCH_BYTES


class _Anything(msgspec.Struct):
    """A JSON object, of which nothing is made."""


_look_at_object = msgspec.json.Decoder(_Anything).decode


def value_flaw(value: bytes) -> str:
    """Why bytes are no value: a JSON object, in valid UTF-8. Empty when they are."""
    try:
        _look_at_object(value)
        value.decode()
    except NOT_DECODED:
        return "its value is no JSON object"
    return ""


def key_flaw(key: Key) -> str:
    """Why a table and a key are none; empty when they are."""
    if 0 < len(key[0]) <= MAX_TABLE_CHARS and 0 < len(key[1]) <= MAX_KEY_CHARS:
        return ""
    return "its table or key is empty, or too long"


def is_moment(stamp: Stamp) -> bool:
    """Whether a stamp is one that a node may give, whatever its clock says."""
    ms, counter, actor = stamp
    return 0 <= ms | counter < BEYOND and len(actor) == _ACTOR_BYTES


def record_flaw(key: Key, record: Record) -> str:
    """Why a record of a key is refused, for the log, and without anything of it; empty when it is not.

    Called for every write at every replica, so what is usual is looked at in one go. Of some integers the bitwise or is
    negative when one is, and is below a power of two when all are.
    """
    actor, seq = record.dot
    ms, counter, writer = record.stamp
    generation, moments = record.lineage
    version, value = record.version, record.value
    if (
        0 <= seq | ms | counter | generation | version | record.expires_ms < BEYOND
        and seq
        and version
        and len(actor) == len(writer) == _ACTOR_BYTES
        and len(record.vv) <= MAX_VV_ACTORS
        and _is_history(moments)
        and len(record.owner) <= MAX_OWNER_CHARS
        and len(record.op) <= MAX_OP_BYTES
        and (not record.named or is_flawless(record.named, BEYOND))
        and (record.lease is None or leases.is_flawless(record.lease))
        and 0 < len(key[0]) <= MAX_TABLE_CHARS
        and 0 < len(key[1]) <= MAX_KEY_CHARS
    ):
        return "" if value is None else value_flaw(value)
    return key_flaw(key) or "its dot, stamps, version, owner or another of its fields is none"


def flaw_of(record: Record) -> str:
    """The same, of a record whose key is known to be one."""
    return record_flaw(("t", "k"), record)


def without_flaws(records: Iterable[tuple[Key, Record]]) -> tuple[list[tuple[Key, Record]], str]:
    """The records that have none, and a flaw of one that has, if any."""
    good: list[tuple[Key, Record]] = []
    last = ""
    for key, record in records:
        flaw = record_flaw(key, record)
        if flaw:
            sometimes("a record of a peer has a flaw")
            last = flaw
        else:
            good.append((key, record))
    return good, last


def _is_history(stamps: tuple[Stamp, ...]) -> bool:
    """Whether these are the moments of a lineage, a filled stretch among them or not."""
    if len(stamps) == 1:
        return is_moment(stamps[0])
    if not 0 < len(stamps) <= MAX_MOMENTS:
        return False
    before: Stamp | None = None
    for stamp in stamps:
        if stamp != FILLED:
            if not is_moment(turned(stamp) if before == FILLED else stamp):
                return False
        elif before == FILLED or before is None:
            return False
        before = stamp
    return FILLED not in stamps[-2:]
