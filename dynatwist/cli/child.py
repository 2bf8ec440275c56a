"""A command as a child process, with this one's standard streams; signals are passed on to it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress

STOP_AFTER_S = 5.0
"""A command that was asked to end has so long; then it is killed."""
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
KILLED = 128
"""A shell has this and the signal's number as the status of what a signal has ended."""


class Child:
    """See the module. Made and awaited in the main thread, which takes signals.

    :param environment: besides this process's.
    """

    def __init__(self, command: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self._before = {one: signal.signal(one, self._got) for one in PASSED_ON}  # none may come between
        self._early: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._process = subprocess.Popen(command, env={**os.environ, **environment})
        for number in self._early:
            self._process.send_signal(number)

    def wait(self) -> int:
        """Until it has ended; answers its exit status, as a shell has it."""
        assert self._process is not None
        status = self._process.wait()
        for one, handler in self._before.items():
            signal.signal(one, handler)
        return status if status >= 0 else KILLED - status

    def _got(self, number: int, frame: object) -> None:
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not; from any thread."""
        assert self._process is not None
        process = self._process
        process.terminate()

        def kill() -> None:
            with suppress(ProcessLookupError):
                process.kill()

        killing = threading.Timer(STOP_AFTER_S, kill)
        killing.daemon = True
        killing.start()
