"""Routes that show a whole cluster, for administrators."""

from __future__ import annotations

from math import isnan

from dynatwist.errors import ApiError
from dynatwist.health.condition import Condition
from dynatwist.health.verdict import judge
from dynatwist.history.history import SPANS, end_ms
from dynatwist.net.messages import AskCondition, AskHistory, ConditionIs, HistoryIs
from dynatwist.requests.everybody import Everybody

from ..context import Context
from ..openapi.described import Described, Who
from ..openapi.parameters import Parameter
from ..request import Answer, Request, json_answer
from ..shapes.insight import History, NodeHistory, Overview
from .cluster import Looked, by_address
from .condition import condition_of
from .in_use import InUse
from .sampler import Sampler

SPAN = Parameter(
    name="span",
    text="How far back: ten minutes by 5 seconds, an hour by 30 seconds, or a day by 10 minutes.",
    schema={"type": "string", "enum": list(SPANS), "default": "10m"},
    refuses=("bad_span",),
)
DIGITS = 4
"""Of samples, behind the point: nobody sees more in a line."""


class InsightRoutes:
    """See the module. Every method may raise `ApiError`.

    :ivar sampler: fills this node's history.
    :ivar everybody: asks all members.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._started_ms = context.cluster.runtime.wall_ms()
        self.sampler = Sampler(context)
        self._secret = InUse(context)
        self.everybody = everybody = Everybody(context.cluster)
        everybody.on_ask(AskCondition, lambda message: ConditionIs(self._condition()))
        everybody.on_ask(AskHistory, lambda message: HistoryIs(self.sampler.history.view(message.span, message.tick)))

    def _condition(self) -> Condition:
        hints_before = self.sampler.a_minute_ago("hints")
        return condition_of(self._context, self._started_ms, hints_before, self._secret.since_ms())

    def look(self) -> None:
        """A second has passed, or about that."""
        self.sampler.look()
        self._secret.look()

    @Described(who=Who.ADMIN, gives={200: Overview})
    async def overview(self, request: Request) -> Answer:
        """Show how the whole cluster is, in one sentence, with advice, and each member."""
        self._context.require_admin(request)
        told = await self.everybody.ask(AskCondition(), ConditionIs)
        looked = Looked(self._context.cluster, told)
        judged = judge(looked.seen())
        return json_answer(
            200,
            Overview(
                verdict=judged.verdict.value,
                sentence=judged.sentence,
                advice=list(judged.advice),
                failures_left=judged.failures_left,
                members=looked.members(),
            ),
        )

    @Described(who=Who.ADMIN, parameters=(SPAN,), gives={200: History})
    async def history(self, request: Request) -> Answer:
        """Show figures of all members over a while, such as requests a second."""
        self._context.require_admin(request)
        asked = request.query.get("span", "10m")
        span = next((one for one in SPANS if one == asked), None)
        if span is None:
            raise ApiError(400, "bad_span", f"span is one of {', '.join(SPANS)}")
        tick, (step_s, steps) = self.sampler.last_tick, SPANS[span]
        told = await self.everybody.ask(AskHistory(span, tick), HistoryIs)
        nodes = {address: _samples(one, steps) for address, one in by_address(self._context.cluster, told).items()}
        return json_answer(200, History(span=span, step_s=step_s, until_ms=end_ms(span, tick), nodes=nodes))


def _samples(told: HistoryIs | str, steps: int) -> NodeHistory:
    """A member's samples; what a later release tells in another form is left out."""
    if isinstance(told, str):
        return {"error": told}
    return {
        "series": {
            name: [None if isnan(one) else round(one, DIGITS) for one in samples]
            for name, samples in told.series.items()
            if len(samples) == steps
        }
    }
