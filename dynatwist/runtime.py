"""The world as a node sees it: clock, disk, network, randomness. Real in a process, simulated in `dynatwist.sim`."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from twisted.internet.defer import Deferred

from dynatwist.storage.files import FileSystem, Writer
from dynatwist.tracing.tracer import NO_TRACER, Tracer

T = TypeVar("T")


class Timer(Protocol):
    """What `Clock.callLater` answers: Twisted's ``IDelayedCall``."""

    def cancel(self) -> None:
        """Do not call after all."""

    def active(self) -> bool:
        """Whether the call is still to come."""

    def reset(self, delay: float, /) -> None:
        """Call so many seconds from now instead."""


def cancel(timer: Timer | None) -> None:
    """Cancel a timer, if there is one and it is still to come."""
    if timer is not None and timer.active():
        timer.cancel()


class Clock(Protocol):
    """Timers: Twisted's ``IReactorTime``."""

    def callLater(self, delay: float, callable: Callable[..., object], /, *args: object) -> Timer:
        """Call after so many seconds."""

    def seconds(self) -> float:
        """The time by which the timers go."""


class Datagrams(Protocol):
    """A bound UDP port."""

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        """Send one packet; what cannot be sent is lost, like any packet."""

    def stopListening(self) -> Any:
        """Close it."""


class Network(Protocol):
    """Sockets between nodes."""

    def listen(self, port: int, factory: Any) -> Any:
        """Accept peer links, authenticated; answers an object with ``stopListening``."""

    def connect(self, host: str, port: int, factory: Any) -> Any:
        """Open a peer link, authenticated; the factory's ``clientConnectionFailed`` hears of failures."""

    def datagrams(self, port: int, protocol: Any) -> Datagrams:
        """Bind a UDP port; the protocol's ``datagramReceived(data, address)`` is called."""


class Usage(NamedTuple):
    """What this process has of its machine.

    :ivar memory_bytes: in memory (RSS); 0 where the system does not tell.
    :ivar cpu_s: processor time of all threads so far.
    """

    memory_bytes: int = 0
    cpu_s: float = 0.0


class TurnEnd:
    """Runs functions at the end of the present turn of the reactor, in the order in which they were given.

    What they give in turn still belongs to this turn. So all that is due for a peer, or the log, goes in one piece.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: deque[Callable[[], None]] = deque()
        self._is_due = False

    def __call__(self, call: Callable[[], None]) -> None:
        """Run a function at the end of this turn."""
        self._calls.append(call)
        if not self._is_due:
            self._is_due = True
            self._clock.callLater(0, self._run)

    def _run(self) -> None:
        calls = self._calls
        try:
            while calls:
                calls.popleft()()
        finally:
            self._is_due = False
            if calls:  # one of them failed; the others are not to wait for ever
                self._is_due = True
                self._clock.callLater(0, self._run)


class Steps:
    """Does one piece of work in each turn of the reactor, in the order in which they were given.

    A peer may ask for many at once, in one packet; what has other work waits for one piece, not for all of them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps: deque[Callable[[], None]] = deque()

    def __call__(self, step: Callable[[], None]) -> None:
        """Do this in a later turn, when those before have had theirs."""
        self._steps.append(step)
        if len(self._steps) == 1:
            self._clock.callLater(0, self._next)

    def _next(self) -> None:
        try:
            self._steps[0]()
        finally:
            self._steps.popleft()
            if self._steps:
                self._clock.callLater(0, self._next)


@dataclass(frozen=True)
class Runtime:
    """What a node is given instead of globals.

    :ivar clock: timers.
    :ivar monotonic_s: seconds that never jump.
    :ivar wall_ms: the wall clock, in milliseconds.
    :ivar random: for choices that need no secrecy.
    :ivar randbytes: for secrets and identities.
    :ivar new_writer: makes a disk thread by name.
    :ivar offload: runs a slow, pure function off the reactor.
    :ivar fatal: ends the process with a reason.
    :ivar usage: what this process has of its machine.
    :ivar tracer: where spans go of what is done for requests.
    :ivar at_turn_end: see `TurnEnd`.
    :ivar in_steps: see `Steps`.
    """

    clock: Clock
    monotonic_s: Callable[[], float]
    wall_ms: Callable[[], int]
    random: random.Random
    randbytes: Callable[[int], bytes]
    fs: FileSystem
    network: Network
    new_writer: Callable[[str], Writer]
    offload: Callable[[Callable[[], Any]], Deferred[Any]]
    fatal: Callable[[str], None]
    usage: Callable[[], Usage] = Usage
    tracer: Tracer = NO_TRACER
    at_turn_end: TurnEnd = field(init=False)
    in_steps: Steps = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "at_turn_end", TurnEnd(self.clock))
        object.__setattr__(self, "in_steps", Steps(self.clock))

    def later(self, call: Callable[[], None]) -> Timer:
        """Run a function in the next turn of the reactor."""
        return self.clock.callLater(0, call)
