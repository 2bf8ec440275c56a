"""Twisted's HTTP client, opened: whether a request that failed had left."""

from __future__ import annotations

from twisted.internet.error import ConnectError, DNSLookupError
from twisted.web._newclient import RequestNotSent


def was_not_sent(error: Exception) -> bool:
    """Whether a request failed before any byte of it was sent, so that it can be repeated whatever it was."""
    return isinstance(error, ConnectError | DNSLookupError | RequestNotSent)
