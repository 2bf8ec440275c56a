"""Pages of what there is, each read once for all who ask for it meanwhile.

When a node dies, its listeners come to another one at the same time, and begin anew with the same tables. Whoever asks
while a page is being read gets the next reading, which begins behind that: what is read is never older than the
question, so whoever listens already misses nothing.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from dynatwist.replication.quorum import Level
from dynatwist.requests.listing import Listing, Page

from .intake import Intake

_Name = tuple[str, str, str]
_Waiting = deque[Deferred[Page]]


class SharedPages:
    """See the module."""

    def __init__(self, listing: Listing, intake: Intake) -> None:
        self._listing = listing
        self._intake = intake
        self._next: dict[_Name, _Waiting] = {}

    def page(self, table: str, prefix: str, after: str) -> Deferred[Page]:
        """One page of a table, as `Listing.page` reads it for a quorum, and with its errors."""
        name = table, prefix, after
        asked: Deferred[Page] = Deferred()
        if name in self._next:  # one reading is under way
            self._next[name].append(asked)
        else:
            self._read(name, deque((asked,)))
        return asked

    def _read(self, name: _Name, waiting: _Waiting) -> None:
        self._next[name] = deque()
        reading = ensureDeferred(self._listing.page(*name, Level.QUORUM))
        reading.addBoth(self._over, name, waiting)

    def _over(self, page: Page | Failure, name: _Name, waiting: _Waiting) -> None:
        following = self._next.pop(name)
        if following:
            self._read(name, following)
        self._tell(page, waiting)

    def _tell(self, page: Page | Failure, waiting: _Waiting) -> None:
        """Tell all who wait, as many in a turn as it has time for."""
        while waiting:
            waiting.popleft().callback(page)
            if waiting and not self._intake.has_time():
                self._intake.postpone(lambda: self._tell(page, waiting))
                return
