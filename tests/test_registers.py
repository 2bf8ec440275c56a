"""Registers: one value a key at a time, whatever is lost, late, repeated, or stopped and started again."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.model.clock import HybridClock
from dynatwist.model.dots import Dot
from dynatwist.model.record import Draft, write_over
from dynatwist.model.records import pack, unpack
from dynatwist.replication.proposal import Ask, Chosen, Outbid, Proposal, Stuck, answer
from dynatwist.replication.register import NEVER, Cell, Floor, Registers

KEY = ("t", "k")


def listed(value):
    """The ids of all requests that a value has come from, in order."""
    return json.loads(unpack(value).value)["ids"] if value and unpack(value).value else []


class Acceptor:
    """An owner: what it keeps, and what it answers."""

    def __init__(self):
        self.registers = Registers()
        self.is_up = True

    def cell(self):
        return self.registers.cell(KEY, None)

    def ask(self, ask):
        before = cell = self.cell()
        if ask.ballot is not None:
            cell = cell.promise(ask.ballot) if ask.value is None else cell.accept(ask.ballot, ask.following, ask.value)
            if cell != before:
                self.registers.keep(KEY, cell)
        return answer(cell, ask.value, ask.known, self.registers.floor.version)


class Request:
    """One request: its id is to be appended; or a read."""

    def __init__(self, world, node, number, is_read):
        self.world, self.node, self.number, self.is_read = world, node, number, is_read
        self.result = None
        self.began = world.time()
        self.ended = None
        self.proposal = Proposal(
            groups=world.groups,
            mine=world.acceptors[node].cell,
            change=None if is_read else self.change,
            ballot_after=self.ballot,
        )
        self.step = None

    def ballot(self, after):
        return self.world.clocks[self.node].next(self.world.now_ms[self.node], (after.ms, after.counter))

    def change(self, found, version):
        if self.number in listed(found):
            return None
        self.world.dots += 1
        held = unpack(found) if found else None
        draft = Draft(json.dumps({"ids": [*listed(found), self.number]}).encode(), "alice")
        dot = Dot(bytes([self.node]) * 16, self.world.dots)
        stamp = self.ballot(held.stamp if held else NEVER)
        record = write_over(held, (), 0, draft, dot, stamp, 0)
        return pack(record)


class World:
    """Owners, requests, and messages under way."""

    def __init__(self, owners, groups=None):
        self.acceptors = [Acceptor() for _ in range(owners)]
        self.groups = groups or [[bytes([n]) for n in range(owners)]]
        self.clocks = [HybridClock(bytes([n]) * 16) for n in range(owners)]
        self.now_ms = [1000 + 7 * n for n in range(owners)]
        self.dots = 0
        self.steady = {}
        self.queues = [[] for _ in range(owners)]
        self.requests = []
        self.running = []
        self.under_way = []
        self._time = 0

    def time(self):
        self._time += 1
        return self._time

    def begin(self, node, is_read=False):
        request = Request(self, node, len(self.requests), is_read)
        self.requests.append(request)
        self.queues[node].append(request)
        if self.queues[node] == [request]:
            self.start(request)
        return request

    def start(self, request):
        """A node works at one request for a register at a time."""
        self.running.append(request)
        request.step = request.proposal.begin(steady=self.steady.get(request.node, NEVER))
        self.act(request)

    def act(self, request):
        """Do what a proposal says."""
        step = request.step
        if isinstance(step, Ask):
            for owner in sorted({owner for group in self.groups for owner in group}):
                self.under_way.append(("ask", request, step, owner[0]))
        elif isinstance(step, Chosen) and request in self.running:
            request.ended, request.result = self.time(), step.value
            self.running.remove(request)
            self.steady[request.node] = step.following
            waiting = self.queues[request.node]
            waiting.remove(request)
            if waiting:
                self.start(waiting[0])

    def deliver(self, at, keep=False):
        kind, request, ask, owner, *vote = self.under_way[at] if keep else self.under_way.pop(at)
        if kind == "ask":
            if self.acceptors[owner].is_up:
                self.under_way.append(("vote", request, ask, owner, self.acceptors[owner].ask(ask)))
        elif request in self.running:
            self.tell(request, request.proposal.hear(ask.number, bytes([owner]), vote[0]))

    def lose(self, at):
        _, request, ask, owner, *_ = self.under_way.pop(at)
        if request in self.running:
            self.tell(request, request.proposal.hear(ask.number, bytes([owner]), None))

    def tell(self, request, step):
        if step is not None:
            request.step = step
            self.act(request)

    def settle(self):
        """Everything arrives, and whoever waits goes on, one after another, until nothing is left to do."""
        for _ in range(2000):
            while self.under_way:
                self.deliver(0)
            waiting = [one for one in self.running if not isinstance(one.step, Chosen)]
            if not waiting:
                return
            self.tell(waiting[0], waiting[0].proposal.again())
        raise AssertionError("no end")

    def judge(self):
        """All that was told can have happened one after another, in an order that agrees with the time it took."""
        done = [one for one in self.requests if one.ended is not None]
        lists = sorted((listed(one.result) for one in done), key=len)
        for shorter, longer in zip(lists, lists[1:], strict=False):
            assert longer[: len(shorter)] == shorter, "two histories of one register"
        for one in done:
            ids = listed(one.result)
            assert len(set(ids)) == len(ids), "a request was carried out twice"
            assert one.is_read or one.number in ids
            for other in done:
                if other.ended < one.began:
                    seen = listed(other.result)
                    assert ids[: len(seen)] == seen, "what was told before is forgotten"


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from([1, 2, 3, 3, 3, 4, 5]))
def test_requests_happen_one_after_another(data, owners):
    world = World(owners)
    for _ in range(data.draw(st.integers(5, 60))):
        kind = data.draw(
            st.sampled_from(["begin", "read", "deliver", "deliver", "deliver", "twice", "lose", "again", "time"])
        )
        if kind in ("begin", "read"):
            world.begin(data.draw(st.integers(0, owners - 1)), kind == "read")
        elif kind == "time":
            world.now_ms[data.draw(st.integers(0, owners - 1))] += data.draw(st.integers(-50, 500))
        elif kind == "again":
            waiting = [one for one in world.running if isinstance(one.step, Outbid | Stuck)]
            if waiting:
                one = data.draw(st.sampled_from(waiting))
                world.tell(one, one.proposal.again())
        elif world.under_way:
            at = data.draw(st.integers(0, len(world.under_way) - 1))
            world.lose(at) if kind == "lose" else world.deliver(at, keep=kind == "twice")
    world.judge()
    world.settle()
    world.begin(0, True)
    world.settle()
    world.judge()


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
    reader = world.begin(2, True)
    while world.under_way:
        world.deliver(0)
    assert reader.ended is not None
    assert reader.proposal.in_doubt is False


def test_what_was_forgotten_is_not_proposed_to_below_the_floor_and_versions_go_on():
    registers = Registers()
    clock = HybridClock(b"a" * 16)
    first, second, third = clock.next(1), clock.next(2), clock.next(3)
    registers.keep(KEY, Cell().promise(second))
    registers.forget([KEY], Floor(second, 7))
    assert registers.cell(KEY, None).promise(first) == registers.cell(KEY, None)
    assert registers.cell(KEY, None).accept(first, first, b"x") == registers.cell(KEY, None)
    assert registers.cell(KEY, None).accept(third, third, b"x").value == b"x"
    assert registers.floor.version == 7
