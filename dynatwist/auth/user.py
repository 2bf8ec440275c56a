"""What is kept of a user."""

from __future__ import annotations

import msgspec

from dynatwist.model.record import Record

USERS_TABLE = "_users"
ADMIN_UID = "admin"


class User(msgspec.Struct, frozen=True):
    """See the module.

    :ivar hash: argon2id, encoded.
    :ivar generation: tokens of a lower one are refused.
    """

    uid: str
    hash: str
    generation: int = 0


_decode = msgspec.json.Decoder(User).decode


def user_of(record: Record | None) -> User | None:
    """The user that a record is; ``None`` for none, or a deleted one."""
    return _decode(record.value) if record is not None and record.value is not None else None


def owner_name(uid: str) -> str:
    """The name in a uid, as clients see it."""
    return uid.partition("#")[0]
