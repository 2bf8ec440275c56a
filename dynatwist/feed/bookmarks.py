"""What the numbers of events stand for, at this node and at others: so that a cursor of one node counts at any other.

A *bookmark* says: whoever has heard all events of a process up to a number has heard of that (`Heard`). Each node makes
one a second, while anybody listens, and tells it to the others. A cursor of a process that is gone stands for the last
bookmark of that process in front of it. What was heard behind that bookmark may be heard once more.

Older ones are thinned out: a listener that was away for an hour may hear a minute's changes again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from .heard import Heard, unpacked

MAX_CURSOR_CHARS = 64
"""An epoch in hexadecimal, a dash, a number."""
INTERVAL_S = 1.0
"""Between two of a node's bookmarks: what is heard twice, at most, after a move to another node."""
MAX_BYTES = 8 << 20
"""Of all bookmarks that a node remembers: a thousand of a table that all members share."""
OVERHEAD_BYTES = 200
"""Of a bookmark besides its clock."""
OWN = 8
"""Of the last own ones it is looked whether a listener that comes from elsewhere has heard all that they cover; then
events behind them are all that it can have missed."""
UNPACKED = 8
"""Bookmarks of others that are remembered as they are used, a hundred kilobytes each and more."""
TOLD = 16
"""Of each process, to a node that has just started: a hundred kilobytes."""
KEPT = 4
"""Of this process, over a restart: some tens of kilobytes in the log each minute."""
RECALLED = 2
"""Processes of before: a node may be started twice before a client comes back."""
SPACINGS_S = ((60.0, 0.0), (3_600.0, 60.0), (float("inf"), 3_600.0))
"""(up to which age, how far apart bookmarks stand at least): a client connects again in a moment, a laptop in hours."""


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[tuple[str, int, int, bytes]]).decode


@dataclass(frozen=True, slots=True)
class Bookmark:
    """See the module.

    :ivar before: all events up to this number are covered by what was heard.
    :ivar after: whoever has heard all events up to this number has heard that.
    :ivar heard: as `Heard.pack` makes it.
    """

    before: int
    after: int
    heard: bytes


@dataclass(frozen=True, slots=True)
class _Kept:
    at_s: float
    bookmark: Bookmark


