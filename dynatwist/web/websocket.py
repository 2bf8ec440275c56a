"""The websocket at ``/ws``: Autobahn's protocol, taken over from the HTTP channel on the same port."""

from __future__ import annotations

from typing import Any

import msgspec
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dynatwist.api.admission import SHORT_BYTES
from dynatwist.api.limits import Limits
from dynatwist.api.live import gathered
from dynatwist.api.pipeline import Pipeline
from dynatwist.api.session import Session
from dynatwist.auth.tokens import Identity
from dynatwist.budget import Charge
from dynatwist.core import Core
from dynatwist.errors import ApiError
from dynatwist.runtime import Timer, cancel
from dynatwist.twisted_inside.websocket import OpenSocket, Sockets

from .channel import LINGER_S, BoundedChannel
from .closing import closing_answer
from .handshake import VERSION
from .heartbeat import Heartbeat

SUBPROTOCOL = "dynakv.v1.json"
_log = Logger()


AUTH_TIMEOUT_S = 10.0
"""For a socket to show a token, where one is asked for: a login before it took less."""
STRANGER_BYTES = 4 << 10
"""Of a message before that."""
CLOSE_GOING_AWAY = 1001
CLOSE_POLICY = 1008
CLOSE_TRY_LATER = 1013
"""Codes of RFC 6455, section 7.4.1, and of its registry: going away, policy violation, try again later."""
CLOSE_ELSEWHERE = 4000
"""A client's that has gone on at another node, since this one did not answer: what it is seen by is there by now. A
node that was frozen reads the goodbye when it thaws, and must not take that away."""


