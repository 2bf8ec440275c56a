"""Requests that are followed: each that brings an ``X-Request-Id`` leaves a line in the log of every node that has a
part in it, and the answer brings the id back. Of those whose id a client of ours made by itself that holds where a node
failed, or took long. All others cost nothing and are not noted.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from twisted.logger import Logger

from dynatwist.replication.followed import Followed
from dynatwist.replication.request import is_followed

from .request import Answer

HEADER = "X-Request-Id"
WAITING = ("locks.take",)
"""Routes whose clients want them to take long."""

log = Logger(namespace="dynatwist.requests")


def id_of(headers: Mapping[str, str]) -> str:
    """The id that a request brings; empty where it brings none, or one that is none.

    :param headers: by names in lower case.
    """
    text = headers.get("x-request-id", "")
    return text if text and is_followed(text) else ""


def answered(
    followed: Followed, request_id: str, route: str, answer: Answer, *, began_s: float, now_s: float
) -> Answer:
    """Say in the log that a request was answered, where that is to be known; the answer names it then.

    :param followed: decides whether it is.
    """
    took_s = now_s - began_s
    is_failure, long_s = answer.status >= 500, 0.0 if route in WAITING else took_s
    if not followed.is_logged(request_id, is_failure=is_failure, took_s=long_s, now_s=now_s):
        return answer
    log.info(
        "request {request}: {route} is answered {status} after {took_ms:.1f} ms",
        request=request_id,
        route=route,
        status=answer.status,
        took_ms=1000 * took_s,
    )
    return msgspec.structs.replace(answer, headers={**answer.headers, HEADER: request_id})
