"""Work in a process of its own, that leaves its garbage behind with the process.

A history leaves half a gigabyte of objects that refer to one another. To have the collector find that took a fifth of
all the time of a simulation; a process that ends takes none.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_FORK = get_context("fork")
"""A fork has all modules loaded, and whatever a test has patched."""


class Died(Exception):
    """A process has ended without a result."""


class Alone(Generic[R]):
    """A function at work in a forked process. Its arguments may be anything, its result has to be picklable.

    :ivar outcome: becomes readable when there is a result, or when there will be none.
    """

    def __init__(self, work: Callable[P, R], *args: P.args, **options: P.kwargs) -> None:
        self.outcome, theirs = _FORK.Pipe(duplex=False)
        self._process: BaseProcess = _FORK.Process(
            target=_do, args=(theirs, lambda: work(*args, **options)), daemon=True
        )
        self._process.start()
        theirs.close()

    def result(self) -> R:
        """What the function has returned, once it has.

        :raises Died: when it raised something, or its process was killed.
        """
        try:
            result: R = self.outcome.recv()
        except EOFError:
            self._process.join()
            raise Died(f"a process ended with code {self._process.exitcode}, without a result") from None
        finally:
            self.outcome.close()
        self._process.join()
        return result

    def kill(self) -> None:
        """End it, whatever it is at."""
        self._process.kill()
        self._process.join()


def alone(work: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
    """Call a function in a process of its own, and wait for that.

    :raises Died: when it raised something, or its process was killed.
    """
    return Alone(work, *args, **options).result()


def _do(outcome: Connection, work: Callable[[], object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    gc.disable()
    outcome.send(work())
