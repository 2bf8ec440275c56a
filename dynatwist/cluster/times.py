"""What time it is, for a node that believes no single clock: not its own, nor a peer's.

- The *lapse*, by which records expire: see `dynatwist.replication.lapse`.
- The time *near* that of the majority, by which writes are stamped and get their end.
- A clock that was set ahead is believed when all have heard of that: whoever has a request carried out a second time
  gives it a stamp beyond what the first owner's clock can say, by what that one has told.
- Whether this node's wall clock is so wrong that clients had better write elsewhere: see `dynatwist.cluster.walls`.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.model.clock import FAR_MS
from dynatwist.model.registry import Registry
from dynatwist.net.links import PeerLinks
from dynatwist.replication.lapse import Lapse, Reading
from dynatwist.runtime import Runtime
from dynatwist.sometimes import sometimes
from dynatwist.storage.store import Store

from .walls import Walls

NEAR_FOR_S = 0.001
"""How long a look at the clocks counts. Many writes share a turn, and stamps are in milliseconds."""
JUMP_MS = 250
"""A clock that goes ahead of itself by more has been set. NTP's steps are larger, and stalls of a machine do not count:
its monotonic clock goes on."""
TOLD_FOR_S = 2.0
"""So long a clock that was set ahead is told to others before anything is stamped by it. Frames come twice a second,
and no request is carried out later than a quarter of a second after it was sent."""
BURIED_A_TURN = 250
"""Records that are over and become tombstones in one turn of the reactor: with all that listeners are told of them,
some milliseconds' work."""


class Times:
    """See the module.

    :param registry: asked for the present members.
    :param mark_ms: the wall reading that this node believed and persisted last.
    :ivar refusal: why clients may not write here, or an empty string.
    """

    def __init__(
        self,
        *,
        node: bytes,
        store: Store,
        links: PeerLinks,
        runtime: Runtime,
        registry: Callable[[], Registry | None],
        mark_ms: int,
    ) -> None:
        self._node = node
        self._store = store
        self._links = links
        self._runtime = runtime
        self._registry = registry
        self._told: dict[bytes, Reading] = {}
        now_s = runtime.monotonic_s()
        self._lapse = Lapse(store.lapse_ms, now_s)
        self.walls = Walls(mark_ms, runtime.wall_ms(), now_s)
        self.refusal = ""
        self._is_burying = False
        self._near_ms, self._near_until_s = 0, now_s
        self._steady: Reading = runtime.wall_ms(), now_s
        self._leap_ms, self._leaps_at_s = 0, now_s
        store.clock.go_by(self.near_ms)

    def note(self, node: bytes, wall_ms: int) -> None:
        """What a peer's wall clock says, by a message; nodes of former releases do not say so in frames."""
        self._told[node] = wall_ms, self._runtime.monotonic_s()

    def _readings(self) -> dict[bytes, Reading]:
        return self._told | dict(self._links.walls())

    def lapse_ms(self) -> int:
        """The lapse as of now, also by what was heard a moment ago."""
        runtime, registry = self._runtime, self._registry()
        now_s, own_ms = runtime.monotonic_s(), runtime.wall_ms()
        groups = [group for group in (registry.ids, registry.previous_ids) if group] if registry is not None else []
        readings = self._readings()
        if groups == [{self._node}]:  # nobody else can say that this clock has jumped
            own_ms = self.walls.steady_ms(own_ms, now_s)
        readings[self._node] = own_ms, now_s
        self._lapse.learn(self._store.lapse_ms)  # where what peers tell arrives
        lapse_ms = self._lapse.look(groups, readings, own_ms, now_s)
        self._store.pass_by(lapse_ms)
        return lapse_ms

    def near_ms(self) -> int:
        """This node's wall clock, within the bound of a usual error of the time of a majority, where that is known."""
        now_s = self._runtime.monotonic_s()
        if now_s >= self._near_until_s:
            self._near_ms = self._lapse.near(self._steadied(self._runtime.wall_ms(), now_s), now_s, FAR_MS)
            self._near_until_s = now_s + NEAR_FOR_S
        return self._near_ms

    def _steadied(self, reading_ms: int, now_s: float) -> int:
        """A reading of the wall clock; or what it would be if it had not been set ahead, until others have heard."""
        steady_ms, at_s = self._steady
        expected_ms = steady_ms + int(1000 * (now_s - at_s))
        leap_ms = reading_ms - expected_ms
        if leap_ms > JUMP_MS:
            if abs(leap_ms - self._leap_ms) > JUMP_MS:
                sometimes("a clock that was set ahead is told before it is believed")
                self._leap_ms, self._leaps_at_s = leap_ms, now_s + TOLD_FOR_S
            if now_s < self._leaps_at_s:
                return expected_ms
        self._steady, self._leap_ms = (reading_ms, now_s), 0
        return reading_ms

    def tick(self) -> None:
        """To be called every second."""
        runtime, registry = self._runtime, self._registry()
        now_s, wall_ms = runtime.monotonic_s(), runtime.wall_ms()
        members = registry.ids | registry.previous_ids if registry is not None else frozenset()
        for node, (peer_ms, at_s) in self._readings().items():
            if node in members:
                self.walls.note(node, peer_ms + int(1000 * (now_s - at_s)) - wall_ms, at_s)
        count = max(len(registry.ids), len(registry.previous_ids)) if registry is not None else 0
        self.refusal = self.walls.refusal(wall_ms, now_s, count)
        self.look()
        self.near_ms()
        self._store.clock.look()

    def look(self) -> None:
        """See what is over, and bury it; to be called a few times a second, so that listeners hear of an end within
        one."""
        self.lapse_ms()
        if not self._is_burying:
            self._bury()

    def _bury(self) -> None:
        """A few at a time: a hundred thousand sessions may end in one second."""
        self._is_burying = self._store.bury(BURIED_A_TURN)
        if self._is_burying:
            self._runtime.later(self._bury)
