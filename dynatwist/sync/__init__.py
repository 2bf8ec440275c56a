"""The client for programs without an event loop: scripts, threads, the REPL."""

from dynatwist.sansio.conflicts import Conflict, Conflicts
from dynatwist.sansio.errors import Forbidden, KvError, NotFound, PreconditionFailed, Unauthorized, Unavailable
from dynatwist.sansio.lock import Locked, LockLost
from dynatwist.sansio.record import Record
from dynatwist.sansio.trail import request_id
from dynatwist.sansio.watch import Change, WatchRefused

from .client import Client
from .live import Lock, Mirror, Presence

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
