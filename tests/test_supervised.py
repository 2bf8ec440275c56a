"""What systemd is told: by a clock of the test's, and by a node that systemd believes to have started."""

from __future__ import annotations

import os
import socket

import pytest
from twisted.internet.task import Clock

from dynatwist.supervised import LOOK_S, Supervised, Supervision, sender, supervision

from .real import Node, free_port, wait_until

WAITS, SERVES, STOPS = (
    "STATUS=waits until it has met the other members",
    "READY=1\nSTATUS=serves",
    "STOPPING=1\nSTATUS=stops",
)


class Told:
    """A node that becomes ready when the test says so, and what systemd was told of it."""

    def __init__(self, watchdog_s: float | None = None) -> None:
        self.clock, self.said = Clock(), []
        self.is_ready, self.takes = False, True
        self.service = Supervised(self.send, lambda: self.is_ready, watchdog_s, self.clock)
        self.service.startService()

    def send(self, text):
        if self.takes:
            self.said.append(text)
        return self.takes


def test_a_node_is_ready_once_it_serves_and_says_so_once():
    told = Told()
    told.clock.pump([LOOK_S] * 30)
    assert told.said == [WAITS]
    told.is_ready = True
    told.clock.pump([LOOK_S] * 30)
    assert told.said == [WAITS, SERVES]


def test_what_was_not_taken_is_said_again():
    told = Told()
    told.is_ready, told.takes = True, False
    told.clock.pump([LOOK_S] * 3)
    told.takes = True
    told.clock.pump([LOOK_S] * 3)
    assert told.said == [WAITS, SERVES]


def test_the_watchdog_is_fed_twice_in_its_time_whether_or_not_the_node_serves():
    told = Told(watchdog_s=20.0)
    told.clock.pump([1.0] * 40)
    assert told.said.count("WATCHDOG=1") == 5  # at 0, 10, 20, 30 and 40 seconds


def test_a_node_on_its_way_out_says_so_and_nothing_after_it():
    told = Told(watchdog_s=20.0)
    told.is_ready = True
    told.service.stopService()
    told.clock.pump([1.0] * 60)
    assert told.said[-1] == STOPS
    assert told.said.count(STOPS) == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": ""}, None),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, None),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "3000000"}, Supervision("/run/n", 3.0)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, Supervision("\0n", 3.0)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, Supervision("\0n")),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "0"}, Supervision("/run/n")),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "soon"}, Supervision("/run/n")),
    ],
)
def test_what_systemd_wants_is_in_the_environment(environment, expected):
    assert supervision(environment, pid=7) == expected


def test_a_socket_that_is_gone_stops_nobody(tmp_path):
    assert sender(str(tmp_path / "none"))("READY=1") is False


def test_a_node_tells_systemd_when_it_serves_and_when_it_stops(tmp_path):
    name = f"dynakv-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name)
        systemd.setblocking(False)
        said: list[str] = []

        def hear() -> list[str]:
            try:
                while True:
                    said.append(systemd.recv(4096).decode())
            except BlockingIOError:
                return said

        node = Node(tmp_path, free_port())
        node.env |= {"NOTIFY_SOCKET": "@" + name, "WATCHDOG_USEC": "200000"}
        node.start()
        try:
            wait_until(lambda: SERVES in hear())
            assert node.is_ready()
            wait_until(lambda: hear().count("WATCHDOG=1") > 3)
            node.stop()
            assert hear()[0] == WAITS
            assert said[-1] == STOPS
        finally:
            if node.process.poll() is None:
                node.kill()