@implementer(IPushProducer)
class KvSocket(OpenSocket):
    """One client's socket.

    :param channel: the HTTP channel whose connection it takes over.
    :param identity: who it is, when the handshake said so.
    :param address: where the client is.
    :param sockets: those that are open; it adds itself.
    """

    session: Session | None = None
    _paused = False
    _auth_timer: Timer | None = None
    _receiving: Charge | None = None
    _says_goodbye = False
    _is_logged_out = False

    def __init__(
        self, core: Core, channel: BoundedChannel, *, identity: Identity | None, address: str, sockets: set[KvSocket]
    ) -> None:
        super().__init__()
        self._core = core
        self._channel = channel
        self._identity = identity
        self._address = address
        self._sockets = sockets
        self._heartbeat = Heartbeat(core.runtime.clock, self.sendPing, self._lost)

    def makeConnection(self, transport: Any) -> None:
        """Take the connection over, with back-pressure: the HTTP channel is the transport's producer until then."""
        transport.unregisterProducer()
        super().makeConnection(transport)
        transport.registerProducer(self, True)

    def onConnect(self, request: ConnectionRequest) -> str | None:
        """Choose the subprotocol."""
        return SUBPROTOCOL if SUBPROTOCOL in request.protocols else None

    def onOpen(self) -> None:
        """The handshake is done."""
        core, identity = self._core, self._identity
        try:
            session = core.handlers.session(
                identity=identity,
                address=self._address,
                send=self._send_text,
                wake=self._drain,
                end=self._logged_out,
                keeps=self._keeps,
            )
        except ApiError as error:
            self.end(CLOSE_TRY_LATER, error.text)
            return
        self.session = session
        self._pipeline = Pipeline(self._begin, self._want_more)
        core.handlers.context.metrics.websocket_connections += 1
        self._sockets.add(self)
        if session.is_stranger:
            self._auth_timer = core.runtime.clock.callLater(AUTH_TIMEOUT_S, self._still_strange)
        elif identity is not None:
            self._channel.belongs_to(identity.uid)

    def _still_strange(self) -> None:
        self._auth_timer = None
        if self.session is not None and self.session.is_stranger:
            self.end(CLOSE_POLICY, f"no token was shown within {AUTH_TIMEOUT_S:g} s")

    def _logged_out(self) -> None:
        """The token counts no more: what its user was to be seen by ends with it."""
        self._is_logged_out = True
        self.end(CLOSE_POLICY, "the token is not valid any more; log in again")

    def _keeps(self) -> None:
        """Something is to end when the client does: it is asked more often."""
        self.ping_no_more()
        self._heartbeat.start()

    def _lost(self) -> None:
        """The client does not answer."""
        self.give_up()

    def end(self, code: int, reason: str) -> None:
        """Close it from this side."""
        self._says_goodbye = True
        self.say_goodbye(code, reason)

    @property
    def _ends_in_order(self) -> bool:
        """Whether the client said goodbye first, or is logged out; else it may come back for what it had."""
        return self._is_logged_out or (self.ends_cleanly and not self._says_goodbye)

    def handshake_refused(self, reason: str) -> bytes:
        """Autobahn looks at more than `check_handshake` does: at the names of subprotocols and origins."""
        return closing_answer(ApiError(400, "bad_handshake", f"no websocket: {reason}"[:200]))

    def closing(self) -> None:
        """A client that does not read the last frames is not waited for."""
        self._channel.callLater(LINGER_S, self._channel.dismiss)

    # Frames from the client

    def onMessageFrameBegin(self, length: int) -> None:
        """A frame is announced: from strangers only short ones are taken."""
        strange = self.session is not None and self.session.is_stranger
        total = self.message_bytes + length
        if strange and total > STRANGER_BYTES:
            text = f"send at most {STRANGER_BYTES} bytes before a token is shown"
            self.fail_too_long(total, STRANGER_BYTES, text)
        super().onMessageFrameBegin(length)

    def onMessageFrameData(self, payload: bytes) -> None:
        """Some of a frame has arrived."""
        if self.message_bytes > SHORT_BYTES and self.session is not None and not self.has_failed:
            if self._receiving is None:
                self._receiving = Charge(self._core.budget.receiving, self.session.holder)
            try:
                self._receiving.take(len(payload))
            except ApiError as error:
                self.end(CLOSE_TRY_LATER, error.text)
                return
        super().onMessageFrameData(payload)

    def onPong(self, payload: bytes) -> None:
        """The client is there."""
        self._heartbeat.heard()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """One message from the client."""
        self._heartbeat.heard()
        if self.session is None:
            return
        if isBinary:
            error = {"id": None, "error": "send text frames with JSON", "code": "binary_frame"}
            self._send_text(msgspec.json.encode(error))
            return
        self._pipeline.offer(payload)

    def _begin(self, payload: bytes) -> None:
        assert self.session is not None
        answered = ensureDeferred(self.session.receive(payload)).addErrback(self._failed)
        answered.addCallback(lambda answer_bytes: self._answered(len(payload), answer_bytes))

    def _answered(self, size_bytes: int, answer_bytes: int) -> None:
        if self._receiving is not None and size_bytes > SHORT_BYTES:
            self._receiving.give_back(min(size_bytes, self._receiving.amount))
        if self._auth_timer is not None and self.session is not None and not self.session.is_stranger:
            cancel(self._auth_timer)
            self._auth_timer = None
            self._channel.belongs_to(self.session.holder)
        self._pipeline.over(answer_bytes)

    def _failed(self, failure: Failure) -> int:
        _log.failure("a websocket operation failed", failure=failure)
        error = {"id": None, "error": "internal error; see the log of the node", "code": "internal"}
        self._send_text(msgspec.json.encode(error))
        return 0

    def _want_more(self, more: bool) -> None:
        if more:
            self.go_on_reading()
        else:
            self.stop_reading()

    # What goes to the client

    def _send_text(self, payload: bytes) -> None:
        if self.is_standing:
            self.sendMessage(payload)
            self._channel.unread.wrote(len(payload))

    def _drain(self) -> None:
        """Send events while there is room."""
        while not self._paused and self.is_standing and self.session is not None:
            frames = gathered(self.session)
            if frames:
                self.send_frames_now(frames)
            if not frames or self.session is None or not self.session.has_more:
                return

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        """The socket is gone."""
        cancel(self._auth_timer)
        if self.session is not None:
            self._sockets.discard(self)
            self._core.handlers.context.metrics.websocket_connections -= 1
            self._pipeline.close()
            in_order = self._ends_in_order and code != CLOSE_ELSEWHERE
            self.session.close(in_order=in_order, silent_s=self._heartbeat.silent_s)
            self.session = None
        self._heartbeat.stop()
        if self._receiving is not None:
            self._receiving.give_back()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, and with it the HTTP channel that it was taken over from."""
        super().connectionLost(reason)
        self._channel.connectionLost(reason)

    # The transport's producer interface

    def pauseProducing(self) -> None:
        """The client does not read: send no more events, and take no more requests from it."""
        self._paused = True
        self._channel.stalls()
        if self.session is not None:
            self._pipeline.unread(True)

    def resumeProducing(self) -> None:
        """There is room again."""
        self._paused = False
        self._channel.unread.drained()
        if self.session is not None:
            self._pipeline.unread(False)
        if self.is_standing:
            self._drain()

    def stopProducing(self) -> None:
        """The connection ends."""


def factory_of(limits: Limits) -> Sockets:
    """What makes the node's websockets of requests.

    :param limits: a frame is as long as a body may be.
    """
    return Sockets(
        versions=[int(VERSION)],
        webStatus=False,
        maxFramePayloadSize=limits.body_bytes,
        maxMessagePayloadSize=limits.body_bytes,
        openHandshakeTimeout=10,
        closeHandshakeTimeout=2,
        failByDrop=False,
        echoCloseCodeReason=True,
        autoPingInterval=30,
        autoPingTimeout=30,
        tcpNoDelay=True,
    )
