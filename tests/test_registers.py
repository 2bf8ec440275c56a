"""Registers: one value a key at a time, whatever is lost, late, repeated, forgotten, or stopped and started again."""

from __future__ import annotations

import itertools
import json
from random import Random
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.model.clock import HybridClock
from dynatwist.model.dots import Dot
from dynatwist.model.record import Draft, beats, had_seen, write_over
from dynatwist.model.records import dot_of, pack, unpack
from dynatwist.model.registry import majority
from dynatwist.replication import register
from dynatwist.replication.proposal import Ask, Chosen, Outbid, Proposal, Stuck, Unsettled, answer
from dynatwist.replication.register import NEVER, Cell, Floor, Registers

from .planted import plants

KEY = ("t", "k")


def listed(value):
    """The ids of all requests that a value has come from since it was created, in order."""
    return json.loads(unpack(value).value)["ids"] if value and unpack(value).value else []


class Acceptor:
    """An owner: what it keeps, the record that it holds, and what it answers."""

    def __init__(self):
        self.registers = Registers()
        self.held = b""
        self.clock = set()
        self.votes = True
        self.generation = 0
        self.sources = set()

    def cell(self):
        return self.registers.cell(KEY, self.held)

    def ask(self, ask):
        if not self.votes:
            return None
        before = cell = self.cell()
        if ask.ballot is not None:
            promise = ask.value is None
            if not promise and self.held and not register.comes_after(ask.value, self.held):
                return None
            cell = cell.promise(ask.ballot) if promise else cell.accept(ask.ballot, ask.following, ask.value)
            if cell != before:
                self.registers.keep(KEY, cell)
        return answer(cell, ask.value, ask.known, self.registers.floor.version)

    def merge(self, value):
        """The usual merge: what is chosen later has a greater version, and what the clock covers wins nothing."""
        if dot_of(value) in self.clock:
            return
        self.clock.add(dot_of(value))
        if not self.held or beats(unpack(value), unpack(self.held)):
            self.held = value
            self.registers.learn(KEY, value)

    def burn(self):
        """It starts over, and does not vote until it has fetched from enough others."""
        self.registers.start_over()
        self.held, self.clock, self.votes, self.sources = b"", set(), False, set()

    def fetch(self, number, other, needed):
        if self.votes or not other.votes:
            return
        if other.held:
            self.merge(other.held)
        self.clock |= other.clock
        self.registers.forget([], other.registers.floor)
        self.generation = max(self.generation, other.generation)
        if KEY in other.registers.cells:
            self.registers.keep(KEY, self.cell().joined(other.registers.cells[KEY]))
        self.sources.add(number)
        self.votes = len(self.sources) >= needed


class Request:
    """One request: its id is to be appended; or only if there is nothing; or a read, or a delete."""

    def __init__(self, world, node, number, kind):
        self.world, self.node, self.number, self.kind = world, node, number, kind
        self.result = None
        self.began = world.time()
        self.ended = None
        self.made = []
        self.step = None
        self.proposal = Proposal(
            groups=world.groups,
            mine=world.acceptors[node].cell,
            change=None if kind == "read" else self.change,
            ballot_after=self.ballot,
            proposed=lambda value: self.made.append(dot_of(value)),
        )

    def ballot(self, after):
        return self.world.clocks[self.node].next(self.world.now_ms[self.node], (after.ms, after.counter))

    def change(self, found, version):
        held = unpack(found) if found else None
        if held is not None and any(had_seen(held, dot) for dot in self.made):
            return None
        is_live = held is not None and held.value is not None
        if (self.kind == "delete" and not is_live) or (self.kind == "create" and is_live):
            return None
        self.world.dots += 1
        value = None if self.kind == "delete" else json.dumps({"ids": [*listed(found), self.number]}).encode()
        dot = Dot(bytes([self.node]) * 16, self.world.dots)
        stamp = self.ballot(held.stamp if held else NEVER)
        acceptor = self.world.acceptors[self.node]
        generation = acceptor.generation
        if held is None and acceptor.held:
            generation = max(generation, unpack(acceptor.held).lineage.generation + 1)
        record = write_over(held, (), generation, Draft(value, "alice"), dot, stamp, 0, forgotten_version=version)
        return pack(record)


