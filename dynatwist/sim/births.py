"""Judges each new record when a node writes it: is it what the rules say, and did somebody ask for it?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.registry import majority
from dynatwist.model.ring import is_system_table, partition_of

from .cluster import SimCluster
from .history import AGREED_TABLE, CROWD_TABLE, Call, name_of
from .known import Known
from .order import is_created_besides, is_created_over, is_preferred, knows_what_was_before

LATEST_S = 6.0
"""After this a request is carried out no more, wherever it lies."""


class Births:
    """See the module.

    :param of: all records of a key.
    :param say: hears of violations.
    """

    def __init__(self, cluster: SimCluster, of: Mapping[Key, dict[Dot, Known]], say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._of = of
        self._say = say
        self._asked: defaultdict[Key, list[Call]] = defaultdict(list)
        self._owner_of: dict[tuple[Key, object], str] = {}

    def sent(self, call: Call) -> None:
        """A client asks for something."""
        if call.is_write:
            self._asked[call.key].append(call)

    def judge(self, key: Key, record: Record) -> None:
        """A node has just written a record, which is among those of its key by now."""
        known = self._of[key]
        name = f"{'/'.join(key)} {record.value!r} {name_of(record)}"
        if (
            not is_system_table(key[0])
            and key[0] != AGREED_TABLE  # what nobody was told of may be completed at any time
            and not _is_of_the_crowd(key, record)
            and not any(self._explains(call, record) for call in self._asked[key])
        ):
            self._say(f"P2: {name} was written, though nobody asks for it now")
        for dot in record.vv:
            seen = known.get(dot)
            if seen is not None and not is_preferred(record, seen.record):
                self._say(f"P2: {name} does not beat {name_of(seen.record)}, which it had seen")
        if record.op:
            self._judge_repetition(key, name, record)
        lineage = record.lineage
        is_new = (key, lineage) not in self._owner_of
        owner = self._owner_of.setdefault((key, lineage), record.owner)
        if owner != record.owner:
            self._say(f"P9: {name} went from {owner} to {record.owner} without a delete")
        if is_new and len(lineage.stamps) > 1 and not self._is_repeated(key, record):
            before = [one.record for one in known.values() if is_created_over(lineage, one.record.lineage)]
            # What was agreed on may be superseded before anybody has merged it: what was created over it, nobody knows.
            is_agreed = is_system_table(key[0]) or key[0] == AGREED_TABLE
            if not is_agreed and not any(self.is_dead(one) for one in before):
                self._say(f"P9: {name} was created again, though nobody had deleted it")

    def _judge_repetition(self, key: Key, name: str, record: Record) -> None:
        """One request that was carried out twice creates its key once, and what it wrote last is what wins."""
        for known in list(self._of[key].values()):
            one = known.record
            if one.op != record.op or one.dot == record.dot or one.lineage.generation != record.lineage.generation:
                continue
            is_created_twice = one.lineage != record.lineage and one.lineage.stamps[:-1] == record.lineage.stamps[:-1]
            if is_created_twice and self._creates(key, one) and self._creates(key, record):
                self._say(f"P2: {name} creates what {name_of(one)} of the same request had created")
            is_bound_to_win = one.lineage == record.lineage or (
                self._asks_a_majority(key, record) and self._knows_all_of(key, record, one)
            )
            if is_bound_to_win and not is_preferred(record, one):
                self._say(f"P2: {name} gives way to {name_of(one)}, an earlier attempt of the same request")

    def _knows_all_of(self, key: Key, record: Record, one: Record) -> bool:
        """Whether a record knows all upon which an earlier attempt of its request has created the key."""
        return self._creates(key, one) and knows_what_was_before(record.lineage, one.lineage)

    def _asks_a_majority(self, key: Key, record: Record) -> bool:
        """Whether the writer of a record knows so many owners to be whole that even those are a majority of all.

        A read asks no others: what an owner holds that is filling says nothing.
        """
        partition = partition_of(*key)
        for core in self._cluster.cores():
            if core.store.actor == record.dot.actor:
                me, peers = core.cluster.me.node_id, core.cluster.peers
                groups = core.cluster.ownership.groups(partition)
                asked = sum(owner == me or peers.is_whole_at(owner, partition) for owner in groups[-1])
                return len(groups) == 1 and majority(asked) >= majority(len(groups[-1]))
        return False

    def _is_repeated(self, key: Key, record: Record) -> bool:
        """Whether a record has the history of the key that its writer held, and a moment of its request besides."""
        seen = [self._of[key][dot].record for dot in record.vv[:1] if dot in self._of[key]]
        is_repeated = any(is_created_besides(record.lineage, one.lineage) and one.owner == record.owner for one in seen)
        return bool(record.op) and is_repeated and self._asks_a_majority(key, record)

    def _creates(self, key: Key, record: Record) -> bool:
        """Whether a record began its lineage: what its writer had seen of another request was of another one."""
        seen = [self._of[key][dot].record for dot in record.vv if dot in self._of[key]]
        return not any(one.lineage == record.lineage and one.op != record.op for one in seen)

    def is_dead(self, record: Record) -> bool:
        """Whether a record was deleted, or may be taken for expired by now."""
        return record.value is None or self._cluster.time.may_be_over(record.expires_ms)

    def _explains(self, call: Call, record: Record) -> bool:
        """Whether a record can be what a call asked for: it was not answered yet, or not long ago and uncertainly."""
        now_s = self._cluster.world.now_s
        if (call.code or "uncertain") != "uncertain" or now_s > call.started_s + LATEST_S:
            return False
        if call.kind.value == "delete":
            return record.value is None
        return record.value is not None and f":{call.number}}}".encode() in record.value.replace(b",", b"}")


def _is_of_the_crowd(key: Key, record: Record) -> bool:
    return key[0] == CROWD_TABLE and record.value == b'{"n":0}'
