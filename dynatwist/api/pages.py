"""Pages of what there is, or was missed, each read once for all who ask for it meanwhile.

When a node dies, its listeners come to another one at the same time, and ask for the same tables. Whoever asks
while a page is being read gets the next reading, which begins behind that: what is read is never older than the
question, so whoever listens already misses nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from .intake import Intake

P = TypeVar("P")


class SharedPages(Generic[P]):
    """See the module.

    :param read: reads one page.
    """

    def __init__(self, read: Callable[..., Coroutine[Any, Any, P]], intake: Intake) -> None:
        self._page = read
        self._intake = intake
        self._next: dict[tuple[Hashable, ...], deque[Deferred[P]]] = {}

    def page(self, *name: Hashable) -> Deferred[P]:
        """One page, and the errors of reading it.

        :param name: what is given to `read`.
        """
        asked: Deferred[P] = Deferred()
        if name in self._next:  # one reading is under way
            self._next[name].append(asked)
        else:
            self._read(name, deque((asked,)))
        return asked

    def _read(self, name: tuple[Hashable, ...], waiting: deque[Deferred[P]]) -> None:
        self._next[name] = deque()
        reading = ensureDeferred(self._page(*name))
        reading.addBoth(self._over, name, waiting)

    def _over(self, page: P | Failure, name: tuple[Hashable, ...], waiting: deque[Deferred[P]]) -> None:
        following = self._next.pop(name)
        if following:
            self._read(name, following)
        self._tell(page, waiting)

    def _tell(self, page: P | Failure, waiting: deque[Deferred[P]]) -> None:
        """Tell all who wait, as many in a turn as it has time for."""
        while waiting:
            waiting.popleft().callback(page)
            if waiting and not self._intake.has_time():
                self._intake.postpone(lambda: self._tell(page, waiting))
                return
