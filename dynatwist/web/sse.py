"""Server-sent events (WHATWG HTML, section 9.2) over a twisted.web request."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from dynatwist.api.live import Stream, gathered
from dynatwist.metrics import Metrics
from dynatwist.runtime import Clock, Timer, cancel

from .request import BoundedRequest

HEARTBEAT_S = 15.0
"""Proxies end a silent connection after 30 or 60 seconds."""


@implementer(IPushProducer)
class SseStream:
    """One listener. Starts silent; a comment every 15 s keeps the connection, finds out dead ones,
    and says where the listener is."""

    def __init__(self, request: BoundedRequest, clock: Clock, metrics: Metrics, streams: set[SseStream]) -> None:
        self._request = request
        self._clock = clock
        self._metrics = metrics
        self._streams = streams
        self._stream: Stream | None = None
        self._paused = False
        self._ended = False
        self._heartbeat: Timer | None = None
        self._done: Deferred[None] = Deferred()

    def begin(self, stream: Stream) -> Deferred[None]:
        """Answer the request, and go on until either side ends it.

        :param stream: what to send; closed at the end.
        :returns: fires at the end.
        """
        self._stream = stream
        request = self._request
        request.setHeader(b"content-type", b"text/event-stream; charset=utf-8")
        request.setHeader(b"cache-control", b"no-cache, no-store")
        request.setHeader(b"x-accel-buffering", b"no")
        request.notifyFinish().addBoth(lambda _: self._end())
        self._metrics.sse_connections += 1
        self._streams.add(self)
        if request.method == b"HEAD":
            self._end()
            return self._done
        request.registerProducer(self, True)
        self._beat()
        self.wake()
        return self._done

    def wake(self) -> None:
        """Something is queued."""
        if self._stream is None:
            return
        while not self._paused and not self._ended:
            chunks = gathered(self._stream)
            if chunks:
                self._request.send_chunks(chunks)
            if not chunks or not self._stream.has_more:
                return

    def close(self) -> None:
        """End the stream from this side: the node stops, or the listener's token counts no more."""
        self._end()

    def _beat(self) -> None:
        self._heartbeat = self._clock.callLater(HEARTBEAT_S, self._beat)
        if not self._paused and self._stream is not None:
            self._request.write(self._stream.beat())

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._metrics.sse_connections -= 1
        self._streams.discard(self)
        cancel(self._heartbeat)
        if self._stream is not None:
            self._stream.close()
        if self._request.is_connected:
            self._request.unregisterProducer()
        self._done.callback(None)

    def pauseProducing(self) -> None:
        """The client reads more slowly than we write; its queue fills, and is bounded."""
        self._paused = True

    def resumeProducing(self) -> None:
        """There is room again."""
        self._paused = False
        self.wake()

    def stopProducing(self) -> None:
        """The connection ends."""
