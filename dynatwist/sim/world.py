"""Virtual time on a heap, and processes that can be paused and killed."""

from __future__ import annotations

import heapq
import traceback
from collections.abc import Callable
from random import Random

TURN_S = 0.0005


class Event:
    """A call to come; also the timer that the code under test gets."""

    __slots__ = ("_world", "args", "call", "called", "cancelled", "process", "time_s")

    def __init__(
        self,
        world: World,
        time_s: float,
        call: Callable[..., object],
        process: Process | None,
        args: tuple[object, ...] = (),
    ) -> None:
        self._world = world
        self.time_s = time_s
        self.call = call
        self.args = args
        self.process = process
        self.cancelled = False
        self.called = False

    def active(self) -> bool:
        """See `dynatwist.runtime.Timer`."""
        return not self.cancelled and not self.called

    def cancel(self) -> None:
        """See `dynatwist.runtime.Timer`."""
        self.cancelled = True

    def reset(self, delay: float, /) -> None:
        """See `dynatwist.runtime.Timer`."""
        self.time_s = self._world.now_s + delay / (self.process.rate if self.process is not None else 1.0)
        self._world.push(self)


class World:
    """The heap, and the one source of chance.

    :ivar trace: lines that tell what happened, when `tracing`.
    :ivar errors: tracebacks of what the code under test raised where nobody expected it.
    """

    def __init__(self, seed: int, tracing: bool = False) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now_s = 0.0
        self._heap: list[tuple[float, int, Event]] = []
        self._count = 0
        self.tracing = tracing
        self.trace: list[str] = []
        self.errors: list[str] = []
        self.events = 0

    def push(self, event: Event) -> None:
        """Put an event on the heap, at its time."""
        self._count += 1
        heapq.heappush(self._heap, (event.time_s, self._count, event))

    def later(self, delay_s: float, call: Callable[[], object], process: Process | None = None) -> Event:
        """Call after a while; as part of a process it waits while that is paused, and dies with it."""
        event = Event(self, self.now_s + max(0.0, delay_s), call, process)
        self.push(event)
        return event

    def run(self, until_s: float) -> None:
        """Let time pass."""
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            time_s, _, event = heapq.heappop(heap)
            if event.cancelled or event.called or time_s != event.time_s:
                continue
            self.now_s = time_s
            self.events += 1
            if event.process is not None:
                event.process.fire(event)
            else:
                event.called = True
                event.call(*event.args)
        self.now_s = until_s

    def run_until(self, condition: Callable[[], bool], limit_s: float, step_s: float = 0.25) -> bool:
        """Let time pass until a condition holds; false when it did not within the limit."""
        end_s = self.now_s + limit_s
        while not condition():
            if self.now_s >= end_s:
                return False
            self.run(self.now_s + step_s)
        return True

    def say(self, text: str) -> None:
        """A line for the trace."""
        if self.tracing:
            self.trace.append(f"{self.now_s:10.4f} {text}")


class Killed(BaseException):
    """Raised in the middle of a process's own code, to end it there."""


class Process:
    """Something that can be stopped, thawed and killed.

    It is the `Clock` of the code that runs in it.

    :param rate: how fast its host's monotonic clock goes.
    :param offset_s: what that clock said when the world began.
    """

    def __init__(self, world: World, name: str, rate: float = 1.0, offset_s: float = 0.0) -> None:
        self.world = world
        self.name = name
        self.rate = rate
        self._offset_s = offset_s
        self.alive = True
        self.paused = False
        self._arrived: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self._due: list[Event] = []
        self.on_killed: Callable[[], None] = lambda: None

    def callLater(self, delay: float, callable: Callable[..., object], /, *args: object) -> Event:
        """See `dynatwist.runtime.Clock`; a turn of the reactor takes a moment."""
        due_s = self.world.now_s + (delay / self.rate if delay else self.world.random.random() * TURN_S)
        event = Event(self.world, due_s, callable, self, args)
        self.world.push(event)
        return event

    def seconds(self) -> float:
        """See `dynatwist.runtime.Clock`."""
        return self.world.now_s * self.rate + self._offset_s

    def fire(self, event: Event) -> None:
        """A timer is due: run it, or keep it while paused."""
        if self.paused:
            self._due.append(event)
        else:
            event.called = True
            self.run(event.call, *event.args)

    def run(self, call: Callable[..., object], *args: object) -> None:
        """Run some of its code, unless it is dead; later, if it is paused.

        What it raises is noted, and it goes on, as it would under Twisted's reactor.
        """
        if not self.alive:
            return
        if self.paused:
            self._arrived.append((call, args))
            return
        try:
            call(*args)
        except Killed:
            self.kill()
        except Exception:
            self.world.say(f"{self.name} raises\n{traceback.format_exc()}")
            self.world.errors.append(f"{self.name}: {traceback.format_exc()}")

    def pause(self) -> None:
        """SIGSTOP."""
        self.paused = True

    def thaw(self) -> None:
        """SIGCONT: it comes back from waiting for its sockets, so what arrived is first, and all overdue timers next;
        now and then the other way round, when it was stopped in between."""
        if not self.paused:
            return
        self.paused = False
        steps = [self._run_arrived, self._run_due]
        if self.world.random.random() < 0.2:
            steps.reverse()
        for step in steps:
            step()

    def _run_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        for call, args in arrived:
            self.run(call, *args)

    def _run_due(self) -> None:
        due, self._due = self._due, []
        for event in due:
            if event.active() and event.time_s <= self.world.now_s:
                self.fire(event)

    def kill(self) -> None:
        """SIGKILL."""
        if self.alive:
            self.alive = False
            self._arrived.clear()
            self._due.clear()
            self.on_killed()
