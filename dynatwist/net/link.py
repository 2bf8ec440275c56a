"""One connection between two nodes.

Rules:

- The first message either way is `Hello`, within five seconds of the connection's beginning, TLS included; nothing else
  is heard before it.
- Every call has a `Ping` outstanding beside it, which tells whether the peer is there: see `dynatwist.net.pulse`.
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
from dynatwist.runtime import Runtime, Timer, cancel

from .above import Above
from .arrival import Arrival
from .certified import Certified
from .framing import FRAME_SIZES, Frame, FrameError, FrameReader, FrameSizes
from .heard import Heard
from .lives import Word
from .messages import AnyMessage, Done, Hello, Ping, Refused, StaleRegistry, Unable
from .outgoing import Outgoing
from .pending import PendingCalls
from .pulse import SLEEP_S, Beat, Pulse
from .replies import NoAnswer, OnReply, Reply
from .sieve import SIFTED, sifted

HELLO_TIMEOUT_S = 5.0
"""For a peer to say who it is."""
CALL_TIMEOUT_S = 10.0
"""For calls whose caller names no time: rounds and proposals, of which nobody waits for one."""
LAST_WORD_S = 2.0
"""For a message to arrive at a peer whose connection is dropped: more than a round trip, and one lost packet."""
HELLO_BYTES = 256 << 10
"""Before its `Hello` a peer may send no longer frame. That holds the registry: more than a thousand members."""
GUEST_BYTES = 2 << 20
"""A node that is no member may send no longer frame: asking to join takes less, and nothing of it is worth more."""
CLOSE_S = 0.4
"""A connection that is to be closed, and whose other end does not close it too, is dropped after so long."""


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
    :ivar heard: what its frames say of it.
    :ivar dialled_for: the node that this side dialled; ``None`` when the peer did, or its name was not known.
    :ivar certified: what the certificates of the connection say, once it is secured.
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
        self._owner = owner
        self._above = above
        self._runtime = runtime
        self._max_bytes = sizes.max_bytes
        self.dialled_for = dialled_for
        self.peer: Hello | None = None
        self.certified: Certified | None = None
        self.refusal = ""
        self.is_served = False
        self.began_s = runtime.monotonic_s()
        self.transport: Any = None
        self.heard = Heard(self.began_s)
        self._pulse = Pulse(self.began_s)
        self._calls = PendingCalls()
        self._outgoing = Outgoing(
            runtime=runtime, sizes=sizes, state=above.state, left_out=self._leave_out, too_much=self.abort
        )
        self._reader = FrameReader(min(HELLO_BYTES, sizes.max_bytes))
        self._arrival: Arrival | None = None
        self._flaws: set[str] = set()
        self._close_by_s = float("inf")
        self._leaving: Timer | None = None
        self._gone = False

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
        if not self._pulse.is_asked:
            self._ping()
        call_id = self._calls.add(on_reply, self._runtime.monotonic_s() + timeout_s, on_stall)
        self._outgoing.add(call_id, message)
        if self._pulse.is_stalled and on_stall is not None:
            on_stall()

    def certify(self, certified: Certified) -> None:
        """The connection is secured; nothing has come of the peer before."""
        self.certified = certified

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the cluster's secrets that both certificates of this connection are by."""
        return self.certified.secrets if self.certified is not None else frozenset()

    @property
    def pending(self) -> int:
        """Calls that are not answered yet."""
        return len(self._calls)

    @property
    def is_stalled(self) -> bool:
        """Whether the peer has to answer a ping before it counts as reachable."""
        return self._pulse.is_stalled

    @property
    def rtt_ms(self) -> float:
        """The last round trip."""
        return self._pulse.rtt_ms

    def tell(self, message: AnyMessage) -> None:
        """Send a one-way message."""
        if not self._gone:
            self._outgoing.add(0, message)

    def leave(self, message: AnyMessage) -> None:
        """Drop the connection as `abort` does, with a last one-way message that has a moment to arrive."""
        self.tell(message)
        self.close()
        if self.transport is not None and not self._gone:
            self._leaving = self._runtime.clock.callLater(LAST_WORD_S, self.transport.abortConnection)
        self._end()

    def abort(self) -> None:
        """Drop the connection."""
        if self.transport is not None and not self._gone:
            self.transport.abortConnection()

    def close(self) -> None:
        """Send what is due, then close. TLS waits for the other end to close too: not for long."""
        self._outgoing.flush()
        self._close_by_s = min(self._close_by_s, self._runtime.monotonic_s() + CLOSE_S)
        if self.transport is not None and not self._gone:
            self.transport.loseConnection()

    def serve(self, is_member: bool) -> None:
        """The peer, which has said who it is, is a member from now on, or none."""
        self.is_served = is_member
        self._reader.allow(self._max_bytes if is_member else min(GUEST_BYTES, self._max_bytes))

    def _ping(self) -> None:
        self._pulse.ask(self._runtime.monotonic_s())
        self._outgoing.add(self._calls.add(self._pong, float("inf")), Ping())

    def _pong(self, reply: Reply) -> None:
        if isinstance(reply, NoAnswer):
            return
        is_first, was_stalled = not self._pulse.has_answered, self._pulse.is_stalled
        rtt_s = self._pulse.answer(self._runtime.monotonic_s())
        if rtt_s is not None:
            self.heard.went_round(rtt_s)
        if is_first:
            self._owner.answered(self)
        if was_stalled:
            self._owner.changed(self)

    def _leave_out(self, call_id: int) -> None:
        """A message that no frame can hold: whoever waits is told, and the connection stays."""
        self.log.error("a message for {peer} was longer than any frame may be", peer=self.peer)
        if call_id < 0:
            self._outgoing.add(call_id, Unable("the answer is too long"))
        else:
            self._calls.end(call_id, NoAnswer.UNSENT)

    # Incoming

    def connectionMade(self) -> None:
        """Greet, and start to watch the peer."""
        assert self.transport is not None
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self._outgoing.begin(self.transport)
        self.began_s = self._runtime.monotonic_s()
        self._pulse.wake(self.began_s)
        self.tell(self._above.hello())

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
        self._arrival = None
        self.heard.arrived(frame, self._runtime.monotonic_s())
        if self.is_served and frame.lapse_ms:
            self._above.passed(frame.lapse_ms)

    def arrival(self) -> Arrival:
        """How the last frame came."""
        if self._arrival is None:
            assert self.peer is not None
            age_ms = self.heard.age_ms(self._runtime.monotonic_s())
            self._arrival = Arrival(self.peer.member.node_id, age_ms, self._slept_meanwhile())
        return self._arrival

    def _slept_meanwhile(self) -> bool:
        """Whether this process slept (nobody has looked at the pulse) while the last frame was waiting for it."""
        slept_s = self._pulse.slept_s(self._runtime.monotonic_s())
        return slept_s > SLEEP_S and self.heard.beyond_ms > SLEEP_S * 1000

    def word(self) -> Word:
        """What the peer's process has said of itself last."""
        assert self.peer is not None
        return Word(self.peer.epoch, self.heard.sent_ms, self.heard.position)

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
            self._outgoing.add(-call_id, Done())
        elif isinstance(message, Refused):
            self.refusal = message.reason
            self.abort()
        elif call_id == 0:
            self._owner.received(self, message, None)
        else:
            self._owner.received(self, message, lambda reply: self._respond(call_id, reply))

    def _respond(self, call_id: int, reply: AnyMessage) -> None:
        if not self._gone:
            self._outgoing.add(-call_id, reply)

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
        """Look for stalls and time-outs; to be called every `dynatwist.net.pulse.WATCH_S`."""
        self._pulse.wake(now_s)
        is_mute = self.peer is None and now_s - self.began_s > HELLO_TIMEOUT_S
        if is_mute or now_s > self._close_by_s:
            self.abort()
        elif self.peer is not None and self._goes_on(self._pulse.look(now_s)):
            self._calls.expire(now_s)

    def _goes_on(self, beat: Beat) -> bool:
        """Do what the pulse says; whether the connection is kept."""
        if beat is Beat.GIVE_UP:
            self.abort()
        elif beat is Beat.PING:
            self._ping()
        elif beat is Beat.STALL:
            self._owner.changed(self)
            self._calls.stall()
        return beat is not Beat.GIVE_UP

    def connectionLost(self, reason: Any = None) -> None:
        """All calls end."""
        cancel(self._leaving)
        if not self._gone:
            self._end()

    def _end(self) -> None:
        self._gone = True
        self._outgoing.end()
        call_safely(self._owner.closed, self)
        self._calls.lose()
