"""A channel and requests of `dynatwist.twisted_inside.http` that note what they are told."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.server import Site

from dynatwist.twisted_inside.http import OpenChannel, OpenRequest


class Channel(OpenChannel):
    """Notes what it is told.

    :ivar happened: in order.
    """

    invites = goes_on = True

    def __init__(self):
        super().__init__()
        self.happened = []

    def head_read(self, headers, has_body):
        self.happened.append("head with a body" if has_body else "head")
        return self.goes_on

    def request_read(self):
        self.happened.append("all read")

    def head_malformed(self):
        self.happened.append("malformed")

    def lineLengthExceeded(self, line):
        self.happened.append("line too long")

    def may_invite_body(self):
        return self.invites

    def rawDataReceived(self, data):
        if "dropped" in self.happened:
            self.happened.append(data)
        else:
            super().rawDataReceived(data)


class Asked(OpenRequest):
    """Is answered when the test wants."""

    def gotLength(self, length):
        self.keep_body_in_memory()
        self.channel.happened.append(f"{self.channel.method} {self.channel.target.decode()}")

    def process(self):
        self.channel.happened.append("handed on")


def a_site() -> Site:
    made = Site(None, requestFactory=Asked, reactor=Clock())
    made.protocol = Channel
    return made


def a_channel(site: Site) -> Channel:
    made = site.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1))
    made.makeConnection(StringTransport())
    return made


GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
