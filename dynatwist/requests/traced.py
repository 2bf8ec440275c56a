"""What an owner does for requests of other nodes, as parts of their traces.

A message that serves many requests names the spans of those that are traced; earlier releases do not read so far.
"""

from __future__ import annotations

from collections.abc import Sequence

from dynatwist.cluster.switchboard import Respond
from dynatwist.net.messages import AnyMessage, Unable
from dynatwist.tracing.tracer import TRACEPARENT, Tracer, is_sampled

MOST_SPANS = 256
"""Of one message: a whole turn of requests, all of them traced."""


def in_traces(tracer: Tracer, name: str, traces: Sequence[str], respond: Respond) -> Respond:
    """Has a span in each of some traces last until a message is answered.

    :param traces: ``traceparent`` of the requests; what is none is passed over.
    :param respond: takes the answer.
    :returns: what takes the answer instead.
    """
    if not traces or not tracer.is_on:
        return respond
    found = [tracer.begin(name, {TRACEPARENT: trace}) for trace in traces[:MOST_SPANS] if is_sampled(trace)]

    def ended(reply: AnyMessage) -> None:
        for span in found:
            if span is not None:
                span.end({"dynakv.answer": type(reply).__name__}, is_failure=isinstance(reply, Unable))
        respond(reply)

    return ended
