"""The store: decides what changes, has `State` carry it out and the log keep it, and shows what is durable of it.

A change takes one way. A verb of `Store` decides what may be written, under which dot and stamp, and makes an entry;
`State.apply` carries it out and answers with its effect; the log gets it; then whoever keeps an account of what is held
hears of the effect: the index, what requests became, what is to be announced, and observers (`Store.observe`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from dynatwist.model.dots import Actor, Dot, DotSet
from dynatwist.model.lineage import EXACT_CREATIONS
from dynatwist.model.record import Draft, Key, Record, write_over
from dynatwist.model.records import Packed, pack
from dynatwist.model.replica import Replica
from dynatwist.model.ring import SYSTEM_PARTITION, partition_of
from dynatwist.sometimes import sometimes

from .conflict_store import ConflictStore
from .effects import Effect, Gone, Held, Lost, Plain, logged
from .entries import AnyEntry, Dropped, Hinted, Joined, Merged, MetaSet, Reset, SetAside, Taken, Unhinted, Wholeness
from .floors import floor_to_keep, name_of_floor
from .index import Index
from .leases import Leases
from .readable import Readable
from .recovery import Recovered
from .register_store import RegisterStore
from .requests import Requests
from .tables import LiveCounts
from .wal import Wal
from .winners import Announce, AnnounceEnd, Over, Winners
from .write_clock import WriteClock

Observer = Callable[[AnyEntry, Effect], None]
"""Told of each entry once it was carried out and logged, also of those that changed nothing, and of their effects."""

MOST_ENDS_WAITING = 1000
"""Records and ends that wait for the log before no more are buried: some milliseconds of announcements."""
CELL_BYTES = 350
"""What a register takes beside its value, which is the record's as a rule: two ballots, and a place in a dictionary."""


