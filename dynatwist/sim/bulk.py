"""Requests about many keys: batches, reads of several keys, listings of all kinds; judged item by item."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

import msgspec

from dynatwist.model.record import Key, Record
from dynatwist.replication.request import Kind

from .answers import Answers
from .clients import Clients
from .cluster import SimCluster, SimNode
from .door import Ask, Reply, Respond
from .history import STRICT_TABLE, Call, name_of
from .keys import OWNERS, ROOT, TABLES
from .known import Known
from .order import is_preferred
from .recurring import Recurring
from .witness import Witness

MALFORMED = (b'{"op":"put","key":"bad","value":[1]}', b'{"op":"fly","key":"bad"}', b'{"op":"delete","key":""}', b"[]")
"""Operations of a batch that are refused, and must not keep the others from being carried out."""
MANY = 40
"""Operations of a large batch, keys of a large read: more than the code takes at once, in either case."""
USUAL_READ = 5
"""Keys of a read at most, unless it is large; a large one asks for as many besides that nobody writes."""
LARGE = 0.15
"""Share of batches and reads that are large."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """A listing that was asked for.

    :ivar reader: who asked.
    :ivar limit: at most so many; 0 for all.
    """

    table: str
    reader: str
    level: str
    prefix: str
    after: str
    limit: int
    started_s: float

    def covers(self, name: str) -> bool:
        """Whether a key is among those asked for."""
        return name.startswith(self.prefix) and name > self.after

    def text(self) -> str:
        """For people."""
        which = f"{self.prefix!r} behind {self.after!r}, {self.limit or 'all'}"
        return f"{self.reader} lists {self.table} by {self.level}: {which}"


class Bulk:
    """See the module."""

    def __init__(
        self, *, cluster: SimCluster, clients: Clients, answers: Answers, witness: Witness, rate_s: float
    ) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._clients = clients
        self._answers = answers
        self._witness = witness
        self._asking = Recurring(cluster.world, rate_s, self._ask_any)
        self._sizes = Random(f"bulk {cluster.world.seed}")
        self._names = Random(f"names {cluster.world.seed}")

    def start(self) -> None:
        """Begin to ask."""
        self._asking.start()

    def stop(self) -> None:
        """No more requests."""
        self._asking.stop()

    def _ask_any(self) -> None:
        random = self._world.random
        nodes = self._cluster.ready_nodes()
        if nodes:
            ask = random.choices((self._batch, self._read_many, self._list), (3, 1, 2))[0]
            ask(random.choice(nodes))

    def _send(self, node: SimNode, who: str, ask: Ask, on_reply: Respond) -> None:
        assert node.process is not None

        def send() -> None:
            headers = self._clients.bearer(node, who)
            whole = Ask(ask.method, ask.path, ask.query, headers, ask.body)
            self._clients.door(node).send(whole, on_reply, self._clients.broke)

        node.process.run(send)

    def _count(self, usual: int) -> int:
        """How many operations, or keys."""
        return (
            self._world.random.randint(1, usual) if self._sizes.random() >= LARGE else self._sizes.randint(usual, MANY)
        )

    # Batches

    def _batch(self, node: SimNode) -> None:
        random = self._world.random
        table, who, level = random.choice(TABLES), random.choice(OWNERS), random.choice(("quorum", "majority", "one"))
        keys = self._clients.keys.of(table)
        calls: list[Call | None] = []
        ops: list[bytes] = []
        for _ in range(self._count(6)):
            if random.random() < 0.1:
                calls.append(None)
                ops.append(random.choice(MALFORMED))
                continue
            kind = Kind.PUT if random.random() < 0.7 else Kind.DELETE
            call = self._clients.begin(node, "batch", kind, (table, random.choice(keys)), level, who)
            calls.append(call)
            name = msgspec.json.encode(call.key[1])
            value = b',"value":' + self._clients.value_of(call) if kind is Kind.PUT else b""
            ops.append(b'{"op":"%b","key":%b%b}' % (kind.value.encode(), name, value))

        def replied(reply: Reply) -> None:
            self._judge_batch(calls, ops, reply)

        self._send(
            node, who, Ask("POST", (table, "batch"), {"w": level}, {}, b'{"ops":[' + b",".join(ops) + b"]}"), replied
        )

    def _judge_batch(self, calls: list[Call | None], ops: list[bytes], reply: Reply) -> None:
        if reply.code != "ok":
            for call in calls:
                if call is not None:
                    self._clients.answered(call, reply.code, None, "")
            return
        results = msgspec.json.decode(reply.body)["results"]
        if len(results) != len(calls):
            self._witness.say(f"P6: a batch of {len(calls)} is answered with {len(results)} outcomes")
            return
        for call, op, result in zip(calls, ops, results, strict=True):
            if call is None:
                if result["status"] != 400:
                    self._witness.say(f"P6: an operation {op!r} of a batch is answered with {result}")
                continue
            if "code" in result:
                if result["status"] == 400:
                    self._witness.say(f"P6: an operation {op!r} of a batch is answered with {result}")
                self._clients.answered(call, result["code"], None, "")
                continue
            record = self._answers.named(call.key, f'"{result["etag"]}"')
            if record is None:
                continue
            true = 200 if record.value is None else 201, record.version
            if (result["status"], result["version"]) != true or (record.value is None) != (call.kind is Kind.DELETE):
                self._witness.say(f"P6: {op!r} of a batch became {name_of(record)}, and is answered with {result}")
            self._clients.answered(call, "ok", record, "")

    # Several keys

    def _read_many(self, node: SimNode) -> None:
        random = self._world.random
        table, who = random.choice(TABLES), random.choice((*OWNERS, ROOT))
        keys = random.choices(self._clients.keys.of(table), k=self._count(USUAL_READ))
        if len(keys) > USUAL_READ:
            keys += [f"none{number}" for number in range(MANY)]
            self._names.shuffle(keys)
        level = self._sizes.choice(("quorum", "majority"))
        asked = _Listing(table, who, level, "", "", 0, self._world.now_s)

        def replied(reply: Reply) -> None:
            if reply.code != "ok":
                return
            records = msgspec.json.decode(reply.body, type=dict[str, msgspec.Raw])
            for name, shown in records.items():
                if name not in keys:
                    self._witness.say(f"P6: {name} was not asked for, and is shown: {reply.body!r}")
                self._show((table, name), bytes(shown), who)
            if level == "majority":
                self._judge_missing(asked, [name for name in keys if name not in records])

        body = msgspec.json.encode({"keys": keys})
        self._send(node, who, Ask("POST", (table, "keys"), {"r": level}, {}, body), replied)

    def _show(self, key: Key, shown: bytes, who: str) -> None:
        record = self._answers.shown(key, shown)
        if record is None:
            return
        if record.value is None:
            self._witness.say(f"P3: {'/'.join(key)} {name_of(record)} is a tombstone, and shown")
        if who not in (ROOT, record.owner.partition("#")[0]):
            self._witness.say(f"P9: {who} is shown {'/'.join(key)} {name_of(record)} of {record.owner}")
        known = self._witness.ledger.of(key)[record.dot]

        def durable() -> None:
            if not known.held_by:
                self._witness.say(f"P1: {known.name} is shown among others, and nobody has it durably")

        self._world.later(0.0, durable)

    # Listings

    def _list(self, node: SimNode) -> None:
        random = self._world.random
        table = random.choice((*TABLES, STRICT_TABLE))
        who = random.choice((*OWNERS, ROOT, ROOT))
        level = random.choice(("majority", "majority", "quorum", "one"))
        if random.random() < 0.3:
            self.list_values(node, who, table, level)
            return
        prefix = random.choice(("", "", "k", "k1", "s"))
        if self._names.random() < 0.2:
            prefix = self._names.choice(self._clients.keys.of(table))
        after = random.choice(("", "", "k0", "k10", "k3"))
        limit = random.choice((0, 0, 1, 3))
        self.list_names(node, who, table, level, prefix=prefix, after=after, limit=limit)

    def list_values(self, node: SimNode, who: str, table: str, level: str) -> None:
        """A whole table, with its values."""
        listing = _Listing(table, who, level, "", "", 0, self._world.now_s)
        self._send(node, who, Ask("GET", (table, "store"), {"r": level}), lambda reply: self._stored(listing, reply))

    def list_names(
        self, node: SimNode, who: str, table: str, level: str, *, prefix: str = "", after: str = "", limit: int = 0
    ) -> None:
        """The keys of a table, or some of them."""
        listing = _Listing(table, who, level, prefix, after, limit, self._world.now_s)
        query = {"r": level, "prefix": prefix, "after": after, "limit": str(limit)}
        query = {name: text for name, text in query.items() if text not in ("", "0")}
        self._send(node, who, Ask("GET", (table, "keys"), query), lambda reply: self._listed(listing, reply))

    def _stored(self, listing: _Listing, reply: Reply) -> None:
        if reply.code != "ok":
            return
        records = msgspec.json.decode(reply.body, type=dict[str, msgspec.Raw])
        for name, shown in records.items():
            self._show((listing.table, name), bytes(shown), listing.reader)
        self._judge_names(listing, list(records))

    def _listed(self, listing: _Listing, reply: Reply) -> None:
        if reply.code == "ok":
            self._judge_names(listing, msgspec.json.decode(reply.body, type=list[str]))

    def _judge_names(self, listing: _Listing, names: list[str]) -> None:
        """In order, once each, what was there all the time, and nothing that never was."""
        if any(mine >= other for mine, other in pairwise(names)):
            self._witness.say(f"P6: {listing.text()}: out of order, or twice: {names}")
        if listing.limit and len(names) > listing.limit:
            self._witness.say(f"P6: {listing.text()}: too many: {names}")
        for name in names:
            if not listing.covers(name):
                self._witness.say(f"P6: {listing.text()}: {name} was not asked for")
            self._judge_shown(listing, name)
        if listing.level != "majority":
            return
        upto = names[-1] if listing.limit and len(names) == listing.limit else None
        keys = [key for key in self._clients.keys.of(listing.table) if listing.covers(key) and key not in names]
        self._judge_missing(listing, [key for key in keys if upto is None or key < upto])

    def _judge_missing(self, listing: _Listing, names: list[str]) -> None:
        """Keys that are not shown."""
        for name in names:
            there = self._there_all_the_time(listing, name)
            if there is not None:
                self._witness.say(f"P6: {listing.text()}: without {there.name}")

    def _judge_shown(self, listing: _Listing, name: str) -> None:
        known = [one for one in self._witness.ledger.of((listing.table, name)).values() if one.record.value is not None]
        if listing.reader != ROOT:
            known = [one for one in known if one.record.owner.partition("#")[0] == listing.reader]
        if not known:
            self._witness.say(f"P9: {listing.text()}: {name}, of which nothing was ever {listing.reader}'s")
            return
        if listing.level == "majority":
            deleted = self._gone_all_the_time(listing, name, known)
            if deleted is not None:
                self._witness.say(f"P6: {listing.text()}: {name}, though {deleted.name} was there before")

    def _there_all_the_time(self, listing: _Listing, name: str) -> Known | None:
        """A record because of which a listing by majority has to show a key: a majority had it before, and nobody has
        tried to delete the key since, nor does anything of it expire, nor belong to another user."""
        known = list(self._witness.ledger.of((listing.table, name)).values())
        last: Known | None = None
        for one in known:
            is_told = one.by_majority_s < listing.started_s and bool(one.holders) and one.record.value is not None
            if is_told and (last is None or is_preferred(one.record, last.record)):
                last = one
        if last is None or any(one.record.expires_ms for one in known):
            return None
        for one in known:
            if one is not last and is_preferred(one.record, last.record) and self._hides(listing, one.record):
                return None
        return None if self._hides(listing, last.record) else last

    @staticmethod
    def _hides(listing: _Listing, record: Record) -> bool:
        return record.value is None or listing.reader not in (ROOT, record.owner.partition("#")[0])

    def _gone_all_the_time(self, listing: _Listing, name: str, shown: list[Known]) -> Known | None:
        """A delete because of which a listing by majority must not show a key: a majority had it before, and it beats
        all that could be shown."""
        for one in self._witness.ledger.of((listing.table, name)).values():
            is_told = one.by_majority_s < listing.started_s and one.record.value is None and bool(one.holders)
            if is_told and all(is_preferred(one.record, other.record) for other in shown):
                return one
        return None
