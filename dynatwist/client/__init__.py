"""The client for Twisted: treq underneath, Deferreds and async/await."""

from dynatwist.sansio.conflicts import Conflict, Conflicts
from dynatwist.sansio.errors import Forbidden, KvError, NotFound, PreconditionFailed, Unauthorized, Unavailable
from dynatwist.sansio.lock import Lock, Locked, LockLost
from dynatwist.sansio.mirror import Mirror
from dynatwist.sansio.presence import Presence
from dynatwist.sansio.record import Record
from dynatwist.sansio.trail import request_id
from dynatwist.sansio.watch import Change, WatchRefused

from .client import Client

__all__ = [
    "Change",
    "Client",
    "Conflict",
    "Conflicts",
    "Forbidden",
    "KvError",
    "Lock",
    "LockLost",
    "Locked",
    "Mirror",
    "NotFound",
    "PreconditionFailed",
    "Presence",
    "Record",
    "Unauthorized",
    "Unavailable",
    "WatchRefused",
    "request_id",
]