class Store:
    """See the module.

    :param actor: this process's actor; issues the dots of local writes.
    :param withdraw: called when what was announced may not be what is held any more: a partition was set aside.
    :ivar state: all that is durable; to be looked at, and changed by verbs of the store alone.
    :ivar replicas: those of `state`, by number of the partition.
    :ivar meta: its small named values; see `set_meta`.
    :ivar hints: which keys other nodes missed; see `hint`.
    :ivar exact_creations: how many moments of a history of creations are kept apart; see `dynatwist.model.lineage`.
    :ivar clock: of what is written here.
    :ivar requests: what forwarded requests became, whose records were merged here lately.
    :ivar registers: this node's part in what is agreed.
    :ivar readable: what may be shown.
    :ivar conflicts: pairs of concurrent records that met here.
    :ivar alarms: see `alarm`.
    """

    def __init__(
        self,
        *,
        recovered: Recovered,
        wal: Wal,
        actor: Actor,
        wall_ms: Callable[[], int],
        withdraw: Callable[[], None] = lambda: None,
    ) -> None:
        self.state = state = recovered.state
        self.replicas, self.meta, self.hints = state.replicas, state.meta, state.hints
        self.wal, self.actor, self.wall_ms = wal, actor, wall_ms
        self._withdraw = withdraw
        self.clock = WriteClock(actor, wall_ms, state)
        self.clock.restore(recovered.mark)
        self.exact_creations = EXACT_CREATIONS
        wal.keep_lapse(lambda: state.lapse_ms)
        self.conflicts = ConflictStore(state, self._commit)
        self.alarms = 0
        self._index = Index(state)
        state.count_cells()
        self.registers = RegisterStore(state, self._commit)
        self.requests = Requests(state.held)
        self._winners = Winners(wal)
        self.readable = Readable(state, wal, self._winners.undurable, self._index.ends)
        self._over_at_start_ms = state.lapse_ms
        self._observers: tuple[Observer, ...] = ()
        for number in sorted(recovered.damaged):  # which the start has carried out
            self.wal.append(SetAside(number))
            self._log_meta_behind(number)

    def observe(self, observer: Observer) -> None:
        """Have somebody told of each entry from now on."""
        self._observers = (*self._observers, observer)

    def ignore(self, observer: Observer) -> None:
        """Tell an observer of no more entries."""
        self._observers = tuple(one for one in self._observers if one != observer)

    def alarm(self, count: int) -> None:
        """So many records differed from other owners' though clocks say that nothing is missing."""
        self.alarms += count

    # What is held

    def replica_of(self, key: Key) -> Replica:
        """The replica that a key falls into."""
        return self.replicas[partition_of(*key)]

    def held(self, key: Key) -> Record | None:
        """What is held for a key, tombstones included, durable or not."""
        return self.replicas[partition_of(*key)].records.get(key)

    def keys(self, table: str, prefix: str = "", after: str = "") -> Iterator[str]:
        """The keys of a table in order, tombstones included.

        :param after: only keys greater than this one.
        """
        return self._index.keys(table, prefix, after)

    def tables(self) -> list[str]:
        """The tables that hold a key or a tombstone, system tables left out."""
        return self._index.tables()

    @property
    def live(self) -> LiveCounts:
        """Live keys by table."""
        return self._index.live

    @property
    def leases(self) -> Leases:
        """The live records that depend on the life of a process."""
        return self._index.leases

    @property
    def size_bytes(self) -> int:
        """Memory that the records, registers and conflicts take, roughly."""
        return self._index.size_bytes + CELL_BYTES * self.state.cells + self.conflicts.size_bytes

    def remember(self, key: Key, record: Record) -> None:
        """Know from another owner what a request became."""
        held = self.held(key)
        self.requests.note(key, record, None if held is not None and held.dot == record.dot else pack(record))

    def announce_to(self, announce: Announce, announce_end: AnnounceEnd) -> None:
        """Have each winning record told there, and each that ends by itself, in order, once that is durable."""
        self._winners.announce_to(announce, announce_end)

    def name_flaw(self, key: Key, dot: tuple[Actor, int]) -> str:
        """Why a record that a peer sends cannot bear the name it bears; empty when it can."""
        actor, seq = dot
        if actor == self.actor and seq > self.replica_of(key).issued:
            sometimes("a record bears the name of this process, which has not written it")
            return "it bears this process's name, and another one wrote it: does a copy of this machine run?"
        return ""

    def has_room_for(self, key: Key, value: bytes, most_bytes: int, *, has_name: bool = False) -> bool:
        """Whether a value may be held within a bound of `size_bytes`; or it takes no more than what it replaces."""
        most_bytes -= CELL_BYTES * self.state.cells + self.conflicts.size_bytes
        return self._index.has_room_for(key, value, self.held(key), most_bytes, has_name=has_name)

    def bound(self, exact_creations: int) -> None:
        """Another `exact_creations` than the usual one, from now on."""
        self.exact_creations = exact_creations

    # Time

    @property
    def lapse_ms(self) -> int:
        """The time that is over, by which records expire; it never falls. See `dynatwist.replication.lapse`."""
        return self.state.lapse_ms

    def pass_by(self, lapse_ms: int) -> None:
        """So much time is over."""
        self.state.pass_by(lapse_ms)

    def bury(self, limit: int) -> bool:
        """Count records that are over among the tombstones, and announce that they have ended.

        What had ended when this process started was announced before, or nobody listens who has heard of it.

        Where many wait for the log already, none; else all would be announced in the turn in which a slow disk is back.

        :param limit: how many at most.
        :returns: whether there are more.
        """
        if self._winners.waits > MOST_ENDS_WAITING:
            return False
        over = self._index.bury(limit)
        ended: list[Over] = []
        for key in over:
            records = self.replica_of(key).records
            record, packed = records.get(key), records.packed(key)
            if record is not None and packed is not None and record.expires_ms > self._over_at_start_ms:
                ended.append(Over(key, record, packed))
        if ended:
            self._winners.over(ended)
        return len(over) == limit

    # Changes; each is logged, and durable once the log is

    def write(self, key: Key, draft: Draft, dot: Dot | None = None, after_ms: int = 0) -> Record:
        """Write on top of what is held, as the coordinator.

        :param after_ms: hybrid time that the stamp has to be beyond, besides that of what is held.
        """
        replica = self.replica_of(key)
        held = replica.records.get(key)
        after = (after_ms, 0) if held is None else max((after_ms, 0), held.stamp[:2])
        record = write_over(
            held,
            replica.seen.get(key, ()),
            replica.generation,
            draft,
            dot or replica.next_dot(self.actor),
            self.clock.stamp(after),
            self.state.lapse_ms,
            self.exact_creations,
        )
        packed = pack(record)
        self._commit(Merged(replica.number, key, msgspec.Raw(packed)), record, packed)
        return record

    def merge(self, key: Key, record: Record | None, packed: Packed | None = None) -> Effect:
        """Merge a record, from wherever it comes; nobody has to have unpacked one that is `packed` already."""
        packed = packed or pack(record)
        return self._commit(Merged(partition_of(*key), key, msgspec.Raw(packed)), record, packed)

    def take(self, key: Key, record: Record) -> None:
        """Hold the greater of a record and what is held, whatever the clock covers.

        Where the clock does not cover it, that is a merge. Only `Taken` may bring a record back that was collected
        later, when the log is replayed over a cold save of later still; the grace period is longer than any save.
        """
        if self.replica_of(key).clock.covers(record.dot):
            self._commit(Taken(partition_of(*key), key, record))
        else:
            self.merge(key, record)

    def join(self, partition: int, clock: DotSet, generation: int) -> None:
        """Adopt a peer's clock and G."""
        self._commit(Joined(partition, clock.to_wire(), generation))

    def drop(self, partition: int, entries: Iterable[tuple[Key, Dot]], generation: int) -> None:
        """Forget collected tombstones and raise G, in one log entry; or what others have deleted and collected.

        Of the latter, listeners may have heard, if this node was left alone with it: they have to read afresh.
        """
        records = self.replicas[partition].records
        held = [(key, dot) for key, dot in entries if records.dot(key) == dot]
        self.registers.follow_drop(partition, held)
        if held:
            self.set_meta(*floor_to_keep(self.replicas[partition], self.lapse_ms))
        effect = self._commit(Dropped(partition, held, generation))
        if type(effect) is Gone and not all(record.is_dead(self.lapse_ms) for record in effect.records.values()):
            sometimes("a record is dropped that others have deleted and collected")
            self.wal.when_durable(self.wal.lsn, self._withdraw)

    def reset(self, partition: int, whole: bool) -> None:
        """Start a partition over, empty: handed off, or newly taken over."""
        self._start_over(Reset(partition, whole))

    def cease_whole(self, partition: int) -> None:
        """A replica that may be older than what it acknowledged, for example from a backup: keep it aside."""
        self._start_over(SetAside(partition))
        self._withdraw()

    def become_whole(self, partition: int) -> None:
        """All that other owners hold is here: merge what is still set aside, under the usual rules."""
        self.merge_aside(partition, len(self.replicas[partition].aside))
        self._commit(Wholeness(partition, True))

    def merge_aside(self, partition: int, limit: int) -> int:
        """Merge some of what was set aside after damage; the replica stays not whole.

        :returns: how many records; when that is less than `limit`, nothing is set aside any more.
        """
        aside = self.replicas[partition].aside
        keys = list(islice(aside, limit))
        for key in keys:
            packed = aside.packed(key)
            assert packed is not None
            self.merge(key, None, packed)
        return len(keys)

    def burn_dot(self, partition: int) -> Dot:
        """A dot that names something other than a record; noted in the clock, so that it leaves no gap."""
        dot = self.replicas[partition].next_dot(self.actor)
        self.join(partition, DotSet((dot,)), 0)
        return dot

    def hint(self, node: bytes, key: Key) -> None:
        """Note that a node missed a key."""
        self._commit(Hinted(node, key))

    def unhint(self, node: bytes, keys: list[Key]) -> None:
        """A node has these keys; an empty list drops all its hints."""
        self._commit(Unhinted(node, keys))

    def set_meta(self, name: str, value: bytes) -> None:
        """Keep a small named value; empty removes it."""
        self._commit(MetaSet(name, value))

    def _commit(self, entry: AnyEntry, record: Record | None = None, packed: Packed | None = None) -> Effect:
        """Have an entry carried out and logged, and everybody told who follows what is held; see `State.apply`."""
        effect = self.state.apply(entry, record, packed)
        if effect.is_change:
            self._follow(effect, self.wal.append(logged(entry, effect) if type(effect) is Lost else entry))
        for observer in self._observers:
            observer(entry, effect)
        if (type(effect) is Held or type(effect) is Lost) and effect.is_concurrent:
            self.conflicts.meet(effect)
        return effect

    def _follow(self, effect: Effect, lsn: int) -> None:
        if type(effect) is Plain:
            self.clock.see_mark(*effect.mark)
            self._index.plain(effect)
            self._winners.held(effect, lsn)
        elif type(effect) is Held:
            self.clock.see(effect.record.stamp)
            self._index.held(effect)
            self.requests.held(effect)
            self._winners.held(effect, lsn)
            record = effect.record
            if record.value is not None and record.expires_ms > 0 and self._index.is_over(effect.key, record):
                sometimes("a record arrives that has ended")
                self._winners.over([Over(effect.key, record, effect.packed)])
        elif type(effect) is Lost:
            self.clock.see(effect.record.stamp)
            self.requests.lost(effect)
        elif type(effect) is Gone:
            self._index.gone(effect)
            self.requests.gone(effect)

    def _start_over(self, entry: Reset | SetAside) -> None:
        self._commit(entry)
        self.set_meta(name_of_floor(entry.partition), b"")
        self._log_meta_behind(entry.partition)

    def _log_meta_behind(self, partition: int) -> None:
        """Log the small named values again where the system's partition, with which they count, starts over."""
        if partition == SYSTEM_PARTITION:
            for name, value in self.meta.items():
                self.wal.append(MetaSet(name, value))