class World:
    """Owners, requests, and messages under way."""

    def __init__(self, owners):
        self.acceptors = [Acceptor() for _ in range(owners)]
        self.groups = [[bytes([n]) for n in range(owners)]]
        self.clocks = [HybridClock(bytes([n]) * 16) for n in range(owners)]
        self.now_ms = [1000 + 7 * n for n in range(owners)]
        self.dots = 0
        self.steady = {}
        self.queues = [[] for _ in range(owners)]
        self.requests = []
        self.running = []
        self.under_way = []
        self.collected = set()
        self.burnt = {}
        self._time = 0

    def time(self):
        self._time += 1
        return self._time

    # What happens

    def begin(self, node, kind="append"):
        request = Request(self, node, len(self.requests), kind)
        self.requests.append(request)
        self.queues[node].append(request)
        if self.queues[node] == [request]:
            self.start(request)
        return request

    def start(self, request):
        """A node works at one request for a register at a time."""
        self.running.append(request)
        acceptor = self.acceptors[request.node]
        steady = self.steady.pop(request.node, NEVER)
        request.step = request.proposal.begin(acceptor.registers.floor.version, steady)
        self.act(request)

    def act(self, request):
        """Do what a proposal says."""
        step = request.step
        if isinstance(step, Ask):
            for owner in range(len(self.acceptors)):
                self.under_way.append(("ask", request, step, owner))
        elif isinstance(step, Chosen) and request in self.running:
            self.end(request, step)

    def end(self, request, step):
        request.ended, request.result = self.time(), step.value
        self.steady[request.node] = step.following
        if step.value and step.following != NEVER:
            self.learn(request.node, request.node, step.value)
            for owner in range(len(self.acceptors)):
                self.under_way.append(("chosen", request, step, owner))
        self.give_up(request)

    def give_up(self, request):
        """It is over; the next one of its node begins."""
        self.running.remove(request)
        waiting = self.queues[request.node]
        waiting.remove(request)
        if waiting:
            self.start(waiting[0])

    def deliver(self, at, keep=False):
        kind, request, step, owner, *vote = self.under_way[at] if keep else self.under_way.pop(at)
        if kind == "ask":
            self.under_way.append(("vote", request, step, owner, self.acceptors[owner].ask(step)))
        elif kind == "chosen":
            self.learn(owner, request.node, step.value)
        elif request in self.running:
            self.tell(request, request.proposal.hear(step.number, bytes([owner]), vote[0]))

    def learn(self, owner, proposer, value):
        """An owner merges what it has accepted; if that is something else by now, what its proposer holds."""
        acceptor, held = self.acceptors[owner], self.acceptors[proposer].held
        if not acceptor.votes:
            return
        cell = acceptor.registers.cells.get(KEY)
        if owner == proposer or (cell is not None and cell.value and dot_of(cell.value) == dot_of(value)):
            acceptor.merge(value)
        elif held and dot_of(value) not in acceptor.clock:
            acceptor.merge(held)

    def lose(self, at):
        kind, request, step, owner, *_ = self.under_way.pop(at)
        if request in self.running and kind != "chosen":
            self.tell(request, request.proposal.hear(step.number, bytes([owner]), None))

    def tell(self, request, step):
        if step is not None:
            request.step = step
            self.act(request)

    def burn(self, owner):
        """No more than leaves a majority that has forgotten nothing; the process ends with it."""
        if sum(one.votes for one in self.acceptors) > majority(len(self.acceptors)):
            self.acceptors[owner].burn()
            self.burnt[owner] = self.time()
            self.steady.pop(owner, None)
            for request in self.queues[owner]:
                if request in self.running:
                    self.running.remove(request)
            self.queues[owner].clear()

    def fetch(self, owner, other):
        """A node waits before it does, so that whoever counts on what it has forgotten has given up (`FORGOT_S`)."""
        count = len(self.acceptors)
        for request in [one for one in self.running if one.began < self.burnt.get(owner, 0)]:
            self.give_up(request)
        self.acceptors[owner].fetch(other, self.acceptors[other], count - majority(count) + 1)

    def collect(self):
        """All owners hold the same tombstone, and the same clock by then: it may be dropped, whatever is under way."""
        held = {one.held for one in self.acceptors}
        if (
            all(one.votes for one in self.acceptors)
            and len(held) == 1
            and (value := held.pop())
            and unpack(value).value is None
        ):
            self.collected.add(dot_of(value))
            clock = set().union(*(one.clock for one in self.acceptors))
            for one in self.acceptors:
                one.clock |= clock

    def drop(self, owner):
        """One owner drops it; others do so later."""
        acceptor = self.acceptors[owner]
        if acceptor.held and dot_of(acceptor.held) in self.collected:
            keys, floor = acceptor.registers.forgettable([(KEY, dot_of(acceptor.held))])
            acceptor.registers.forget(keys, floor.raised(Floor(unpack(acceptor.held).stamp)))
            acceptor.generation = max(acceptor.generation, unpack(acceptor.held).lineage.generation + 1)
            acceptor.held = b""

    def settle(self):
        """Everything arrives, and whoever waits goes on, one after another, until nothing is left to do."""
        for owner, other in itertools.product(range(len(self.acceptors)), repeat=2):
            self.fetch(owner, other)
        for _ in range(2000):
            while self.under_way:
                self.deliver(0)
            waiting = [one for one in self.running if not isinstance(one.step, Chosen)]
            if not waiting:
                return
            self.tell(waiting[0], waiting[0].proposal.again())
        raise AssertionError("no end")

    # What is to hold

    def judge(self):
        """All that was told can have happened one after another, in an order that agrees with the time it took."""
        done = [one for one in self.requests if one.ended is not None]
        by_version = {}
        for one in done:
            ids = listed(one.result)
            assert len(set(ids)) == len(ids), "a request was carried out twice"
            assert one.kind != "append" or one.number in ids or self.deletes
            if one.result:
                record = unpack(one.result)
                assert by_version.setdefault(record.version, record.dot) == record.dot, "a version is two records"
        for one, other in itertools.combinations(done, 2):
            for early, late in ((one, other), (other, one)):
                if early.ended < late.began:
                    self.in_order(early, late)
            if set(listed(one.result)) & set(listed(other.result)) or not self.deletes:
                shorter, longer = sorted((listed(one.result), listed(other.result)), key=len)
                assert longer[: len(shorter)] == shorter, "two histories of one register"

    def in_order(self, early, late):
        if late.result and early.result:
            assert unpack(late.result).version >= unpack(early.result).version, "what was told before is forgotten"
        elif early.result and unpack(early.result).value is not None:
            assert self.deletes, "it is gone, though nobody has deleted it"

    @property
    def deletes(self):
        return any(one.kind == "delete" for one in self.requests)


