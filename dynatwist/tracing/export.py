"""From spans that have ended to a collector: a thread of the SDK's, a bound on what waits for it, a count of what is
dropped.

Imported only where OpenTelemetry's packages are asked for.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

MOST_WAITING = 4096
"""Spans that wait for the collector: some megabytes, and a second's work of a node at its fastest. More are dropped."""
BATCH = 512
"""Spans that go in one request, as the SDK has it by itself."""
EVERY_MS = 1000
"""How often they go where there are fewer: whoever looks for a trace has just seen what is wrong."""


class Heard(logging.Handler):
    """Keeps what OpenTelemetry's exporter has logged last: it says in no other way why spans were not taken.

    That there is a handler keeps `logging` from writing it to stderr, traceback and all.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last: deque[str] = deque(maxlen=2)  # what went wrong at a try, and that it was the last one

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self._last.append(record.getMessage())

    @property
    def reason(self) -> str:
        """What was said of the last batch that was not taken."""
        return "; ".join(self._last) or "no reason was given"


class Counting(SpanExporter):
    """Counts what an exporter is given and does not get rid of. It runs in the SDK's thread alone.

    :param tell: called with whether spans are taken, each time that changes.
    :ivar done: spans that it was given.
    :ivar dropped: those of them that were not taken.
    """

    def __init__(self, exporter: SpanExporter, tell: Callable[[bool], None]) -> None:
        self._exporter = exporter
        self._tell = tell
        self._are_taken = True
        self.done = self.dropped = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            are_taken = result is SpanExportResult.SUCCESS
            self.dropped += 0 if are_taken else len(spans)
            self.done += len(spans)
            if are_taken is not self._are_taken:
                self._are_taken = are_taken
                self._tell(are_taken)
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """See `SpanExporter`."""
        return True


class Bounded(SpanProcessor):
    """Hands spans to the SDK's thread, which begins with this; drops them while too many wait for it.

    :ivar dropped: spans for which there was no room.
    """

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self._batches = BatchSpanProcessor(counting, 2 * MOST_WAITING, EVERY_MS, BATCH)
        self._given = 0
        self.dropped = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """See `SpanProcessor`."""

    def on_end(self, span: ReadableSpan) -> None:
        """See `SpanProcessor`."""
        if self._given - self._counting.done >= MOST_WAITING:
            self.dropped += 1
            return
        self._given += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """See `SpanProcessor`."""
        self._batches.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """See `SpanProcessor`."""
        return self._batches.force_flush(timeout_millis)
