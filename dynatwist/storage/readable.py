"""What may be shown of what is held: only what a crash would not take back.

A reader waits for the log in two cases. The record that is held is not durable yet; or it is over by a lapse that is
not durable yet, so that after a crash it would not be over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dynatwist.model.ends import Ends
from dynatwist.model.record import Key

from .state import State
from .wal import Wal


class Readable:
    """See the module.

    :param undurable: the keys whose record is not durable yet.
    :param ends: of the records that end by themselves.
    """

    def __init__(self, state: State, wal: Wal, undurable: Mapping[Key, int], ends: Ends) -> None:
        self._state = state
        self._wal = wal
        self._undurable = undurable
        self._ends = ends

    def has(self, key: Key) -> bool:
        """Whether the record held for a key is durable."""
        return key not in self._undurable

    @property
    def buried_ms(self) -> int:
        """Whatever is held and ends by itself by then counts among the tombstones."""
        return min(self._ends.next_ms - 1, self._state.lapse_ms)

    @property
    def is_all(self) -> bool:
        """Whether everything held now is durable."""
        return not self._undurable

    def when_key(self, key: Key, call: Callable[[], None]) -> None:
        """Call once the record held for a key is durable; usually at once."""
        self.when_keys((key,), call)

    def when_keys(self, keys: Iterable[Key], call: Callable[[], None]) -> None:
        """Call once the records held for some keys are durable; usually at once."""
        undurable = self._undurable
        if self._has_undurable_end() and any(map(self._is_end_undurable, keys)):
            self._wal.note_lapse()
        elif not undurable or not any(key in undurable for key in keys):
            call()
            return
        self._wal.when_durable(self._wal.lsn, call)

    def when_all(self, call: Callable[[], None]) -> None:
        """Call once everything held now is durable."""
        if self._has_undurable_end():
            self._wal.note_lapse()
        self._wal.when_durable(self._wal.lsn, call)

    def when_over(self, end_ms: int, call: Callable[[], None]) -> None:
        """Call once a lapse beyond an end is durable: who is told that it is over is not to be told otherwise later."""
        if end_ms > self._wal.durable_lapse_ms:
            self._wal.note_lapse()
            self._wal.when_durable(self._wal.lsn, call)
        else:
            call()

    def _has_undurable_end(self) -> bool:
        """Whether a record may be over by a lapse that a crash would take back."""
        ends = self._ends
        return ends.passed_ms > self._wal.durable_lapse_ms or ends.next_ms <= self._state.lapse_ms

    def _is_end_undurable(self, key: Key) -> bool:
        held = self._state.held(key)
        return held is not None and self._wal.durable_lapse_ms < held.expires_ms <= self._state.lapse_ms
