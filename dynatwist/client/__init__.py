"""The Python client: treq underneath, Deferreds and async/await."""

from .client import Client, Forbidden, KvError, NotFound, PreconditionFailed, Record, Unauthorized, Unavailable
from .watch import Change

__all__ = [
    "Change",
    "Client",
    "Forbidden",
    "KvError",
    "NotFound",
    "PreconditionFailed",
    "Record",
    "Unauthorized",
    "Unavailable",
]
