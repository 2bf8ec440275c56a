"""One entry, one effect: replay comes to what the node had come to, effects are true, repeating an entry is harmless.

Hypothesis draws what a store is asked for, in any order; one step in it may be of a cold save that is under way.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot, DotSet
from dynatwist.model.record import Draft, write_over
from dynatwist.model.records import pack
from dynatwist.model.ring import SYSTEM_PARTITION, partition_of
from dynatwist.replication.conflicts import id_of
from dynatwist.storage.effects import Covered, Gone, Held, Lost, Won, logged
from dynatwist.storage.entries import AnyEntry, Entry, Group, Joined, Merged, SetAside
from dynatwist.storage.recovery import recover
from dynatwist.storage.segment import Segment, segments_in
from dynatwist.storage.state import State

from .test_storage import KEY, Bench

NAMES = [f"k{number}" for number in range(2000)]
PARTITIONS = (3, 5, SYSTEM_PARTITION)
KEYS = [
    *[("t", name) for name in NAMES if partition_of("t", name) == 3][:3],
    *[("t", name) for name in NAMES if partition_of("t", name) == 5][:2],
    ("_users", "alice"),
]
PEER = b"p" * 16
NODES = (b"1" * 8, b"2" * 8)

keys = st.sampled_from(KEYS)
partitions = st.sampled_from(PARTITIONS)
small = st.integers(0, 3)
peers = st.integers(0, 23)


def peers_records():
    """What a peer has written, apart from this store: some keys over and over, once as if created by somebody else."""
    records = []
    for number in range(24):
        key = KEYS[number % len(KEYS)]
        before = [record for known, record in records if known == key]
        held = before[-1] if before and number % 5 else None
        dot = Dot(PEER, 1 + sum(partition_of(*known) == partition_of(*key) for known, _ in records))
        draft = Draft(None if number % 4 == 3 else b"{}", "bob", 700 * (number % 7 == 0), b"peer's")
        records.append((key, write_over(held, (), 0, draft, dot, Stamp(500 + 40 * number, 0, PEER), 0)))
    return records


PEERS_RECORDS = peers_records()


class Asked:
    """A store that is asked for changes, and all entries that were carried out."""

    def __init__(self):
        self.bench = Bench()
        self.store = self.bench.store
        self.bench.saver.slice_records = 1
        self.entries = []
        self.taken = set()
        self.store.observe(lambda entry, effect: self.entries.append(entry))

    # What may be asked for

    def write(self, key, kind, number):
        value = None if kind == 0 else b'{"n":%d}' % number
        expires_ms = 500 * (number + 1) if kind == 1 else 0
        self.store.write(key, Draft(value, "alice", expires_ms, b"op %d" % number if kind == 2 else b""))

    def merge(self, number):
        self.store.merge(*PEERS_RECORDS[number])

    def take(self, number):
        key, record = PEERS_RECORDS[number]
        self.taken.add(key)
        self.store.take(key, record)

    def join(self, partition, count, generation):
        dots = [record.dot for key, record in PEERS_RECORDS if partition_of(*key) == partition]
        self.store.join(partition, DotSet(dots[:count]), generation)

    def drop(self, key, others, raised):
        """Collect keys; none that was taken, since the grace period is longer than a save."""
        replica = self.store.replica_of(key)
        dots = {one: replica.records.dot(one) for one in sorted({key, *others} - self.taken)}
        drops = [(one, dot) for one, dot in dots.items() if dot is not None]
        self.store.drop(replica.number, drops, replica.generation + raised)

    def reset(self, partition, whole):
        self.store.reset(partition, whole)

    def cease_whole(self, partition):
        self.store.cease_whole(partition)

    def merge_aside(self, partition):
        self.store.merge_aside(partition, 1)

    def become_whole(self, partition):
        self.store.become_whole(partition)

    def hint(self, number, key):
        self.store.hint(NODES[number % 2], key)

    def unhint(self, number, some):
        self.store.unhint(NODES[number % 2], some)

    def set_meta(self, number, value):
        self.store.set_meta(f"vote {number}", value)

    def settle(self, number):
        key, record = PEERS_RECORDS[number]
        self.store.conflicts.settle(partition_of(*key), id_of(key, pack(record)))

    def burn_dot(self, partition):
        self.store.burn_dot(partition)

    def pass_time(self, ms, limit):
        self.store.pass_by(ms)
        self.store.bury(limit)

    def save(self):
        if not self.bench.saver.is_saving:
            self.bench.saver.save()

    def step(self, count):
        for _ in range(count):
            if self.bench.later:
                self.bench.later.pop(0)()


ASKED = {
    "write": (20, keys, small, small),
    "merge": (50, peers),
    "take": (5, peers),
    "join": (3, partitions, small, small),
    "drop": (8, keys, st.lists(keys, max_size=2), small),
    "reset": (1, partitions, st.booleans()),
    "cease_whole": (2, partitions),
    "merge_aside": (5, partitions),
    "become_whole": (2, partitions),
    "hint": (3, small, keys),
    "unhint": (3, small, st.lists(keys, max_size=2)),
    "set_meta": (2, small, st.sampled_from([b"", b"a", b"b"])),
    "settle": (3, peers),
    "burn_dot": (2, partitions),
    "pass_time": (3, st.integers(0, 3000), small),
}
"""How often among a hundred, about, and with which arguments: most records are to meet others."""
SAVED = {**ASKED, "save": (8,), "step": (25, st.integers(1, 30))}


def histories(table):
    names = [name for name, (often, *_) in table.items() for _ in range(often)]
    step = st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), *table[name][1:]))
    return st.lists(step, min_size=20, max_size=80)


HISTORIES = histories(ASKED)
SAVED_HISTORIES = histories(SAVED)
LAWS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def carried_out(history) -> Asked:
    made = Asked()
    for name, *arguments in history:
        getattr(made, name)(*arguments)
    made.bench.wal.note_lapse()
    made.bench.turn()
    return made


def durable(state) -> dict[str, object]:
    """All that is durable of a node, field by field."""
    found = {
        "meta": state.meta,
        "hints": {node: sorted(keys) for node, keys in state.hints.all().items()},
        "lapse": state.lapse_ms,
    }
    for number in PARTITIONS:
        replica = state.replicas[number]
        found[f"records of {number}"] = packed(replica.records)
        found[f"what is aside of {number}"] = packed(replica.aside)
        found[f"clock of {number}"] = replica.clock.to_wire()
        for name in ("seen", "generation", "whole"):
            found[f"{name} of {number}"] = getattr(replica, name)
        registers = state.registers[number]
        found[f"registers of {number}"] = {"/".join(key): cell for key, cell in registers.cells.items()}
        found[f"floor of {number}"] = registers.floor
        found[f"digests of {number}"] = replica.digests.root, replica.digests.to_wire().rstrip(b"\0")
        found[f"conflicts of {number}"] = {
            name.hex(): state.conflicts.get(name) for name in state.conflicts.of_partition(number)
        }
        found[f"tombstones and ends of {number}"] = sorted(replica.tombstones.keys() | replica.ends.keys())
    return msgspec.msgpack.decode(msgspec.msgpack.encode(found))  # a copy


def packed(records) -> dict[str, bytes]:
    return {"/".join(key): records.packed(key) for key in records}


def entries_in_log(bench, first) -> list[AnyEntry]:
    numbers = [number for number in segments_in(bench.fs.names("/d/wal")) if number >= first]
    segments = [Segment(number, bench.fs.read(f"/d/wal/{number:012d}.wal"), KEY) for number in numbers]
    return [entry for one in segments for frame in one.frames if isinstance(frame, Group) for entry in frame.entries]


def replayed(entries, lapse_ms) -> State:
    state = State()
    for entry in entries:
        state.apply(entry)
    state.pass_by(lapse_ms)
    return state


@given(HISTORIES)
@LAWS
def test_what_was_carried_out_is_what_is_held(history):
    made = carried_out(history)
    assert durable(replayed(made.entries, made.store.lapse_ms)) == durable(made.store.state)


@given(HISTORIES)
@LAWS
def test_a_start_on_the_log_alone_comes_to_the_same(history):
    made = carried_out(history)
    found = recover(made.bench.fs, "/d", KEY, True)
    assert found.findings == []
    assert durable(found.state) == durable(made.store.state)


@given(SAVED_HISTORIES)
@LAWS
def test_a_start_on_cold_saves_and_log_comes_to_the_same(history):
    """However much was changed while the save was under way.

    Only of a partition that was set aside meanwhile less may be aside: what is less than what came later.
    """
    made = carried_out(history)
    found = recover(made.bench.fs, "/d", KEY, True)
    assert found.findings == []
    before, after = durable(made.store.state), durable(found.state)
    first = found.manifest.wal_from if found.manifest is not None else 1
    for number in {entry.partition for entry in entries_in_log(made.bench, first) if isinstance(entry, SetAside)}:
        name = f"what is aside of {number}"
        assert found.manifest is None or after[name].items() <= before[name].items()
        before[name] = after[name] = {}
    assert after == before


@given(HISTORIES)
@LAWS
def test_effects_are_true(history):
    """What they say is held, or gone, is exactly what differs; and what changes nothing says so."""
    state = State()
    for entry in carried_out(history).entries:
        before = {number: packed(state.replicas[number].records) for number in PARTITIONS}
        all_before = durable(state)
        effect = state.apply(entry)
        after = {number: packed(state.replicas[number].records) for number in PARTITIONS}
        expected = dict(before)
        if isinstance(effect, Won):
            assert before[effect.partition].get("/".join(effect.key)) == effect.before_packed
            assert effect.before_packed == (None if effect.before is None else pack(effect.before))
            assert effect.packed == pack(effect.record)
            expected[effect.partition] = {**before[effect.partition], "/".join(effect.key): effect.packed}
        elif isinstance(effect, Gone):
            gone = packed(effect.records)
            assert gone.items() <= before[effect.partition].items()
            left = before[effect.partition].items() - gone.items()
            expected[effect.partition] = dict(left)
        assert after == expected
        if not effect.is_change:
            assert durable(state) == all_before
        elif not isinstance(effect, Gone):  # a partition that starts over may have been empty
            assert durable(state) != all_before


@given(HISTORIES)
@LAWS
def test_an_entry_that_is_carried_out_twice_changes_nothing_more(history):
    """A cold save may have it already, and the log says it again."""
    state = State()
    for entry in carried_out(history).entries:
        state.apply(entry)
        once = durable(state)
        state.apply(entry)
        assert durable(state) == once


@given(HISTORIES)
@LAWS
def test_what_the_log_gets_of_an_entry_has_the_same_effect(history):
    """Of a record that lost it gets the dot alone, and nothing of what changed nothing."""
    state, by_log = State(), State()
    for entry in carried_out(history).entries:
        effect = state.apply(entry)
        if effect.is_change:
            said = logged(entry, effect)
            assert isinstance(said, Joined) or not isinstance(effect, Lost)
            by_log.apply(said)
        assert durable(by_log) == durable(state)


@given(HISTORIES)
@LAWS
def test_the_accounts_that_follow_effects_are_those_of_a_start(history):
    made = carried_out(history)
    again = Bench(made.bench.disk, epoch=b"f" * 8).store
    for store in (made.store, again):
        store.bury(1000)
    assert again.size_bytes == made.store.size_bytes
    assert again.live.page() == made.store.live.page()
    assert again.tables() == made.store.tables()
    for table in ("t", "_users"):
        assert list(again.keys(table)) == list(made.store.keys(table))
    assert [one.tombstones.keys() for one in again.replicas] == [one.tombstones.keys() for one in made.store.replicas]


class TestObservers:
    def test_each_is_told_of_every_entry_and_what_it_changed(self):
        store, told = Bench().store, []
        store.observe(lambda entry, effect: told.append((type(entry), type(effect))))
        record = store.write(KEYS[0], Draft(b"{}", "alice", op=b"op"))
        store.merge(KEYS[0], record)
        assert told == [(Merged, Held), (Merged, Covered)]

    def test_nobody_is_told_any_more_whom_the_store_ignores(self):
        store, told = Bench().store, []

        def once(entry, effect):
            told.append(entry)
            store.ignore(once)

        store.observe(once)
        store.set_meta("a", b"1")
        store.set_meta("b", b"2")
        assert [entry.name for entry in told] == ["a"]


class TestFormerReleases:
    def test_their_logs_do_not_say_which_key_a_record_lost_for(self):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode([3, 7, {}, 1]), type=Joined) == Joined(7, {}, 1)

    def test_they_pass_over_it(self):
        class Former(Entry, frozen=True, tag=3):
            partition: int
            clock: dict
            generation: int

        assert msgspec.msgpack.decode(msgspec.msgpack.encode(Joined(7, {}, 1, ("t", "k"))), type=Former) == Former(
            7, {}, 1
        )


@pytest.mark.parametrize("entry", [object(), None])
def test_what_is_no_entry_is_refused(entry):
    with pytest.raises(TypeError):
        State().apply(entry)
