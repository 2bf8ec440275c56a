"""Measuring how long a disk thread takes for what it is given, its waiting for the thread included."""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.metrics import Durations
from dynatwist.storage.files import Done, Writer


class TimedWriter:
    """A `Writer` whose work is measured.

    :param seconds: a clock that never jumps.
    :param took: where it is noted.
    """

    def __init__(self, writer: Writer, seconds: Callable[[], float], took: Durations) -> None:
        self._writer = writer
        self._seconds = seconds
        self._took = took

    def submit(self, work: Callable[[], object], done: Done) -> None:
        """See `Writer`."""
        began_s = self._seconds()

        def measured(failure: BaseException | None) -> None:
            self._took.add(self._seconds() - began_s)
            done(failure)

        self._writer.submit(work, measured)

    def stop(self) -> None:
        """See `Writer`."""
        self._writer.stop()
