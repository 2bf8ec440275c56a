"""The contracts of `dynatwist.twisted_inside.http`; see `test_twisted_inside`."""

from __future__ import annotations

import pytest
from klein import Klein
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from dynatwist.twisted_inside.http import OpenRequest

from .inside import GET, PUT, Asked, Channel, a_channel, a_site


@pytest.fixture
def site():
    return a_site()


@pytest.fixture
def channel(site):
    return a_channel(site)


class TestWhereTheParserStands:
    def test_a_site_makes_channels_of_the_kind_it_is_given(self, site, channel):
        assert type(channel) is Channel, "Site.protocol does not say any more what makes channels"
        assert channel.site is site, "Site.buildProtocol does not tell a channel its site any more"
        assert channel.requestFactory is Asked, "Site.requestFactory does not make the requests any more"

    def test_between_requests(self, channel):
        assert channel.is_between_requests, "a new channel is not where the next byte begins a request"
        channel.dataReceived(GET[:3])
        assert not channel.is_between_requests, "HTTPChannel does not keep some of a line in _buffer any more"
        channel.dataReceived(GET[3:-4])
        assert not channel.is_between_requests, "HTTPChannel.__first_line does not tell heads from their beginning"
        channel.dataReceived(GET[-4:])
        assert not channel.is_between_requests, "HTTPChannel.requests does not hold a request until it is answered"
        assert channel.is_answering
        channel.requests[0].finish()
        assert channel.is_between_requests, "HTTPChannel does not begin again once a request is answered"
        assert not channel.is_answering

    def test_not_while_it_is_parsing(self, channel, monkeypatch):
        seen = []
        monkeypatch.setattr(Channel, "head_read", lambda self, *_: seen.append(self._busyReceiving) or True)
        channel.dataReceived(GET)
        assert seen == [True], "LineReceiver._busyReceiving does not tell any more that the parser is at work"

    def test_not_behind_an_empty_line_of_which_only_one_is_forgiven(self, channel):
        channel.dataReceived(b"\r\n")
        assert not channel.is_between_requests, "HTTPChannel.__first_line does not tell of an empty line any more"

    def test_not_once_the_connection_is_to_end(self, channel):
        channel.dataReceived(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        channel.requests[0].finish()
        assert not channel.is_between_requests, "HTTPChannel.persistent does not tell any more that no request follows"

    def test_before_a_body_in_it_and_behind(self, channel):
        assert channel.is_before_body
        channel.dataReceived(PUT[:-2])
        channel.dataReceived(PUT[-2:] + b"{}")
        assert not channel.is_before_body, "HTTPChannel._transferDecoder does not tell of a body any more"
        channel.dataReceived(b"   ")
        assert not channel.is_before_body, "HTTPChannel._handlingRequest does not tell of an answer under way any more"
        channel.requests[0].finish()
        assert channel.is_before_body, "HTTPChannel keeps the decoder of a body that is over"

    def test_what_happens_in_order(self, channel):
        channel.dataReceived(PUT + b"12345" + GET)
        channel.requests[0].finish()
        first = ["head with a body", "PUT /a", "all read", "handed on"]
        assert channel.happened == [*first, "head", "GET /a", "all read", "handed on"], (
            "HTTPChannel tells of heads, bodies and requests in another order, or HTTPChannel._command and _path "
            "are not method and target"
        )

    def test_a_head_that_is_not_to_go_on_does_not(self, channel):
        channel.goes_on = False
        channel.dataReceived(PUT)
        assert channel.happened == ["head with a body"], "HTTPChannel.allHeadersReceived is not what goes on"


MALFORMED = {
    "request line": b"GET\r\n",
    "header": b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    "name": b"GET / HTTP/1.1\r\na b: c\r\n\r\n",
    "length": b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "encoding": b"GET / HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n",
    "chunk": b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
}


class TestWhatIsRefused:
    @pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
    def test_malformed(self, channel, sent):
        channel.dataReceived(sent)
        assert "malformed" in channel.happened, "HTTPChannel takes this now, or refuses it in another way"
        assert channel.transport.value() == b"", "HTTPChannel answers what is malformed by itself"

    def test_heads_are_bounded(self, channel):
        channel.bound_heads(100)
        channel.dataReceived(b"GET /" + bytes(200))
        assert channel.happened == ["line too long"], "HTTPChannel.MAX_LENGTH does not bound lines any more"

    def test_heads_are_bounded_over_all_their_lines(self, channel):
        channel.bound_heads(100)
        channel.dataReceived(GET[:-2] + b"A: " + b"1" * 70 + b"\r\n")
        assert not channel.is_head_too_large
        channel.dataReceived(b"A: 1\r\nA: 2\r\n")
        assert channel.happened == ["malformed"], "HTTPChannel.totalHeadersSize does not bound heads any more"
        assert channel.is_head_too_large, "HTTPChannel._receivedHeaderSize does not count heads any more"

    def test_lines_are_counted(self, channel):
        channel.bound_heads(1 << 20)
        channel.dataReceived(GET[:-2] + b"A: 1\r\n" * (channel.maxHeaders + 2))
        assert "malformed" in channel.happened, "HTTPChannel.maxHeaders does not bound the lines of a head any more"
        assert channel.is_head_too_large, "HTTPChannel._receivedHeaderCount does not count lines any more"

    @pytest.mark.parametrize("invites", [True, False])
    def test_a_body_is_invited_or_not(self, channel, invites):
        channel.invites = invites
        channel.dataReceived(PUT[:-2] + b"Expect: 100-continue\r\n\r\n")
        invited = channel.transport.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert invited is invites, "HTTPChannel._send100Continue is not what invites a body any more"

    def test_what_comes_is_dropped_and_read_on(self, channel):
        channel.dataReceived(PUT)
        channel.transport.pauseProducing()
        channel.happened.append("dropped")
        channel.drop_what_comes()
        assert channel.transport.producerState == "producing", "HTTPChannel._networkProducer is not the transport"
        channel.dataReceived(b"xyz")
        assert channel.happened[-1] == b"xyz", "LineReceiver.setRawMode does not hand over what comes any more"


class TestReadingAndWriting:
    def test_reading_stops_and_goes_on(self, channel):
        channel.stop_reading()
        assert channel.transport.producerState == "paused", "HTTPChannel._networkProducer does not pause the transport"
        channel.go_on_reading()
        assert channel.transport.producerState == "producing", "HTTPChannel._networkProducer does not resume it"

    def test_a_client_that_does_not_read(self, channel):
        assert channel.transport.producer is channel, "HTTPChannel is not the producer of its transport any more"
        channel.pauseProducing()
        assert channel.is_client_behind, "HTTPChannel._waitingForTransport does not tell of unread answers any more"
        channel.resumeProducing()
        assert not channel.is_client_behind, "HTTPChannel._waitingForTransport stays when the client has read"

    def test_an_answer_that_fills_the_transport_stops_reading(self, channel):
        channel.dataReceived(GET)
        channel.pauseProducing()
        assert channel.transport.producerState == "producing", "HTTPChannel stops reading by itself now: delete ours"
        channel.requests[0].finish()
        assert channel.transport.producerState == "paused", "HTTPChannel.requestDone is not the end of a request"

    def test_what_arrived_behind_a_request_is_taken(self, channel):
        channel.dataReceived(GET + b"behind" + b"\r\nit")
        channel.dataReceived(b" all")
        behind = channel.take_behind()
        assert behind == b"behind\r\nit all", "HTTPChannel does not keep what arrives behind a request in _dataBuffer"
        channel.requests[0].finish()
        assert channel.happened.count("malformed") == 0, "HTTPChannel still has what was taken from behind a request"

    def test_what_arrived_behind_waits_without_a_bound_of_ours(self, channel):
        channel.dataReceived(GET)
        channel.dataReceived(bytes(1 << 20))
        assert channel.transport.producerState == "paused", "HTTPChannel reads on and on behind a request now"

    def test_an_answer_past_the_request(self, channel):
        channel.send_now(b"now")
        assert channel.transport.value() == b"now"


class TestRequests:
    def test_a_long_body_stays_in_memory(self, channel):
        channel.dataReceived(PUT.replace(b"5", b"300000") + bytes(300_000))
        assert type(channel.requests[0].content).__name__ == "BytesIO", "Request takes a body elsewhere than to content"
        assert len(channel.requests[0].content.read()) == 300_000, (
            "Request.handleContentChunk does not write to content"
        )

    def test_forms_stay_as_they_are(self, channel):
        form = b"POST /a?b=c&d HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        channel.dataReceived(form + b"Content-Length: 3\r\n\r\na=b")
        request = channel.requests[0]
        assert (request.path, request.query, request.args) == (b"/a", b"b=c&d", {}), "Request parses forms on the way"
        assert request.content.read() == b"a=b"

    def test_chunks_are_framed_or_not(self, site, channel):
        channel.dataReceived(GET)
        channel.requests[0].write(b"a")
        assert channel.requests[0].is_begun, "Request.startedWriting does not tell any more that an answer is begun"
        channel.requests[0].send_chunks([b"2\r\nbc\r\n", b"1\r\nd\r\n"])
        body = channel.transport.value().partition(b"\r\n\r\n")[2]
        assert body == b"1\r\na\r\n2\r\nbc\r\n1\r\nd\r\n", (
            "Request.chunked does not tell any more that an answer goes in chunks"
        )

    def test_older_clients_get_no_chunks(self, channel):
        channel.dataReceived(b"GET /a HTTP/1.0\r\n\r\n")
        channel.requests[0].write(b"a")
        channel.requests[0].send_chunks([b"2\r\nbc\r\n", b"1\r\nd\r\n"])
        assert channel.transport.value().endswith(b"\r\n\r\nabcd"), "Request.chunked is set for HTTP/1.0 too"

    def test_a_request_knows_its_channel_while_it_can_be_answered(self, channel):
        channel.dataReceived(GET)
        request = channel.requests[0]
        assert request.is_connected
        request.finish()
        assert not request.is_connected, "Request keeps its channel when it is answered"
        channel.dataReceived(GET)
        request = channel.requests[0]
        channel.connectionLost(Failure(ConnectionDone()))
        assert not request.is_connected, "Request keeps its channel when that is gone"

    @pytest.mark.parametrize("host", [b"x", b"\xff", b"[", b"a b", b"x:99999"])
    def test_klein_routes_segments_as_they_were_sent_under_any_name(self, site, channel, monkeypatch, host):
        app, found = Klein(), []
        app.route("/<a>/key/<b>", merge_slashes=False)(lambda request, a, b: found.append((a, b)) or b"")
        site.resource = app.resource()
        monkeypatch.setattr(Asked, "process", OpenRequest.render_as_sent)
        channel.dataReceived(GET.replace(b"/a", b"/x%2Fy/key/a%252F%20b").replace(b"Host: x", b"Host: " + host))
        assert found == [("x%2Fy", "a%252F%20b")], "Klein routes by something else than postpath and getRequestHostname"
