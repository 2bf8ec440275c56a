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


@contextmanager
def ended_when_unread() -> Iterator[None]:
    """Within it, the main thread is interrupted as soon as the pipe or terminal behind stdout is closed.

    :raises BrokenPipeError: from wherever the main thread waits, as a write to the closed pipe would.
    """
    is_closed = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if is_closed.is_set():  # a socket of a node that has died raises the same signal, and is dealt with where it is
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    before = signal.signal(signal.SIGPIPE, interrupt)
    threading.Thread(target=_look, args=(sys.stdout.fileno(), is_closed), name="stdout", daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


def _look(fd: int, is_closed: threading.Event) -> None:
    """Wait until the other end is closed; of a file, for ever."""
    poll = select.poll()
    poll.register(fd, 0)  # errors and hang-ups are told unasked
    poll.poll()
    is_closed.set()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGPIPE)
