"""Hearing that nobody reads stdout any more: a command that waits for changes would notice at the next one only."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def ended_when_unread() -> Iterator[None]:
    """Within it, the main thread is interrupted as soon as the pipe or terminal behind stdout is closed.

    :raises BrokenPipeError: from wherever the main thread waits, as a write to the closed pipe would.
    """
    before = signal.signal(signal.SIGPIPE, _interrupt)
    threading.Thread(target=_look, args=(sys.stdout.fileno(),), name="stdout", daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _look(fd: int) -> None:
    """Wait until the other end is closed; of a file, for ever."""
    poll = select.poll()
    poll.register(fd, 0)  # errors and hang-ups are told unasked
    poll.poll()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGPIPE)