class Bookmarks:
    """See the module.

    :ivar size_bytes: what it costs, about.
    """

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._by_epoch: OrderedDict[str, list[_Kept]] = OrderedDict()
        self._own: list[tuple[Bookmark, Heard]] = []
        self._unpacked: dict[bytes, Heard | None] = {}
        self._positions: dict[tuple[Heard, tuple[int, ...]], int | None] = {}
        self._recalled: list[tuple[str, int, int, bytes]] = []
        self.size_bytes = 0

    def note(self, epoch: str, bookmark: Bookmark, now_s: float) -> None:
        """A process has made one.

        :param epoch: of its feed, as its cursors say.
        :param now_s: when, by the clock of this process.
        """
        kept = self._by_epoch.setdefault(epoch, [])
        self._by_epoch.move_to_end(epoch)
        at = bisect_left(kept, bookmark.after, key=lambda one: one.bookmark.after)
        if at < len(kept) and kept[at].bookmark.after == bookmark.after:
            if now_s <= kept[at].at_s:
                return  # another node has told it already
            self.size_bytes -= _size(kept.pop(at).bookmark)  # nothing was announced since, and more is heard
        kept.insert(at, _Kept(now_s, bookmark))
        self.size_bytes += _size(bookmark)
        self._thin(epoch, kept[-1].at_s)
        while self.size_bytes > MAX_BYTES:
            self._thin_largest()

    def note_own(self, bookmark: Bookmark, heard: Heard, now_s: float) -> None:
        """This process has made one."""
        self.note(self._epoch, bookmark, now_s)
        self._own = [*self._own[1 - OWN :], (bookmark, heard)]
        self._positions.clear()

    def find(self, epoch: str, number: int) -> Heard | None:
        """What a listener has heard that has heard a process's events up to a number, if that is known."""
        found: bytes | None = None
        for kept in self._by_epoch.get(epoch, ()):
            if kept.bookmark.after > number:
                break
            found = kept.bookmark.heard
        if found is None:
            return None
        if found not in self._unpacked:  # many come at once, when their node has died
            self._unpacked[found] = unpacked(found)
            if len(self._unpacked) > UNPACKED:
                del self._unpacked[next(iter(self._unpacked))]
        return self._unpacked[found]

    def position(self, heard: Heard, partitions: Iterable[int]) -> int | None:
        """The number behind which all events of this process are that a listener may have missed, if that is known."""
        wanted = tuple(partitions)
        if (heard, wanted) not in self._positions:  # many come at once, when their node has died
            if len(self._positions) == UNPACKED:
                self._positions.clear()
            self._positions[heard, wanted] = self._position(heard, wanted)
        return self._positions[heard, wanted]

    def _position(self, heard: Heard, wanted: Sequence[int]) -> int | None:
        own = (bookmark.before for bookmark, mine in reversed(self._own) if mine.is_within(heard, wanted))
        return next(own, None)

    def last(self) -> Heard | None:
        """What everybody has heard that hears this process, by its last bookmark."""
        return self._own[-1][1] if self._own else None

    def history(self, now_s: float) -> Iterator[tuple[str, Bookmark, float]]:
        """(process, bookmark, its age in seconds): some of those remembered, for a node that has just started."""
        for epoch, kept in self._by_epoch.items():
            for one in _some(kept, TOLD):
                yield epoch, one.bookmark, now_s - one.at_s

    def kept(self) -> bytes:
        """Some of this process's, for the next process of this node: see `recall`. Empty where there are none."""
        own = (one.bookmark for one in _some(self._by_epoch.get(self._epoch, []), KEPT))
        return _pack([(self._epoch, one.before, one.after, one.heard) for one in own] + self._recalled)

    def recall(self, data: bytes, now_s: float) -> None:
        """Remember what earlier processes of this node have kept: all members may have been stopped at once."""
        recalled = _unpack(data) if data else []
        epochs = list(dict.fromkeys(epoch for epoch, *_ in recalled))[:RECALLED]
        self._recalled = [one for one in recalled if one[0] in epochs]
        for epoch, before, after, heard in self._recalled:
            self.note(epoch, Bookmark(before, after, heard), now_s - 1.0)

    def _thin(self, epoch: str, now_s: float) -> None:
        """Leave out what stands too near to its predecessor, for its age."""
        kept = self._by_epoch[epoch]
        left: list[_Kept] = []
        for one in kept:
            age_s = now_s - one.at_s
            apart_s = next(apart_s for until_s, apart_s in SPACINGS_S if age_s <= until_s)
            if left and one.at_s - left[-1].at_s < apart_s:
                self.size_bytes -= _size(one.bookmark)
            else:
                left.append(one)
        self._by_epoch[epoch] = left

    def _thin_largest(self) -> None:
        """Leave out every second one of the process with most; where none has several, the process heard of last long
        ago."""
        epoch = max(self._by_epoch, key=lambda one: len(self._by_epoch[one]))
        kept = self._by_epoch[epoch]
        if len(kept) < 3:
            epoch = next(iter(self._by_epoch))
            dropped, left = self._by_epoch[epoch], []
        else:
            dropped, left = kept[1:-1:2], [kept[0], *kept[2:-1:2], kept[-1]]
        self.size_bytes -= sum(_size(one.bookmark) for one in dropped)
        if left:
            self._by_epoch[epoch] = left
        else:
            del self._by_epoch[epoch]


def parsed(cursor: str) -> tuple[str, int | None]:
    """(process, number of an event) of a cursor; no number for any other text."""
    epoch, _, number = cursor.rpartition("-")
    is_cursor = len(cursor) <= MAX_CURSOR_CHARS and number.isascii() and number.isdecimal()
    return epoch, int(number) if is_cursor else None


def _some(kept: list[_Kept], count: int) -> list[_Kept]:
    """So many at most, evenly, the last one among them."""
    step = max(1, -(-len(kept) // count))
    return kept[(len(kept) - 1) % step :: step]


def _size(bookmark: Bookmark) -> int:
    return len(bookmark.heard) + OVERHEAD_BYTES
