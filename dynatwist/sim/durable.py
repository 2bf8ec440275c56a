"""What judges do once something is durable: at once, while those who wait for the log go on in several turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary, ref

from dynatwist.storage.wal import Wal

_tellers: WeakKeyDictionary[Wal, ref[_Teller]] = WeakKeyDictionary()
"""The log holds its teller; were it held here, nothing of a node that died while somebody waited would ever go."""


def once_durable(wal: Wal, call: Callable[[], None]) -> None:
    """Call once all that was logged until now is durable, before anybody else hears of that."""
    if wal.lsn <= wal.durable_lsn:
        call()
        return
    known = _tellers.get(wal)
    teller = known() if known is not None else None
    if teller is None:
        teller = _Teller()
        _tellers[wal] = ref(teller)
        wal.tell_first(teller.tell)
    teller.waiting.append((wal.lsn, call))


class _Teller:
    """Tells those who wait for one log."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def tell(self, upto: int) -> None:
        """The log is durable up to a number."""
        while self.waiting and self.waiting[0][0] <= upto:
            self.waiting.popleft()[1]()
