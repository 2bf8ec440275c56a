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

AGAIN_S = 0.1
"""A signal that comes just before the main thread begins to wait does not end that wait; the next one does."""


@contextmanager
def ended_when_unread() -> Iterator[None]:
    """Within it, the main thread is interrupted as soon as the pipe or terminal behind stdout is closed.

    :raises BrokenPipeError: from wherever the main thread waits, as a write to the closed pipe would.
    """
    is_closed, is_told = threading.Event(), threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        # A socket of a node that has died raises the same signal, and is dealt with where it is.
        if is_closed.is_set() and not is_told.is_set():
            is_told.set()
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    looking = threading.Thread(target=_look, args=(sys.stdout.fileno(), is_closed, is_told), name="stdout", daemon=True)
    before = signal.signal(signal.SIGPIPE, interrupt)
    try:
        looking.start()
        yield
    finally:
        is_told.set()
        signal.signal(signal.SIGPIPE, before)


def _look(fd: int, is_closed: threading.Event, is_told: threading.Event) -> None:
    """Wait until the other end is closed; of a file, for ever. Then signal until the main thread has heard it."""
    poll = select.poll()
    poll.register(fd, 0)  # errors and hang-ups are told unasked
    poll.poll()
    is_closed.set()
    main = threading.main_thread().ident or 0
    while not is_told.is_set():
        signal.pthread_kill(main, signal.SIGPIPE)
        is_told.wait(AGAIN_S)
