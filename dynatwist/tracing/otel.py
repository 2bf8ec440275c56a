"""Traces by OpenTelemetry: its SDK makes the spans, and sends them by OTLP over HTTP.

Imported only where it is asked for: the packages are an extra, ``dynatwist[otel]``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from random import Random
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .export import Bounded, Counting, Heard
from .tracer import TRACEPARENT, Span, Told, is_sampled

PATH = "/v1/traces"
"""Where collectors take traces, by OTLP's specification."""
EXPORT_TIMEOUT_S = 5.0
"""For one batch with all its tries: a collector that is well answers within milliseconds, and spans wait meanwhile."""

_FORMAT = TraceContextTextMapPropagator()
_NOTHING = Context()


def url_of(endpoint: str) -> str:
    """Where spans are sent: a collector that is named without a path has the usual one."""
    parts = urlsplit(endpoint)
    return endpoint if parts.path.strip("/") or parts.query else endpoint.rstrip("/") + PATH


def shown(url: str) -> str:
    """A URL as the log may have it: without what may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class OtelSpan:
    """See `dynatwist.tracing.tracer.Span`."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """See `Span`."""
        where = self._span.get_span_context()
        return f"00-{where.trace_id:032x}-{where.span_id:016x}-{where.trace_flags:02x}"

    def end(self, told: Told, *, is_failure: bool) -> None:
        """See `Span`."""
        self._span.set_attributes(told)
        if is_failure:
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()


class OtelTracer:
    """See `dynatwist.tracing.tracer.Tracer`.

    :param endpoint: URL of the collector.
    :param sample: which share of the traces that begin here is kept; of others their beginning decides.
    :param told: what is said of this node with each span.
    :param say: logs a sentence; called in the SDK's thread.
    :param exporter: in place of the one that sends.
    """

    is_on = True

    def __init__(
        self,
        *,
        endpoint: str,
        sample: float,
        told: Told,
        say: Callable[[str], None],
        exporter: SpanExporter | None = None,
    ) -> None:
        url = url_of(endpoint)
        self._exporter = exporter or OTLPSpanExporter(url, timeout=EXPORT_TIMEOUT_S)
        self._collector = shown(url)
        self._sample = sample
        self._told = told
        self._say = say
        self._random = Random().random
        self._heard = Heard()
        self._counting: Counting | None = None
        self._bounded: Bounded | None = None
        self._provider: TracerProvider | None = None
        self._tracer: trace.Tracer = trace.NoOpTracer()

    @property
    def dropped(self) -> int:
        """See `Tracer`."""
        if self._counting is None or self._bounded is None:
            return 0
        return self._counting.dropped + self._bounded.dropped

    def begin(self, name: str, headers: Mapping[str, str]) -> Span | None:
        """See `Tracer`."""
        parent = headers.get(TRACEPARENT)
        is_kept = is_sampled(parent) if parent is not None else None
        if not (self._random() < self._sample if is_kept is None else is_kept):
            return None  # the SDK would find that out as well, in the time in which a node answers half a request
        within = _FORMAT.extract(headers, _NOTHING) if is_kept else _NOTHING
        span = self._tracer.start_span(name, within, trace.SpanKind.SERVER)
        return OtelSpan(span) if span.is_recording() else None

    def start(self, node_id: str) -> None:
        """See `Tracer`."""
        logging.getLogger("opentelemetry").addHandler(self._heard)
        named = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "dynakv"), "service.instance.id": node_id}
        provider = TracerProvider(ALWAYS_ON, Resource.create({**named, **self._told}), shutdown_on_exit=False)
        self._counting = Counting(self._exporter, self._tell)
        self._bounded = Bounded(self._counting)
        provider.add_span_processor(self._bounded)
        self._provider, self._tracer = provider, provider.get_tracer("dynatwist")

    def stop(self) -> None:
        """See `Tracer`."""
        if self._provider is not None:
            self._provider.shutdown()
        logging.getLogger("opentelemetry").removeHandler(self._heard)

    def _tell(self, are_taken: bool) -> None:
        if are_taken:
            self._say(f"{self._collector} takes traces again")
        else:
            self._say(f"{self._collector} takes no traces, and they are dropped: {self._heard.reason}")
