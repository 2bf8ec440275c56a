"""Subscribers of a simulated cluster, quick and slow ones, that wander between nodes with their cursors."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from dynatwist.api.live import Listening
from dynatwist.feed.hub import Notice, Subscription
from dynatwist.feed.sight import EVERYTHING
from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record

from .cluster import SimCluster, SimNode
from .ended import Ended
from .history import name_of
from .interests import REPEATS_S
from .order import is_preferred
from .witness import Witness
from .world import Process

SLOW_S = 6.0


@dataclass(slots=True, eq=False)
class _Heard:
    """What one subscription brought.

    :ivar since_s: when it began.
    :ivar last: per key the newest record heard.
    :ivar ended: the keys of which it has heard that this one has ended by itself.
    :ivar told_s: when it was last told that something may be missing.
    :ivar key: the only key that it listens to, or ``None``.
    :ivar prefix: of the keys that it listens to.
    :ivar before_move: what it had heard last of each key when it came from another process, and of what it has heard
        nothing since: there a moment's changes may be heard again.
    """

    node: SimNode
    process: Process
    table: str
    slow: bool
    since_s: float
    last: dict[Key, Record] = field(default_factory=dict)
    ended: set[Key] = field(default_factory=set)
    told_s: float = -1.0
    cursor: str = ""
    listening: Listening | None = None
    key: str | None = None
    prefix: str = ""
    before_move: set[Key] = field(default_factory=set)
    moved_s: float = -REPEATS_S

    def moves(self, now_s: float) -> None:
        """It goes on where it may be told a moment's changes again."""
        self.before_move, self.moved_s = set(self.last), now_s

    def close(self) -> None:
        """Its connection ends."""
        assert self.listening is not None
        self.listening.close()
        self.listening = None

    def covers(self, key: Key) -> bool:
        """Whether it has to hear of a key."""
        return key[0] == self.table and self.key in (None, key[1]) and key[1].startswith(self.prefix)


