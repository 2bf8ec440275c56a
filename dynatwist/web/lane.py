"""The fast lane of `dynatwist.api.lane` on a connection: requests are offered to it before Twisted reads them.

The lane may take bytes only where Twisted's parser holds none. While it has a request that is not answered, what
arrives behind is kept, up to a bound, and read when the answer is written.
"""

from __future__ import annotations

from dynatwist.api.lane import FastLane

from .channel import BoundedChannel

MAX_BEHIND_BYTES = 64 << 10
"""How much is read behind a request that is not answered yet."""


class LaneChannel(BoundedChannel):
    """See the module."""

    _address = ""
    _in_lane = False
    _is_held = False
    _behind = b""

    def connectionMade(self) -> None:
        """A client is there."""
        assert self.transport is not None
        self._address = getattr(self.transport.getPeer(), "host", "")
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Bytes, cut anywhere."""
        if self.refused:
            return
        if self._in_lane:
            self._behind += data
            if len(self._behind) > MAX_BEHIND_BYTES and not self.is_client_behind:
                self.stop_reading()
            return
        lane = self.site.lane
        if lane is not None and self.is_between_requests and not self.is_reserved:
            if self.is_client_behind:
                self._hold(data)
                return
            if not self.site.intake.has_time():
                self._in_lane, self._behind = True, data
                self.site.intake.postpone(self._go_on)
                return
            data = self._run_lane(lane, data)
            if not data:
                return
        super().dataReceived(data)

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self._in_lane or super().is_busy

    def resumeProducing(self) -> None:
        """The client has read."""
        super().resumeProducing()
        if self._is_held:
            self._is_held = False
            self._go_on()

    def _run_lane(self, lane: FastLane, data: bytes) -> bytes:
        """Have the fast lane answer what it can.

        :returns: what it leaves to Twisted.
        """
        self.resetTimeout()
        while data:
            self._in_lane = True
            took = lane.take(data, self._address, self._answer, self.certificate)
            if not took:
                self._in_lane = False
                return data
            self.await_no_more()
            data = data[took:]
            if self._in_lane:  # not answered yet
                self._behind = data
                return b""
            if self.is_client_behind:
                self._hold(data)
                return b""
        return b""

    def _hold(self, data: bytes) -> None:
        """The client does not read its answers: it gets no more of them until it does."""
        self._in_lane, self._is_held, self._behind = True, True, data
        self.stop_reading()

    def _answer(self, answer: bytes, holder: str) -> None:
        """The fast lane's answer."""
        if not self.is_gone and not self.refused:
            if holder and holder != self.holder:
                self.belongs_to(holder)
            heavy = self.site.heavy
            if holder != heavy.last_holder:
                heavy.met(holder)
            self.send_now(answer)
        self._go_on()

    def _go_on(self) -> None:
        """Take in what arrived meanwhile."""
        self._in_lane = False
        if self.is_gone or self.refused:
            return
        data, self._behind = self._behind, b""
        if len(data) > MAX_BEHIND_BYTES and not self.is_client_behind:
            self.go_on_reading()
        if data:
            self.dataReceived(data)
