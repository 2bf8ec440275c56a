"""Clients of a strong table: what they are told has to be linearizable, key by key, whatever happens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import inf
from random import Random

import msgspec

from dynatwist.model.named import KEPT_MS
from dynatwist.model.record import Key, Record
from dynatwist.replication.request import Kind, etag

from .clients import Clients
from .cluster import SimCluster, SimNode
from .history import AGREED_TABLE, NO_EFFECT, Call
from .linear import ABSENT, Does, Request, is_linearizable
from .recurring import Recurring
from .witness import Witness

SETTINGS = b'{"consistency":"strong"}'
KEYS = 4
SESSION = "agreed"
KINDS = (Kind.GET, Kind.PUT, Kind.DELETE)
WEIGHTS = (3, 5, 1)
WATCHED_WITHIN_S = 0.1
"""Others look at a key while it is written."""
MOST = 400
"""Requests on one key: then another key takes its place, since the search takes longer and longer."""
NAMED = 0.3
"""Share of writes that have a name, and are sent again."""
AGAIN_WITHIN_S = 3.0
"""Some before they are answered, some when others have written since."""
MOST_LOST = 8
"""The same of writes of which nobody has heard: each may have had its effect at any time, or none."""
REFUSED = ("precondition_failed", "not_found")
"""Answers that tell something of what is there."""


class Agreed:
    """See the module.

    :param rate_s: requests in a second.
    """

    def __init__(self, cluster: SimCluster, clients: Clients, witness: Witness, rate_s: float) -> None:
        self._cluster = cluster
        self._clients = clients
        self._witness = witness
        self._random = Random(f"agreed {cluster.world.seed}")
        self._asking = Recurring(cluster.world, rate_s, self._ask_something, self._random)
        self._calls: dict[Key, list[tuple[Call, str]]] = {}
        self._names = [f"a{number}" for number in range(KEYS)]
        self._count = KEYS
        self._numbers: dict[str, int] = {}
        self._tags: dict[Key, str] = {}
        self._named = 0

    def start(self) -> None:
        """Begin to ask."""
        self._asking.start()

    def stop(self) -> None:
        """No more requests."""
        self._asking.stop()

    def _ask_something(self) -> None:
        nodes = self._cluster.ready_nodes()
        if not nodes:
            return
        random = self._random
        place = random.randrange(KEYS)
        key = AGREED_TABLE, self._names[place]
        if self._is_much(key):
            self._count += 1
            self._names[place] = f"a{self._count}"
        for _ in range(random.choice((1, 1, 2, 3))):
            self._ask(random.choice(nodes), key, random.choices(KINDS, WEIGHTS)[0])
        for _ in range(random.randint(0, 2)):
            self._cluster.world.later(random.uniform(0, WATCHED_WITHIN_S), lambda: self._look(key))

    def _is_much(self, key: Key) -> bool:
        """Whether it would take too long to judge more requests on a key."""
        calls = self._calls.get(key, ())
        now_s = self._cluster.world.now_s
        lost = sum(
            call.is_write and now_s - call.started_s > AGAIN_WITHIN_S and call.code not in ("ok", *NO_EFFECT)
            for call, _ in calls
        )
        return len(calls) > MOST or lost > MOST_LOST

    def _look(self, key: Key) -> None:
        nodes = self._cluster.ready_nodes()
        if nodes and self._asking.is_running:
            self._ask(self._random.choice(nodes), key, Kind.GET)

    def _ask(self, node: SimNode, key: Key, kind: Kind) -> None:
        random = self._random
        tag = ""
        if_absent = kind is Kind.PUT and random.random() < 0.3
        if kind is Kind.PUT and not if_absent and random.random() < 0.5:
            tag = self._tags.get(key, "")
        level = random.choice(("quorum", "majority"))
        name = ""
        if kind is not Kind.GET and random.random() < NAMED:
            self._named += 1
            name = f"name {self._named}"
        call = self._clients.ask(
            node, SESSION, kind, key, level, if_absent=if_absent, tag=tag, name=name, then=self._answered
        )
        self._calls.setdefault(key, []).append((call, tag))
        for _ in range(random.randint(1, 2) if name else 0):
            self._cluster.world.later(random.uniform(0, AGAIN_WITHIN_S), lambda: self._ask_again(call, tag))

    def _ask_again(self, call: Call, tag: str) -> None:
        nodes = self._cluster.ready_nodes()
        if not nodes or not self._asking.is_running:
            return
        again = self._clients.ask(
            self._random.choice(nodes),
            SESSION,
            call.kind,
            call.key,
            call.level,
            if_absent=call.if_absent,
            tag=tag,
            name=call.name,
            repeats=call,
            then=self._answered,
        )
        self._calls[call.key].append((again, tag))

    def _answered(self, call: Call) -> None:
        if call.code == "ok" and call.record is not None and call.record.value is not None:
            tag = etag(call.record)
            self._numbers[tag] = _number_of(call.record)
            self._tags[call.key] = tag

    def judge(self) -> Iterator[str]:
        """After a storm: is there an order of all requests on each key?"""
        for key, calls in self._calls.items():
            if self._may_be_forgotten([call for call, _ in calls if call.name]):
                continue
            requests = list(made_once([(call.name, one) for call, tag in calls if (one := self._request(call, tag))]))
            if not is_linearizable(requests):
                yield f"P2: no order of the requests on {'/'.join(key)} agrees with what they were told"
            yield from _forgotten([call for call, _ in calls if call.name])

    def _may_be_forgotten(self, named: list[Call]) -> bool:
        """Whether so much time may have passed by most clocks, which jump, that a name stood for another write."""
        made = (call.record.stamp.ms for call in named if call.record is not None)
        return min(made, default=inf) < self._cluster.time.passed_ms - KEPT_MS

    def _request(self, call: Call, tag: str) -> Request | None:
        end_s = call.ended_s if call.code in ("ok", *REFUSED) else float("inf")
        is_done = call.code not in REFUSED
        if call.kind is Kind.GET:
            number = _number_of(call.record) if call.record is not None else ABSENT
            known = call.code in ("ok", "not_found")
            return Request(Does.READ, call.started_s, end_s, number) if known else None
        if call.code in NO_EFFECT and call.code not in REFUSED:
            return None
        if call.kind is Kind.DELETE:
            return Request(Does.DELETE, call.started_s, end_s, is_done=is_done)
        does = Does.CREATE if call.if_absent else Does.SWAP if tag else Does.PUT
        named = self._numbers[tag] if tag else ABSENT
        return Request(does, call.started_s, end_s, call.number, named, is_done)


def _forgotten(named: list[Call]) -> Iterator[str]:
    """What was sent again is answered as it was the first time, once that one was told that it is done."""
    done = {call.name: call for call in reversed(named) if call.code == "ok"}
    for call in named:
        first = done.get(call.name)
        if first is None or first.ended_s >= call.started_s:
            continue
        if call.code in REFUSED or (call.code == "ok" and call.record != first.record):
            yield f"P6: {call.text()}, though {first.text()} before"


def made_once(requests: Iterable[tuple[str, Request]]) -> Iterator[Request]:
    """What is to be judged of requests with names: all that were sent under one name, and not refused, are one."""
    named: dict[str, Request] = {}
    for name, one in requests:
        if not name or not one.is_done:
            yield one
        elif name in named:
            known = named[name]
            named[name] = replace(known, start_s=min(known.start_s, one.start_s), end_s=min(known.end_s, one.end_s))
        else:
            named[name] = one
    yield from named.values()


def _number_of(record: Record) -> int:
    assert record.value is not None
    return int(msgspec.json.decode(record.value)["n"])