class Drawn:
    """What hypothesis draws, and makes smaller when it fails."""

    def __init__(self, data):
        self.choice = lambda those: data.draw(st.sampled_from(those))
        self.randint = lambda least, most: data.draw(st.integers(least, most))


class Play:
    """A history of chance.

    :param chance: `Drawn`, or a `Random`.
    """

    KINDS: ClassVar = (
        *("append", "create", "read", "delete", "again", "time", "twice", "lose", "burn", "bury", "drop", "quiet"),
        *("deliver", "fetch", "drop") * 3,
    )

    def __init__(self, chance, owners):
        self.chance = chance
        self.world = World(owners)

    def owner(self):
        return self.chance.randint(0, len(self.world.acceptors) - 1)

    def step(self):
        world, chance = self.world, self.chance
        kind = chance.choice(self.KINDS)
        if kind in ("append", "create", "read", "delete"):
            world.begin(self.owner(), kind)
        elif kind == "time":
            world.now_ms[self.owner()] += chance.randint(-50, 500)
        elif kind == "again":
            waiting = [one for one in world.running if isinstance(one.step, Outbid | Unsettled | Stuck)]
            if waiting:
                one = chance.choice(waiting)
                world.tell(one, one.proposal.again())
        elif kind == "burn":
            world.burn(self.owner())
        elif kind == "fetch":
            world.fetch(self.owner(), self.owner())
        elif kind == "quiet":
            world.settle()
        elif kind == "bury":
            world.begin(self.owner(), "delete")
            late = [world.under_way.pop() for _ in range(chance.randint(0, 3)) if world.under_way]
            world.settle()
            world.under_way += late
            world.collect()
        elif kind == "drop":
            world.drop(self.owner())
        elif world.under_way:
            at = chance.randint(0, len(world.under_way) - 1)
            world.lose(at) if kind == "lose" else world.deliver(at, keep=kind == "twice")


