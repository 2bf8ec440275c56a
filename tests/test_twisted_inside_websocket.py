"""The contracts of `dynatwist.twisted_inside.websocket`; see `test_twisted_inside`."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from dynatwist.twisted_inside import websocket

from .inside import a_channel, a_site

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """A client's frame (RFC 6455, section 5.2), masked with zeros."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2)
    return bytes((first,)) + length + bytes(4) + payload


class Socket(websocket.OpenSocket):
    """Notes what it is told."""

    def __init__(self):
        super().__init__()
        self.happened = []

    def onOpen(self):
        self.happened.append("open")

    def onMessageFrameBegin(self, length):
        super().onMessageFrameBegin(length)
        self.happened.append(self.message_bytes)

    def onMessage(self, payload, isBinary):
        self.happened.append(payload)

    def onPong(self, payload):
        self.happened.append("pong")

    def closing(self):
        self.happened.append("closing")

    def handshake_refused(self, reason):
        return b"refused"


class TestWebsockets:
    @pytest.fixture
    def opened(self):
        """Opens a socket, whose connection ends with the test: its timers would end it during a later one.

        :returns: socket, transport, and what was sent behind the handshake's answer.
        """

        channel, sockets = a_channel(a_site()), []

        def open_socket(*behind: bytes, handshake: bytes = HANDSHAKE):
            made = Socket()
            sockets.append(made)
            transport = channel.transport
            transport.protocol = channel
            channel.dataReceived(handshake + b"".join(behind))
            websocket.Sockets(failByDrop=False).take_over(channel.requests[0], made, channel.take_behind())
            return made, transport

        yield open_socket
        for made in sockets:
            made.connectionLost(Failure(ConnectionDone()))

    def test_a_connection_is_taken_over_with_what_came_behind(self, opened):
        made, transport = opened(frame(b"early"))
        assert transport.value().startswith(b"HTTP/1.1 101"), "WebSocketResource does not hand the request on any more"
        assert made.happened == ["open", 5, b"early"], "WebSocketResource does not hand on what it finds in content"
        assert transport.protocol is made, "WebSocketResource does not take the transport over any more"
        assert made.is_standing, "WebSocketProtocol.state does not tell any more that a socket is open"

    def test_announced_bytes_are_counted_before_they_come(self, opened):
        made, _ = opened(frame(b"abc", 0x01), frame(b"x" * 100, 0x80)[:6])
        assert made.happened == ["open", 3, 103], "message_data_total_length does not count announced frames any more"

    def test_any_code_closes(self, opened):
        made, transport = opened()
        transport.clear()
        made.say_goodbye(1013, "ü" * 100)
        head = transport.value()[:4]
        assert (head[0], head[2:4]) == (0x88, (1013).to_bytes(2)), "sendCloseFrame does not take any code any more"
        assert len(transport.value()) <= 127, "a close frame is longer than RFC 6455 allows"
        assert not made.is_standing

    def test_it_tells_whether_the_client_said_goodbye(self, opened):
        made, _ = opened()
        assert not made.ends_cleanly
        made.dataReceived(frame((1001).to_bytes(2), 0x88))
        assert made.ends_cleanly, "wasClean does not tell any more that a client has closed in order"

    def test_a_connection_is_ended_without_a_word(self, opened):
        made, transport = opened()
        made.give_up()
        assert not made.ends_cleanly, "dropConnection takes what was lost for closed in order"
        assert transport.disconnecting, "dropConnection does not end a connection any more"

    def test_pongs_are_told_and_autobahn_can_be_kept_from_pinging(self, opened):
        made, transport = opened()
        made.autoPingInterval = 30
        made.ping_no_more()
        transport.clear()
        made._sendAutoPing()
        made.dataReceived(frame(transport.value()[2:], 0x8A))
        assert made.happened[-1] == "pong", "onPong is not called for the pongs of Autobahn's own pings any more"
        assert made.autoPingPendingCall is None, "autoPingInterval does not keep Autobahn from pinging any more"

    def test_what_is_too_long_fails_the_socket(self, opened):
        made, transport = opened()
        transport.clear()
        made.fail_too_long(9, 8, "too long")
        assert transport.value()[2:4] == (1009).to_bytes(2), "_max_message_size_exceeded does not close with 1009"
        assert made.has_failed, "failedByMe does not tell any more that a socket failed"
        made.dataReceived(frame(b"more"))
        assert b"more" not in made.happened

    def test_it_tells_that_the_connection_is_closed(self, opened):
        made, transport = opened()
        made.dataReceived(frame((1000).to_bytes(2), 0x88))
        assert "closing" in made.happened, "_closeConnection is not the way to the end any more"
        assert transport.disconnecting

    def test_a_handshake_that_autobahn_refuses(self, opened):
        refused = HANDSHAKE.replace(b"Version: 13", b"Version: x")
        _, transport = opened(handshake=refused)
        assert transport.value() == b"refused", "failHandshake is not the way to refuse a handshake any more"
        assert transport.disconnecting, "dropConnection does not end a handshake any more"

    @pytest.mark.parametrize("size_bytes", [0, 1, 125, 126, 65535, 65536])
    def test_frames_are_as_autobahn_makes_them(self, opened, size_bytes):
        made, transport = opened()
        transport.clear()
        made.sendMessage(b"x" * size_bytes)
        theirs = transport.value()
        transport.clear()
        made.send_frames_now([b"x" * size_bytes] * 2)
        assert transport.value() == theirs * 2, "Autobahn's frames differ from ours"

    def test_a_frame_does_not_overtake_what_autobahn_queues(self, opened):
        made, transport = opened()
        transport.clear()
        made.send_queue.append((b"first", False))
        made.send_frames_now([b"second", b"third"])
        assert transport.value() == b"first", "Autobahn does not queue in send_queue any more, and would be overtaken"
        assert [payload[-6:] for payload, _ in made.send_queue] == [b"second", b"\x05third"]
