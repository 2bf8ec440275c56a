"""The audit log's file: lines appended by a thread of their own, synced, and rotated by size.

Nobody waits for it. What comes faster than the disk takes it waits within a bound; beyond that, or while the disk takes
nothing, lines are dropped and counted, and the next line that is written says how many. A disk that is full does not
stop the node.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from .files import Writer

MAX_WAITING_BYTES = 1 << 20
"""Some 5,000 lines: what a flood of refused requests makes in a second."""
KEPT_FILES = 5
"""Beside the one that is written: ``FILE.1`` is the newest of them."""


class AuditFile:
    """See the module.

    :param path: of the file; made with mode 0600.
    :param max_bytes: beyond which a new one is begun.
    :param writer: the thread.
    :param dropped: makes the line that says how many were dropped.
    :param trouble: called, on the reactor, with what went wrong, and with ``None`` once it goes well again.
    :ivar lines_dropped: since the start.
    """

    def __init__(
        self,
        path: str,
        max_bytes: int,
        *,
        writer: Writer,
        dropped: Callable[[int], bytes],
        trouble: Callable[[BaseException | None], None],
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._writer = writer
        self._dropped = dropped
        self._trouble = trouble
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._is_writing = False
        self._is_in_trouble = False
        self._untold = 0
        self.lines_dropped = 0
        os.close(self._opened())

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def append(self, line: bytes) -> None:
        """Write a line, soon."""
        if self._waiting_bytes + len(line) > MAX_WAITING_BYTES:
            self._drop(1)
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        if not self._is_writing:
            self._go_on()

    def _drop(self, count: int) -> None:
        self.lines_dropped += count
        self._untold += count

    def _go_on(self) -> None:
        lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
        untold, self._untold = self._untold, 0
        if untold:
            lines.insert(0, self._dropped(untold))
        self._is_writing = True

        def done(failure: BaseException | None) -> None:
            self._is_writing = False
            if failure is not None:
                self._drop(len(lines) - bool(untold))
                self._untold += untold
            if failure is not None or self._is_in_trouble:
                self._is_in_trouble = failure is not None
                self._trouble(failure)
            if self._waiting:
                self._go_on()

        self._writer.submit(lambda: self._write(b"".join(lines)), done)

    def _write(self, data: bytes) -> None:
        """In the thread. The file is opened anew each time: whoever rotates it by other means may do so."""
        fd = self._opened()
        try:
            size_bytes = os.fstat(fd).st_size
            if size_bytes and size_bytes + len(data) > self._max_bytes:
                os.close(fd)
                self._rotate()
                fd = self._opened()
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def _rotate(self) -> None:
        for number in range(KEPT_FILES - 1, 0, -1):
            with suppress(FileNotFoundError):
                os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
        os.replace(self._path, f"{self._path}.1")
