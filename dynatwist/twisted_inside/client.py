"""Twisted's HTTP client, opened: whether a request that failed had left."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.web._newclient import RequestNotSent


def was_not_sent(error: Exception) -> bool:
    """Whether a request failed before any byte of it was sent, so that it can be repeated whatever it was."""
    return isinstance(error, ConnectError | DNSLookupError | RequestNotSent)


def is_not_trusted(error: Exception) -> bool:
    """Whether a request failed since the other end's certificate is none that is trusted."""
    reasons = [error, *(one.value for one in getattr(error, "reasons", ()))]
    return any(isinstance(one, SSL.Error) and "certificate verify failed" in str(one) for one in reasons)
