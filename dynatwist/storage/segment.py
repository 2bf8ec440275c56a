"""The segments of the write-ahead log as files: their names, and what a start finds in them."""

from __future__ import annotations

import re

import msgspec

from dynatwist.sometimes import sometimes

from .entries import Frame, SegmentStart
from .seal import Keys, Opened, UnknownFormat, open_file

KIND = b"WLOG"
_FRAME = msgspec.msgpack.Decoder(Frame)
MAX_START_BYTES = 132
"""More than a header and a first frame take, less than with a group behind them: what is longer was synced once."""
LEAP = 1_000_000
"""By how much segment numbers rise where some of the log was lost: beyond all that the lost part can have used, so that
what peers remember of it, or an unreadable manifest names, is behind."""
_SEGMENT = re.compile(r"(\d{12})\.wal")


def segment_name(number: int) -> str:
    """The file name of a segment."""
    return f"{number:012d}.wal"


def segments_in(names: list[str]) -> list[int]:
    """The numbers of the segments among the names in the folder of the log; what has another name is not ours."""
    return sorted(int(match[1]) for match in map(_SEGMENT.fullmatch, names) if match is not None)


class Segment:
    """A segment found at a start.

    :param data: its bytes; ``None`` when they cannot be read.
    :param salt: by which the manifest names its file; empty when it does not.
    :ivar is_another: the file verifies, and is none that was ever written under this name, or not the one that is
        named: nothing in it counts.
    :ivar frames: what verifies.
    :raises UnknownFormat: when something that verifies is not understood.
    """

    def __init__(self, number: int, data: bytes | None, data_key: Keys, salt: bytes = b"") -> None:
        self.number = number
        self.is_readable = data is not None
        self.size_bytes = len(data or b"")
        self.opened: Opened = open_file(data_key, KIND, data) if data is not None else Opened(damaged=True)
        try:
            self.frames: list[Frame] = [_FRAME.decode(payload) for payload in self.opened.payloads]
        except msgspec.DecodeError:
            raise UnknownFormat(f"{segment_name(number)} has entries that this program does not know") from None
        self.is_another = not self._is_itself(salt)
        if self.is_another:
            sometimes("a segment is not the file that it was")
            self.frames, self.opened = [], Opened(damaged=True)
        elif not self.frames and self.size_bytes > MAX_START_BYTES:
            self.opened.damaged, self.opened.torn = True, False

    def _is_itself(self, salt: bytes) -> bool:
        """Whether it is the file that it is to be, as far as it says which one it is."""
        number = self.start.number if self.start is not None else 0
        return number in (0, self.number) and (not salt or self.opened.salt in (b"", salt))

    @property
    def is_stillborn(self) -> bool:
        """Whether a crash came before the first sync: nothing in it was acknowledged."""
        return self.is_readable and not self.is_another and not self.frames and self.size_bytes <= MAX_START_BYTES

    @property
    def start(self) -> SegmentStart | None:
        """The first frame, if it verifies."""
        return self.frames[0] if self.frames and isinstance(self.frames[0], SegmentStart) else None
