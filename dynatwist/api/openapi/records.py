"""What all requests for one record have in common, be they a user's or an administrator's."""

from __future__ import annotations

from typing import Any

from ..shapes.records import Deleted, Record, Unmet, Value
from .codes import READING, WRITING
from .parameters import CAUSAL, IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, PREFER, TTL, UNLESS_SEEN, R, W

_HEADERS = ("ETag", "X-Causal-Token", "X-Replicas")
GETTING: dict[str, Any] = {
    "gives": {200: Record, 304: None},
    "parameters": (R, UNLESS_SEEN, CAUSAL),
    "headers": _HEADERS,
    "refuses": ("not_found", "forbidden", "too_many", *READING),
}
PUTTING: dict[str, Any] = {
    "takes": Value,
    "example": {"level": 42},
    "gives": {201: Record, 412: Unmet},
    "parameters": (TTL, W, IF_MATCH, IF_NONE_MATCH, IDEMPOTENCY_KEY, CAUSAL, PREFER),
    "headers": _HEADERS,
    "refuses": ("too_large", *WRITING),
}
PATCHING: dict[str, Any] = {
    **PUTTING,
    "example": {"level": 43, "title": None},
    "gives": {200: Record, 412: Unmet},
    "refuses": ("not_found", *WRITING),
}
DELETING: dict[str, Any] = {
    "gives": {200: Deleted, 412: Unmet},
    "parameters": (W, IF_MATCH, IF_NONE_MATCH, IDEMPOTENCY_KEY, CAUSAL, PREFER),
    "headers": _HEADERS,
    "refuses": ("not_found", *WRITING),
}
