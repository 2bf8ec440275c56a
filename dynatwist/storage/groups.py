"""Groups of the log: what the next one is asked for besides its entries, and the one that is being written.

`NextGroup` decides when a segment is begun and whether a group is synced; it knows no file and no thread. Whoever asks
for something asks once: the next group has it done for all.
"""

from __future__ import annotations

from dataclasses import dataclass

from .durability import Durability
from .entries import Group
from .segment import LEAP


@dataclass(slots=True)
class Writing:
    """What is being written, until it is.

    :ivar new_segment: number of the segment to begin with it.
    :ivar upto: number of the last entry that is durable with it.
    :ivar frame: its bytes, sealed once: were it sealed again with more in it, one nonce would seal two texts.
    """

    group: Group | None
    sync: bool
    new_segment: int | None
    upto: int
    frame: bytes = b""


class NextGroup:
    """See the module.

    :param number: of the segment that the first group begins; greater than any there is.
    :ivar number: of the newest segment that was asked for.
    :ivar notes_lapse: whether the lapse is to be noted though there is nothing to log.
    """

    def __init__(self, number: int, durability: Durability) -> None:
        self.number = number
        self.notes_lapse = False
        self._begins_segment = True
        self._syncs = False
        self._always_syncs = durability is Durability.FSYNC

    @property
    def is_asked(self) -> bool:
        """Whether there is something to do, entries or not."""
        return self._begins_segment or self._syncs or self.notes_lapse

    def begin_segment(self) -> int:
        """Begin a segment with it.

        :returns: the segment's number.
        """
        if not self._begins_segment:
            self._begins_segment = True
            self.number += 1
        return self.number

    def leap(self, starts: int) -> None:
        """Go on with a number beyond all that were ever used; see `Wal.leap`."""
        self.number = max(self.number, starts * LEAP) + LEAP

    def sync(self) -> None:
        """Sync it, whatever the mode."""
        self._syncs = True

    def note_lapse(self) -> None:
        """Note the lapse with it."""
        self.notes_lapse = True

    def take(self, group: Group | None, upto: int) -> Writing:
        """The next group is written now, and nothing is asked of the one after it yet."""
        writing = Writing(group, self._always_syncs or self._syncs, self.number if self._begins_segment else None, upto)
        self._begins_segment = self._syncs = self.notes_lapse = False
        return writing
