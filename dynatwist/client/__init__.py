"""The Python client: treq underneath, Deferreds and async/await."""

from .client import Client
from .conflicts import Conflict
from .errors import Forbidden, KvError, NotFound, PreconditionFailed, Unauthorized, Unavailable
from .lock import Lock, Locked, LockLost
from .mirror import Mirror
from .presence import Presence
from .record import Record
from .watch import Change

__all__ = [
    "Change",
    "Client",
    "Conflict",
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
]
