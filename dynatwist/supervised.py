"""What systemd is told of a node: that it serves, that its reactor turns, that it is on its way out.

By the protocol of ``sd_notify``: a datagram each, to the socket that ``NOTIFY_SOCKET`` names. A process that systemd
did not start, or that is not of ``Type=notify``, has no such variable, and nothing is sent.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from dynatwist.once import Once

LOOK_S = 0.1
"""How often a node that does not serve yet is looked at; whoever starts it waits no longer than that in vain."""
Send = Callable[[str], bool]
"""Sends a datagram; answers whether it was taken."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """What systemd wants to be told.

    :ivar address: of its socket; one that begins with a zero byte is in the abstract namespace.
    :ivar watchdog_s: the time after which it takes this process for stuck; ``None`` when it does not.
    """

    address: str
    watchdog_s: float | None = None


def supervision(environment: Mapping[str, str], pid: int) -> Supervision | None:
    """What an environment says; ``None`` when nobody wants to be told.

    :param pid: of this process; a watchdog that was meant for another one is not fed.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    is_mine = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
    is_fed = is_mine and microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
    address = "\0" + address[1:] if address.startswith("@") else address
    return Supervision(address, int(microseconds) / 1e6 if is_fed else None)


def sender(address: str) -> Send:
    """What sends datagrams to a socket; that one is not taken is logged once."""
    told = Once()

    def send(text: str) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as door:
                door.sendto(text.encode(), address)
        except OSError as error:
            if told.is_new(str(error.errno)):
                Supervised.log.warn("systemd's socket takes nothing: {reason}", reason=error.strerror)
            return False
        return True

    return send


class Supervised(Service):
    """A service beside a node that tells systemd about it.

    :param send: sends a datagram.
    :param is_ready: whether the node serves.
    :param watchdog_s: see `Supervision`; the watchdog is fed twice in that time.
    :param clock: what the timers go by.
    """

    log = Logger()

    def __init__(self, send: Send, is_ready: Callable[[], bool], watchdog_s: float | None, clock: Any) -> None:
        self._send = send
        self._is_ready = is_ready
        self._watchdog_s = watchdog_s
        self._looks = LoopingCall(self._look)
        self._feeds = LoopingCall(send, "WATCHDOG=1")
        self._looks.clock = self._feeds.clock = clock

    def startService(self) -> None:
        """Begin to look at the node, and to feed the watchdog."""
        super().startService()
        self._send("STATUS=waits until it has met the other members")
        self._looks.start(LOOK_S)
        if self._watchdog_s is not None:
            self._feeds.start(self._watchdog_s / 2)

    def stopService(self) -> None:
        """The node is on its way out, within its own deadlines."""
        super().stopService()
        for loop in (self._looks, self._feeds):
            if loop.running:
                loop.stop()
        self._send("STOPPING=1\nSTATUS=stops")

    def _look(self) -> None:
        """What was not taken is told again."""
        if self._is_ready() and self._send("READY=1\nSTATUS=serves"):
            self._looks.stop()
