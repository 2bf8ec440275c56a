"""A command as a child process, with this one's standard streams; signals are passed on to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

STOP_AFTER_S = 5.0
"""A command that was asked to end has so long; then it is killed."""
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
KILLED = 128
"""A shell has this and the signal's number as the status of what a signal has ended."""


class _Ended(ProcessProtocol):
    def __init__(self, ended: Deferred[int]) -> None:
        self._ended = ended

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self._ended.callback(value.exitCode if value.signal is None else KILLED + value.signal)


class Child:
    """See the module.

    :param environment: besides this process's.
    :ivar ended: fires with its exit status, as a shell has it.
    """

    def __init__(self, reactor: Any, command: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self._reactor = reactor
        self.ended: Deferred[int] = Deferred()
        before = {one: signal.signal(one, self._got) for one in PASSED_ON}  # none may come between
        self._process = reactor.spawnProcess(
            _Ended(self.ended), command[0], command, {**os.environ, **environment}, childFDs={0: 0, 1: 1, 2: 2}
        )
        self.ended.addCallback(lambda status: self._give_back(before, status))

    @staticmethod
    def _give_back(before: Mapping[signal.Signals, Any], status: int) -> int:
        for one, handler in before.items():
            signal.signal(one, handler)
        return status

    def _got(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._send, signal.Signals(number).name.removeprefix("SIG"))

    def _send(self, name: str) -> None:
        with suppress(ProcessExitedAlready):
            self._process.signalProcess(name)

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        self._send("TERM")
        killing = self._reactor.callLater(STOP_AFTER_S, self._send, "KILL")

        def over(status: int) -> int:
            if killing.active():
                killing.cancel()
            return status

        self.ended.addCallback(over)