def played(chance, owners, steps=60):
    play = Play(chance, owners)
    for _ in range(chance.randint(5, steps)):
        play.step()
    world = play.world
    world.judge()
    world.settle()
    world.begin(0, "read")
    world.settle()
    world.judge()


@settings(max_examples=400, deadline=None)
@given(st.data(), st.sampled_from([1, 2, 3, 3, 3, 4, 5]))
def test_requests_happen_one_after_another(data, owners):
    played(Drawn(data), owners)


def test_a_proposer_that_stays_the_same_needs_one_round_trip():
    world = World(3)
    world.begin(0)
    world.settle()
    for _ in range(3):
        request = world.begin(0)
        assert request.step.value is not None, "it asks to accept at once"
        world.settle()
    assert listed(world.requests[-1].result) == [0, 1, 2, 3]


def test_a_reader_needs_one_round_trip_though_others_have_promised_since():
    world = World(3)
    world.begin(0)
    world.settle()
    cell = world.acceptors[1].cell()
    world.acceptors[1].registers.keep(KEY, cell.promise(world.clocks[1].next(5000, cell.promised[:2])))
    reader = world.begin(2, "read")
    world.settle()
    assert reader.ended is not None
    assert reader.proposal.in_doubt is False


def test_what_was_forgotten_is_not_proposed_to_below_the_floor():
    registers = Registers()
    clock = HybridClock(b"a" * 16)
    first, second, third = clock.next(1), clock.next(2), clock.next(3)
    registers.keep(KEY, Cell().promise(second))
    registers.forget([KEY], Floor(second, 7))
    assert registers.cell(KEY, None).promise(first) == registers.cell(KEY, None)
    assert registers.cell(KEY, None).accept(first, first, b"x") == registers.cell(KEY, None)
    assert registers.cell(KEY, None).accept(third, third, b"x").value == b"x"


def test_a_cell_that_says_no_more_than_the_floor_goes_with_those_that_are_forgotten():
    """As where the log of a register is replayed over a save from after its end, and the floor rose for another one."""
    registers, clock = Registers(), HybridClock(b"a" * 16)
    first, second = clock.next(1), clock.next(2)
    registers.forget([], Floor(second, 7))
    registers.keep(KEY, registers.cell(KEY, None).promise(first))
    registers.forget([KEY], Floor(first, 3))
    assert registers.cells == {}
    assert registers.floor == Floor(second, 7)


def test_versions_go_on_over_a_delete_that_was_collected():
    world = World(3)
    for kind in ("append", "append", "delete"):
        world.begin(0, kind)
        world.settle()
    world.collect()
    for owner in range(3):
        world.drop(owner)
        assert world.acceptors[owner].registers.cells == {}
    again = world.begin(1)
    world.settle()
    assert unpack(again.result).version == 4
    assert listed(again.result) == [3]


SEEN = (
    "a_late_value_is_accepted_over_what_is_chosen",
    "a_register_breaks_its_promise",
    "a_floor_that_does_not_rise",
    "a_register_is_written_over_whatever_was_accepted",
    "anything_accepted_counts",
    "a_reader_asks_itself",
    "a_proposer_is_always_steady",
    "a_register_is_proposed_to_below_the_floor",
)


HISTORIES = 20_000
"""The rarest of these is seen within a fifth of them."""


def played_often(histories):
    for number in range(histories):
        chance = Random(number)
        played(chance, chance.choice((3, 3, 5)), 100)


