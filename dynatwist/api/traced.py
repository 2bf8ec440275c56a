"""What is said of a request in a trace: how it was asked and how it ended, and nothing by which records or users are
known.
"""

from __future__ import annotations

from collections.abc import Sequence

from dynatwist.tracing.tracer import Span, Tracer

from .followed import id_of
from .measured import level_of
from .request import Request

MOST_TABLE_CHARS = 128
"""Of a table's name, which may be none: as long as names are, if nobody has configured that."""
_OF_A_TABLE = ("data.", "locks.", "tables.")
"""Routes whose first segment is a table."""


def begun(tracer: Tracer, route: str, request: Request) -> Span | None:
    """The span of a request that has just come; ``None`` where none is wanted."""
    return tracer.begin(route, request.headers) if tracer.is_on else None


def ended(span: Span, method: str, route: str, request: Request, segments: Sequence[str], status: int) -> None:
    """The request was answered.

    :param segments: of its path, where the route says no more than that there is one.
    """
    told: dict[str, str | int] = {"http.request.method": method, "http.response.status_code": status}
    if segments and route.startswith(_OF_A_TABLE):
        told["dynakv.table"] = segments[0][:MOST_TABLE_CHARS]
    if level := level_of(route, request):
        told["dynakv.level"] = level
    if request_id := id_of(request.headers):
        told["dynakv.request_id"] = request_id
    span.end(told, is_failure=status >= 500)
