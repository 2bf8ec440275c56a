"""Which tracer a node has: the one place that knows both."""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.errors import StartError

from .tracer import NO_TRACER, Told, Tracer


def tracer_of(endpoint: str | None, sample: float, told: Told, say: Callable[[str], None]) -> Tracer:
    """The tracer that sends to an endpoint; none where there is no endpoint.

    :param sample, told, say: see `dynatwist.tracing.otel.OtelTracer`.
    :raises StartError: OpenTelemetry is not installed.
    """
    if endpoint is None:
        return NO_TRACER
    try:
        from .otel import OtelTracer
    except ImportError:
        text = "--otel-endpoint: OpenTelemetry is not installed; run pip install 'dynatwist[otel]', or leave it out"
        raise StartError(text) from None
    return OtelTracer(endpoint=endpoint, sample=sample, told=told, say=say)