class Listeners:
    """See the module; judges P8.

    :param count: how many to keep open.
    :ivar announced: what was heard by anybody, by key and dot.
    """

    def __init__(self, cluster: SimCluster, witness: Witness, count: int, tables: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._witness = witness
        self._world = cluster.world
        self._ended = Ended(cluster)
        self._count = count
        self._tables = tables
        self._open: list[_Heard] = []
        self._away: list[_Heard] = []
        self._astray: list[_Heard] = []
        self._reading: set[_Heard] = set()
        self._random = Random(f"listeners {self._world.seed}")
        self._running = False
        self.announced: dict[tuple[Key, Dot], Record] = {}

    def start(self) -> None:
        """Begin to listen."""
        self._running = True
        self._tend()

    def stop(self) -> None:
        """Listen on with what is open, but open nothing more."""
        self._running = False

    def _tend(self) -> None:
        """Replace listeners whose node died; end one now and then."""
        if not self._running:
            return
        random = self._world.random
        self._world.later(random.uniform(0.3, 1.5), self._tend)
        for heard in [heard for heard in self._open if not heard.process.alive]:
            self._wander(heard)
        if self._open and random.random() < 0.1:
            heard = random.choice(self._open)
            if heard.process.alive and not heard.process.paused:
                heard.process.run(self._leave_and_return, heard)
        while len(self._open) < self._count and self._begin():
            pass

    def _leave_and_return(self, heard: _Heard) -> None:
        """A connection broke; the client connects again with its cursor, to any node."""
        heard.close()
        self._wander(heard)

    def _wander(self, heard: _Heard) -> None:
        """Go on at any node that is ready, sooner or later."""
        self._open.remove(heard)
        nodes = self._cluster.ready_nodes()
        if not nodes:
            self._astray.append(heard)
            return
        node = self._random.choice(nodes)
        assert node.process is not None
        heard.node, heard.process = node, node.process
        self._open.append(heard)
        node.process.run(self._subscribe, heard, heard.cursor or None)

    def _begin(self) -> bool:
        random = self._world.random
        nodes = self._cluster.ready_nodes()
        if not nodes:
            return False
        while self._astray:
            self._open.append(self._astray[-1])
            self._wander(self._astray.pop())
        node = random.choice(nodes)
        assert node.process is not None
        slow = random.random() < 0.25
        table = random.choice(self._tables)
        heard = _Heard(node, node.process, table, slow, self._world.now_s)
        self._open.append(heard)
        node.process.run(self._subscribe, heard, None)
        return True

    # What scenes ask for

    def listen_at(self, node: SimNode, table: str, key: str | None = None, prefix: str = "") -> None:
        """Open one more, at a node, to a table, or a key of it, or those with a prefix."""
        if node.core is not None and node.process is not None and node.awake:
            heard = _Heard(node, node.process, table, False, self._world.now_s, key=key, prefix=prefix)
            self._open.append(heard)
            node.process.run(self._subscribe, heard, None)

    def leave(self, node: SimNode) -> None:
        """All connections to a node break."""
        for heard in [heard for heard in self._open if heard.node is node]:
            if heard.process.alive and not heard.process.paused and node.core is not None:
                heard.process.run(heard.close)
                self._open.remove(heard)
                self._away.append(heard)

    def come_back(self, node: SimNode) -> None:
        """Those that left a node return to it, with their cursors; the process may be another one by now."""
        if node.core is None or node.process is None or not node.awake:
            return
        for heard in [heard for heard in self._away if heard.node is node]:
            self._away.remove(heard)
            heard.process = node.process
            self._open.append(heard)
            node.process.run(self._subscribe, heard, heard.cursor)

    def _subscribe(self, heard: _Heard, cursor: str | None) -> None:
        core = heard.node.core
        assert core is not None

        def wake() -> None:
            delay_s = SLOW_S if heard.slow and heard not in self._reading else 0.0
            self._world.later(delay_s, lambda: self._drain(heard), heard.process)

        subscription = Subscription(table=heard.table, key=heard.key, prefix=heard.prefix, sight=EVERYTHING, wake=wake)
        context = core.handlers.context
        if cursor is not None and not core.hub.tells_exactly(heard.table, cursor):
            heard.moves(self._world.now_s)
        heard.listening = Listening(context, subscription, (), cursor=cursor, wants_initial=False)
        heard.cursor = heard.listening.cursor
        self._world.later(0.0, lambda: self._drain(heard), heard.process)  # also a slow one begins to read at once

    def _drain(self, heard: _Heard) -> None:
        self._read(heard)
        self._reading.discard(heard)
        if heard.listening is not None and heard.listening.has_more:
            self._reading.add(heard)

    def _read(self, heard: _Heard) -> None:
        while heard.listening is not None and (item := heard.listening.take()) is not None:
            if isinstance(item, Notice):
                heard.told_s = self._world.now_s
                heard.cursor = heard.node.core.hub.cursor if heard.node.core is not None else ""
                heard.last.clear()
                heard.ended.clear()
                self._world.say(f"a listener at {heard.node.host} to {heard.table} is told {item.value}")
                continue
            heard.cursor = item.cursor
            if item.is_over:
                self._hear_end(heard, item.key, item.record)
            else:
                self._hear(heard, item.key, item.record)

    def _hear_end(self, heard: _Heard, key: Key, record: Record) -> None:
        text = f"{'/'.join(key)} at {heard.node.host}: the end of {name_of(record)}"
        before = heard.last.get(key)
        if not self._ended.has(record):
            self._witness.say(f"P8: {text} is heard before it is over")
        elif key in heard.before_move:
            pass
        elif before is not None and before.dot == record.dot and key in heard.ended:
            if self._world.now_s >= heard.moved_s + REPEATS_S:
                self._witness.say(f"P8: {text} is heard twice")
        elif before is not None and before.dot != record.dot and not is_preferred(record, before):
            self._witness.say(f"P8: {text} is heard after {name_of(before)}")
        heard.last[key] = record
        heard.ended.add(key)
        heard.before_move.discard(key)

    def _hear(self, heard: _Heard, key: Key, record: Record) -> None:
        self._world.say(f"heard {'/'.join(key)} {record.value!r} {name_of(record)} at {heard.node.host}")
        if not heard.covers(key):
            self._witness.say(f"P8: {'/'.join(key)} was heard at {heard.node.host}, where nobody listens to it")
        self.announced[key, record.dot] = record
        known = self._witness.ledger.of(key).get(record.dot)
        if known is None or not known.held_by:
            self._witness.say(f"P8: {'/'.join(key)} {name_of(record)} was announced before anybody had it durably")
        before = heard.last.get(key)
        if key in heard.before_move:
            heard.before_move.discard(key)
            before = None
        if before is not None and before.dot == record.dot and self._world.now_s < heard.moved_s + REPEATS_S:
            return
        if before is not None and not is_preferred(record, before):
            self._witness.say(
                f"P8: {'/'.join(key)} at {heard.node.host}: {record.value!r} {name_of(record)} was heard after "
                f"{before.value!r} {name_of(before)}"
            )
        if before is None or is_preferred(record, before):
            heard.last[key] = record
            heard.ended.discard(key)

    def judge(self, final: dict[Key, Record], born_s: dict[tuple[Key, Dot], float]) -> None:
        """After everything has come to rest: has everybody heard the last of each key?

        :param final: what the owners hold.
        :param born_s: when each record was written, by (key, dot).
        """
        for heard in self._open:
            if not heard.process.alive:
                continue
            assert heard.process.world is self._world
            self._drain(heard)
            for key, record in final.items():
                if heard.covers(key):
                    self._judge_key(heard, key, record, born_s.get((key, record.dot), 0.0))
            for key, last in heard.last.items():
                is_lost = self._witness.is_newest(key, last)  # nobody deleted it: its disks are gone
                if key not in final and last.value is not None and not last.expires_ms and not is_lost:
                    self._witness.say(f"P8: {'/'.join(key)} at {heard.node.host} is gone, and nobody was told")

    def _judge_key(self, heard: _Heard, key: Key, record: Record, born_s: float) -> None:
        last = heard.last.get(key)
        begun_s = max(heard.since_s, heard.told_s) + 0.05
        if last is not None and last.dot == record.dot and self._ended.is_long_over(record) and key not in heard.ended:
            self._witness.say(
                f"P8: {'/'.join(key)} at {heard.node.host}: {name_of(record)} has ended, and was not told"
            )
        if last is not None and is_preferred(last, record):
            self._witness.say(f"P8: {'/'.join(key)}: heard {name_of(last)}, owners hold older {name_of(record)}")
        elif born_s > begun_s and (last is None or last.dot != record.dot):
            text = "nothing" if last is None else name_of(last)
            self._witness.say(
                f"P8: {'/'.join(key)} at {heard.node.host}: the last heard is {text}, owners hold {record.value!r} "
                f"{name_of(record)} since {born_s:.3f}, listening since {begun_s:.3f}"
            )
        elif last is not None and last.dot != record.dot and heard.told_s < heard.since_s:
            self._witness.say(
                f"P8: {'/'.join(key)} at {heard.node.host}: the last heard is {name_of(last)}, owners hold "
                f"{name_of(record)}"
            )
