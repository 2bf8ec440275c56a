"""Requests that are followed: each that brings an ``X-Request-Id`` leaves a line in the log of every node that has a
part in it, and the answer brings the id back. Of those whose id a client of ours made by itself that holds where a node
failed, or took long. All others cost nothing and are not noted.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from twisted.logger import Logger

from dynatwist.replication.request import is_followed, is_logged

from .request import Answer

HEADER = "X-Request-Id"

log = Logger(namespace="dynatwist.requests")


def id_of(headers: Mapping[str, str]) -> str:
    """The id that a request brings; empty where it brings none, or one that is none.

    :param headers: by names in lower case.
    """
    text = headers.get("x-request-id", "")
    return text if text and is_followed(text) else ""


def answered(request_id: str, route: str, answer: Answer, took_s: float) -> Answer:
    """Say in the log that a request was answered, where that is to be known; the answer names it then."""
    if not is_logged(request_id, is_failure=answer.status >= 500, took_s=took_s):
        return answer
    log.info(
        "request {request}: {route} is answered {status} after {took_ms:.1f} ms",
        request=request_id,
        route=route,
        status=answer.status,
        took_ms=1000 * took_s,
    )
    return msgspec.structs.replace(answer, headers={**answer.headers, HEADER: request_id})