def test_what_sees_defects_sees_none_where_there_is_none():
    played_often(1_000)


@pytest.mark.parametrize("defect", SEEN)
def test_these_histories_see_it(monkeypatch, defect):
    plants()[defect](monkeypatch)

    with pytest.raises(AssertionError):
        played_often(HISTORIES)


def first_and_second():
    """Two values of one register, the second written over the first."""
    world = World(1)
    values = []
    for _ in range(2):
        values.append(world.begin(0))
        world.settle()
    return [one.result for one in values]


def what_a_register_accepted_over_a_record_stays_when_that_is_merged():
    first, second = first_and_second()
    cell = Cell(NEVER, NEVER, second)
    assert cell.learn(first) == cell
    assert Cell(NEVER, NEVER, first).learn(second).value == second


def of_two_promises_the_greater_one_is_joined():
    clock = HybridClock(b"a" * 16)
    low, high = Cell(clock.next(1)), Cell(clock.next(2))
    assert low.joined(high) == high.joined(low) == high


def what_is_accepted_over_a_tombstone_is_not_forgotten_with_it():
    first, second = first_and_second()
    registers = Registers()
    registers.keep(KEY, Cell(NEVER, NEVER, second))
    assert registers.forgettable([(KEY, dot_of(first))]) == ([], Floor())
    assert registers.forgettable([(KEY, dot_of(second))])[0] == [KEY]


def what_this_node_would_refuse_is_asked_of_others():
    world = World(3)
    world.begin(0)
    world.settle()
    request = world.begin(0, "create")
    assert isinstance(request.step, Ask)
    assert request.step.ballot is None


def the_value_under_the_greatest_ballot_counts():
    """One owner has accepted something under a low ballot, another one something else under a greater one."""
    world = World(3)
    first, second = first_and_second()
    clock = HybridClock(b"z" * 16)
    low, high = clock.next(1), clock.next(2)
    world.acceptors[0].registers.keep(KEY, Cell(low, low, first))
    world.acceptors[1].registers.keep(KEY, Cell(high, high, second))
    request = world.begin(2)
    for owner in (0, 1):  # asked in this order, and heard of in this order
        (at,) = [n for n, one in enumerate(world.under_way) if one[0] == "ask" and one[3] == owner]
        world.deliver(at)
        world.deliver(len(world.under_way) - 1)
    world.settle()
    assert listed(request.result)[:2] == listed(second)


def what_one_has_accepted_is_not_shown():
    world = World(3)
    first, _ = first_and_second()
    ballot = HybridClock(b"z" * 16).next(1)
    world.acceptors[0].registers.keep(KEY, Cell(ballot, ballot, first))
    reader = world.begin(1, "read")
    for owner in (0, 1):
        (at,) = [n for n, one in enumerate(world.under_way) if one[0] == "ask" and one[3] == owner]
        world.deliver(at)
        world.deliver(len(world.under_way) - 1)
    assert reader.ended is None
    assert isinstance(reader.step, Unsettled)


DIRECTED = {
    "the_first_accepted_value_counts": the_value_under_the_greatest_ballot_counts,
    "a_read_shows_what_was_only_accepted": what_one_has_accepted_is_not_shown,
    "what_is_chosen_takes_the_place_of_what_came_after": (
        what_a_register_accepted_over_a_record_stays_when_that_is_merged
    ),
    "registers_of_damaged_owners_keep_the_lower_promise": of_two_promises_the_greater_one_is_joined,
    "a_register_is_forgotten_whatever_it_has_accepted": what_is_accepted_over_a_tombstone_is_not_forgotten_with_it,
    "a_refusal_by_what_this_node_knows": what_this_node_would_refuse_is_asked_of_others,
}


@pytest.mark.parametrize("defect", DIRECTED)
def test_it_holds(defect):
    DIRECTED[defect]()


@pytest.mark.parametrize("defect", DIRECTED)
def test_it_would_be_seen(monkeypatch, defect):
    plants()[defect](monkeypatch)
    with pytest.raises(AssertionError):
        DIRECTED[defect]()
