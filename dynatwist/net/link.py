"""One connection between two nodes.

Rules:

- The first message either way is `Hello`, within five seconds of the connection's beginning, TLS included; nothing else
  is heard before it.
- Every call has a `Ping` outstanding beside it. When that is not answered within 100 ms the peer is *stalled*: not
  reachable until it answers. A failure detector is too slow for this. A connection on which nothing is answered for
  five seconds is given up: after a long partition a new one is there at once, while TCP's next retransmission may be
  minutes away.
- A call ends once: by its reply, by the loss of the connection, or by its time-out. A stall is told besides, at most
  once a call, and a reply may still come after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger

from dynatwist.calls import call_safely
from dynatwist.model.clock import FAR_MS
from dynatwist.runtime import Runtime, Timer, cancel

from .arrival import Arrival
from .framing import FRAME_SIZES, Frame, FrameError, FrameReader, FrameSizes, State, encode_all
from .messages import AnyMessage, Done, Hello, Ping, Refused, StaleRegistry, Unable
from .pending import PendingCalls
from .replies import NoAnswer, OnReply, Reply
from .sieve import SIFTED, sifted
from .ways import Ways

STALL_S = 0.1
"""A ping that goes with each request was not answered for so long: the peer is stalled, and nobody waits for it.
Round trips in a region take a tenth of that; garbage collection and a busy disk thread less than half."""
WATCH_S = STALL_S / 4
"""How often that is looked at; it is noticed a quarter late at most."""
GIVE_UP_S = 5.0
"""A stalled peer that is not back by then gets a new connection: this one may hang in a router."""
SLEEP_S = 0.25
"""Timers that are so late tell that this process was stopped; a turn of the reactor never takes half of it."""
HELLO_TIMEOUT_S = 5.0
"""For a peer to say who it is."""
CALL_TIMEOUT_S = 10.0
"""For calls whose caller names no time: rounds and proposals, of which nobody waits for one."""
IDLE_PING_S = 0.5
"""How often a peer is pinged that is asked nothing, so that its stall is known before the next request."""
LAST_WORD_S = 2.0
"""For a message to arrive at a peer whose connection is dropped: more than a round trip, and one lost packet."""
CLOCK_MARGIN_S = 0.5
"""By how much two monotonic clocks may drift apart, and a frame be delayed, on top of what was measured."""
HELLO_BYTES = 256 << 10
"""Before its `Hello` a peer may send no longer frame. That holds the registry: more than a thousand members."""
GUEST_BYTES = 2 << 20
"""A node that is no member may send no longer frame: asking to join takes less, and nothing of it is worth more."""
CLOSE_S = 0.4
"""A connection that is to be closed, and whose other end does not close it too, is dropped after so long."""
MAX_QUEUED_BYTES = 64 << 20
"""Whoever makes much waits for acknowledgements, so this is never reached by a peer that reads at all."""

Wall = tuple[int, float]
"""(what a peer's wall clock said in ms, at which monotonic time of ours)."""


class Above(Protocol):
    """What a link asks of, and tells to, the node above."""

    def hello(self) -> Hello:
        """What to say first."""

    def state(self) -> State:
        """What to say of this node in every frame."""

    def passed(self, lapse_ms: int) -> None:
        """A member says that so much time is over; see `dynatwist.replication.lapse`."""


class LinkOwner(Protocol):
    """Who is told what happens on a link."""

    def met(self, link: PeerLink, hello: Hello) -> str | None:
        """The peer said who it is; answers why it is refused, or ``None``."""

    def received(self, link: PeerLink, message: AnyMessage, respond: Callable[[AnyMessage], None] | None) -> None:
        """A call (with `respond`) or a one-way message arrived."""

    def answered(self, link: PeerLink) -> None:
        """The peer has answered the first ping, sent after it said who it is."""

    def changed(self, link: PeerLink) -> None:
        """The link stalled or came back."""

    def closed(self, link: PeerLink) -> None:
        """The connection is gone."""


class PeerLink(TwistedProtocol):
    """See the module.

    :ivar peer: what the peer said in its `Hello`.
    :ivar sent_ms: when the peer sent its last frame, by its monotonic clock.
    :ivar position: how far the peer's log is durable, as its last frame said.
    :ivar wall: what the peer's wall clock said last; ``None`` when it never did.
    :ivar dialled_for: the node that this side dialled; ``None`` when the peer did, or its name was not known.
    :ivar is_served: whether the peer is a member; what others say of registry and time is not believed.
    :ivar began_s: when the connection was made.
    """

    log = Logger()

    def __init__(
        self,
        *,
        owner: LinkOwner,
        above: Above,
        runtime: Runtime,
        dialled_for: bytes | None,
        sizes: FrameSizes = FRAME_SIZES,
    ) -> None:
        self._sizes = sizes
        self._owner = owner
        self._above = above
        self._runtime = runtime
        self.dialled_for = dialled_for
        self.peer: Hello | None = None
        self.stalled = False
        self.refusal = ""
        self.is_served = False
        self._reader = FrameReader(min(HELLO_BYTES, sizes.max_bytes))
        self._close_by_s = float("inf")
        self._outgoing: list[tuple[int, AnyMessage]] = []
        self._calls = PendingCalls()
        self._ping_sent_s: float | None = None
        self._is_flush_due = False
        self._is_ping_measured = True
        self._clock_ms = 0
        self.position = (0, 0)
        self.sent_ms = 0
        self._has_answered = False
        self._clock_at_s = 0.0
        self.began_s = runtime.monotonic_s()
        self._ways = Ways(self.began_s)
        self.wall: Wall | None = None
        self._arrival: Arrival | None = None
        self._last_ping_s = 0.0
        self._watch_due_s = 0.0
        self.transport: Any = None
        self._paused = False
        self._queued_bytes = 0
        self._gone = False
        self._flaws: set[str] = set()
        self._leaving: Timer | None = None
        self.rtt_ms = 0.0

    # Outgoing

    def call(
        self,
        message: AnyMessage,
        on_reply: OnReply,
        on_stall: Callable[[], None] | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        """Send a call; see the rules above."""
        if self._gone:
            on_reply(NoAnswer.UNSENT)
            return
        if self._ping_sent_s is None:
            self._ping()
        call_id = self._calls.add(on_reply, self._runtime.monotonic_s() + timeout_s, on_stall)
        self._send(call_id, message)
        if self.stalled and on_stall is not None:
            on_stall()

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the cluster's secrets that both certificates of this connection are by."""
        return getattr(self.transport, "secrets", frozenset())

    @property
    def pending(self) -> int:
        """Calls that are not answered yet."""
        return len(self._calls)

    def tell(self, message: AnyMessage) -> None:
        """Send a one-way message."""
        if not self._gone:
            self._send(0, message)

    def leave(self, message: AnyMessage) -> None:
        """Drop the connection as `abort` does, with a last one-way message that has a moment to arrive."""
        self.tell(message)
        self.close()
        self._leaving = self._runtime.clock.callLater(LAST_WORD_S, self.abort)
        self._end()

    def abort(self) -> None:
        """Drop the connection."""
        if self.transport is not None and not self._gone:
            self.transport.abortConnection()

    def close(self) -> None:
        """Send what is due, then close. TLS waits for the other end to close too: not for long."""
        self._flush()
        self._close_by_s = min(self._close_by_s, self._runtime.monotonic_s() + CLOSE_S)
        if self.transport is not None and not self._gone:
            self.transport.loseConnection()

    def serve(self, is_member: bool) -> None:
        """The peer, which has said who it is, is a member from now on, or none."""
        self.is_served = is_member
        self._reader.max_bytes = self._sizes.max_bytes if is_member else min(GUEST_BYTES, self._sizes.max_bytes)

    def _ping(self) -> None:
        now_s = self._runtime.monotonic_s()
        self._ping_sent_s = self._last_ping_s = now_s
        self._is_ping_measured = True
        self._send(self._calls.add(self._pong, float("inf")), Ping())

    def _pong(self, reply: Reply) -> None:
        if isinstance(reply, NoAnswer):
            return
        assert self._ping_sent_s is not None
        rtt_s = self._runtime.monotonic_s() - self._ping_sent_s
        self.rtt_ms = rtt_s * 1000
        if self._is_ping_measured:
            self._ways.went_round(rtt_s)
        self._ping_sent_s = None
        if not self._has_answered:
            self._has_answered = True
            self._owner.answered(self)
        if self.stalled:
            self.stalled = False
            self._owner.changed(self)

    def _send(self, call_id: int, message: AnyMessage) -> None:
        self._outgoing.append((call_id, message))
        if not self._is_flush_due:
            self._is_flush_due = True
            self._runtime.at_turn_end(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._gone or not self._outgoing or self.transport is None:
            return
        messages, self._outgoing = self._outgoing, []
        now_ms = int(self._runtime.monotonic_s() * 1000)
        frames, too_long = encode_all(now_ms, self._above.state(), messages, self._sizes)
        for data in frames:
            if self._paused:
                self._queued_bytes += len(data)
                if self._queued_bytes > MAX_QUEUED_BYTES:
                    self.abort()
                    return
            self.transport.write(data)
        for call_id in too_long:
            self._leave_out(call_id)

    def _leave_out(self, call_id: int) -> None:
        """A message that no frame can hold: whoever waits is told, and the connection stays."""
        self.log.error("a message for {peer} was longer than any frame may be", peer=self.peer)
        if call_id < 0:
            self._send(call_id, Unable("the answer is too long"))
        else:
            self._calls.end(call_id, NoAnswer.UNSENT)

    # The transport's producer interface: how we learn that the peer does not read.

    def pauseProducing(self) -> None:
        """The peer reads more slowly than we write."""
        if not self._paused:
            self._paused, self._queued_bytes = True, 0

    def resumeProducing(self) -> None:
        """All is sent."""
        self._paused = False

    def stopProducing(self) -> None:
        """The connection ends."""

    # Incoming

    def connectionMade(self) -> None:
        """Greet, and start to watch the peer."""
        assert self.transport is not None
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self.began_s = self._runtime.monotonic_s()
        self.tell(self._above.hello())
        self._watch_due_s = self.began_s + WATCH_S

    def dataReceived(self, data: bytes) -> None:
        """Bytes, cut anywhere."""
        try:
            for frame in self._reader.feed(data):
                self._measure(frame)
                for call_id, message in frame.messages:
                    if self._gone:
                        return
                    call_safely(self._receive, call_id, message)
        except FrameError as error:
            self.log.warn("peer link dropped: {error}", error=str(error))
            self.abort()

    def _measure(self, frame: Frame) -> None:
        now_s, self._arrival = self._runtime.monotonic_s(), None
        self._ways.arrived(frame.sent_ms, now_s)
        self._clock_ms, self._clock_at_s = frame.clock_ms, now_s
        self.sent_ms, self.position = frame.sent_ms, frame.position
        if frame.wall_ms:
            self.wall = frame.wall_ms, now_s
        if self.is_served and frame.lapse_ms:
            self._above.passed(frame.lapse_ms)

    @property
    def clock_bound_ms(self) -> int:
        """What the peer's hybrid time cannot be beyond yet: what it last said that it is, or soon will be.

        A wall clock that was set ahead is told for a while before the peer believes it, and then no more of it than
        `FAR_MS`.
        """
        if not self._clock_ms:
            return 0
        wall_ms, _ = self.wall or (0, 0.0)
        since_s = self._runtime.monotonic_s() - self._clock_at_s + CLOCK_MARGIN_S
        told_ms = max(self._clock_ms, min(wall_ms, self._clock_ms + FAR_MS))
        return told_ms + self._age_ms() + int(1000 * since_s)

    def _age_ms(self) -> int:
        return self._ways.age_ms(self._runtime.monotonic_s())

    def arrival(self) -> Arrival:
        """How the last frame came."""
        if self._arrival is None:
            assert self.peer is not None
            self._arrival = Arrival(self.peer.member.node_id, self._age_ms(), self._slept_meanwhile())
        return self._arrival

    def _slept_meanwhile(self) -> bool:
        """Whether this process slept (its timers are overdue) while the last frame was waiting for it."""
        slept_s = self._runtime.monotonic_s() - self._watch_due_s
        return slept_s > SLEEP_S and self._ways.beyond_ms > SLEEP_S * 1000

    def refuse_record(self, flaw: str) -> None:
        """Say, once for each kind of flaw, that a record of this peer was left out."""
        if flaw not in self._flaws:
            self._flaws.add(flaw)
            peer = self.peer.member.address if self.peer is not None else "a peer"
            self.log.warn("a record from {peer} is left out: {flaw}", peer=peer, flaw=flaw)

    def _receive(self, call_id: int, message: AnyMessage) -> None:
        if type(message) in SIFTED:
            message, flaw = sifted(message)
            if flaw:
                self.refuse_record(flaw)
        if self.peer is None:
            self._meet(message)
        elif call_id < 0:
            is_believed = self.is_served or not isinstance(message, StaleRegistry)
            self._calls.end(-call_id, message if is_believed else Unable("no member says so"))
        elif isinstance(message, Ping):
            self._send(-call_id, Done())
        elif isinstance(message, Refused):
            self.refusal = message.reason
            self.abort()
        elif call_id == 0:
            self._owner.received(self, message, None)
        else:
            self._owner.received(self, message, lambda reply: self._respond(call_id, reply))

    def _respond(self, call_id: int, reply: AnyMessage) -> None:
        if not self._gone:
            self._send(-call_id, reply)

    def _meet(self, message: AnyMessage) -> None:
        if isinstance(message, Refused):
            self.refusal = message.reason
            self.abort()
            return
        if not isinstance(message, Hello):
            self.abort()
            return
        self.peer = message
        refusal = self._owner.met(self, message)
        if refusal is not None:
            self.refuse(refusal)

    def refuse(self, reason: str) -> None:
        """Say why not, and close."""
        self.refusal = reason
        self.tell(Refused(reason))
        self.close()

    def watch(self, now_s: float) -> None:
        """Look for stalls and time-outs; to be called every `WATCH_S`."""
        late_s, self._watch_due_s = now_s - self._watch_due_s, now_s + WATCH_S
        if now_s > self._close_by_s:
            self.abort()
            return
        if late_s > STALL_S / 2 and self._ping_sent_s is not None and not self.stalled:
            self._ping_sent_s = now_s  # it was us who slept: what the peer answered meanwhile is still to be read
            self._is_ping_measured = False
        if self.peer is None:
            if now_s - self.began_s > HELLO_TIMEOUT_S:
                self.abort()
            return
        if self._ping_sent_s is None:
            if now_s - self._last_ping_s >= IDLE_PING_S:
                self._ping()
        elif not self.stalled and now_s - self._ping_sent_s >= STALL_S:
            self.stalled = True
            self._owner.changed(self)
            self._calls.stall()
        elif self.stalled and now_s - self._ping_sent_s >= GIVE_UP_S:
            self.abort()
            return
        self._calls.expire(now_s)

    def connectionLost(self, reason: Any = None) -> None:
        """All calls end."""
        cancel(self._leaving)
        if not self._gone:
            self._end()

    def _end(self) -> None:
        self._gone = True
        call_safely(self._owner.closed, self)
        self._calls.lose()
