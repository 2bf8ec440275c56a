"""What judges do once something is durable: at once, while those who wait for the log go on in several turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

from dynatwist.storage.wal import Wal

_Waiting = deque[tuple[int, Callable[[], None]]]
_waiting: WeakKeyDictionary[Wal, _Waiting] = WeakKeyDictionary()


def once_durable(wal: Wal, call: Callable[[], None]) -> None:
    """Call once all that was logged until now is durable, before anybody else hears of that."""
    if wal.lsn <= wal.durable_lsn:
        call()
        return
    waiting = _waiting.get(wal)
    if waiting is None:
        waiting = _waiting[wal] = deque()
        wal.tell_first(lambda upto, waiting=waiting: _tell(waiting, upto))  # type: ignore[misc]
    waiting.append((wal.lsn, call))


def _tell(waiting: _Waiting, upto: int) -> None:
    while waiting and waiting[0][0] <= upto:
        waiting.popleft()[1]()
