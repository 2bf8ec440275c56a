"""The last lines of this node's audit log."""

from __future__ import annotations

import msgspec

from ..audit import Line
from ..context import Context
from ..openapi.described import Described, Who
from ..openapi.parameters import whole
from ..request import Answer, Request, json_answer
from ..shapes.insight import AuditLine, AuditTail
from ..tail import MOST_LINES

BEYOND = 1 << 53
"""Numbers in JSON are exact up to here."""
AFTER = whole(
    "after",
    "Only lines behind this one: `next` of the answer before. Left out: the last ones.",
    low=0,
    high=BEYOND,
    default=-1,
)
LIMIT = whole("limit", "So many at most.", low=1, high=MOST_LINES, default=100)
_line = msgspec.json.Decoder(Line)


class AuditRoutes:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @Described(who=Who.ADMIN, parameters=(AFTER, LIMIT), gives={200: AuditTail})
    def show(self, request: Request) -> Answer:
        """Show the last lines of this node's audit log; the file that `--audit-log` names has all."""
        self._context.require_admin(request)
        audit, after = self._context.audit, AFTER.of(request)
        lines = list(audit.tail.behind(after if after >= 0 else None, LIMIT.of(request)))
        shown = [_shown(number, _line.decode(line)) for number, line in lines]
        return json_answer(
            200, AuditTail(is_on=audit.is_on, lines=shown, next=lines[-1][0] if lines else audit.tail.last)
        )


def _shown(number: int, line: Line) -> AuditLine:
    return {
        "n": number,
        "time": line.time,
        "node": line.node,
        "what": line.what,
        "outcome": line.outcome,
        "who": line.who,
        "from": line.address,
        "on": list(line.on),
        "by": line.by,
    }
