"""Judges what clients were told against what is held when everything has come to rest, and what they were told at once.

What nodes do by themselves is judged by the `Witness`, step by step.
"""

from __future__ import annotations

import re

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record, had_seen
from dynatwist.model.registry import Registry, majority
from dynatwist.replication.request import Kind

from .answers import Answers
from .cluster import SimCluster
from .conditions import broken
from .entitled import Entitled
from .history import AGREED_TABLE, NO_EFFECT, STRICT_TABLE, Call, History, name_of
from .order import is_preferred
from .register import ABSENT, Op, check
from .sizes import stored_bytes
from .times import SLACK_MS
from .witness import Witness

UNANSWERED_S = 6.0
MARGIN_BYTES = 30_000
"""More than the largest value takes that simulated clients write, on top of a patched one of the same size."""


class Oracle:
    """See the module.

    :ivar races: concurrent first creations of a key by different users, of which the merge order keeps one.
    :ivar excused: acknowledged writes whose every copy was damaged; and those deleted and collected before a struck-out
        node came back with a change of their key that nobody had met (docs/architecture, "Anti-entropy").
    """

    def __init__(
        self, cluster: SimCluster, history: History, witness: Witness, answers: Answers, entitled: Entitled
    ) -> None:
        self._cluster = cluster
        self._history = history
        self._witness = witness
        self._say = witness.say
        self._judged = 0
        self._registries: dict[Call, Registry | None] = {}
        self._over: dict[tuple[Key, Dot], Call] = {}
        self.races = 0
        self.excused = 0
        self._answers = answers
        self._entitled = entitled

    # At once

    def sent(self, call: Call) -> None:
        """A client asks for something."""
        self._witness.sent(call)
        self._entitled.sent(call, next(node for node in self._cluster.nodes if node.process is call.process))
        if call.level == "majority":
            self._registries[call] = self._common_registry()

    def _common_registry(self) -> Registry | None:
        """The one that all nodes go by, if they do."""
        known = [core.cluster.registry for core in self._cluster.cores()]
        return known[0] if known and all(registry == known[0] for registry in known) else None

    def answered(self, call: Call) -> None:
        """What a client is told has to be durable, and on as many replicas as it says; looked at when the log is
        through with telling everybody about its group."""
        self._entitled.answered(call)
        self._cluster.world.later(0.0, lambda: self._judge_answer(call))

    def _judge_answer(self, call: Call) -> None:
        registry = self._registries.pop(call, None)
        record = call.record
        if call.key[0] == AGREED_TABLE:
            return  # judged as a register, by `dynatwist.sim.agreed`
        if call.code == "full":
            self._judge_full(call)
        if call.code == "forbidden":
            self._judge_forbidden(call)
        if record is None:
            if call.kind is Kind.GET and call.code == "ok":
                self._say(f"P6: {call.text()}: success without a record")
            if call.kind is Kind.GET and call.code == "not_found" and call.level in ("majority", "all"):
                self._judge_absent(call)
            return
        known = self._witness.ledger.of(call.key).get(record.dot)
        self._judge_shown(call, record)
        if call.kind is Kind.GET:
            self._judge_found_again(call, record)
        if known is None or known.record != record:
            self._say(f"P6: {call.text()}: nobody wrote that")
        elif not known.held_by:
            self._say(f"P1: {call.text()}: nobody has it durably")
        else:
            least = {"majority": majority(call.owners), "all": call.owners}.get(call.level, 1)
            if len(known.held_by) < max(call.reached, least):
                self._say(f"P1: {call.text()}: only {len(known.held_by)} ever held it")
        if call.is_write and known is not None and known.record == record and known.held_by:
            known.acknowledged = True
            self._judge_right(call, record)
            self._judge_condition(call, record)
            if call.level in ("majority", "all"):
                self._witness.ledger.majority_has(known, call.ended_s)
            if registry is not None and registry == self._common_registry():
                self._judge_groups(call, registry, known.partition, known.held_by)

    def _judge_shown(self, call: Call, record: Record) -> None:
        if call.kind is Kind.PATCH and call.is_hidden:
            if not self._entitled.refuses(call, ("read",), [record.owner]):
                self._say(f"P9: {call.text()}: the value is kept from somebody who may read it")
        elif call.kind in (Kind.GET, Kind.PATCH) and not self._entitled.allows(call, "read", record):
            self._say(f"P9: {call.text()}: it is {record.owner}'s {name_of(record)}")

    def _judge_right(self, call: Call, record: Record) -> None:
        """Whoever wrote might do so: create what was not there, else update or delete it."""
        known = self._witness.ledger.of(call.key)
        seen = [known[dot].record for dot in record.vv if dot in known and dot != record.dot]
        is_new = not any(one.lineage == record.lineage and not (record.op and one.op == record.op) for one in seen)
        rights = ["delete"] if call.kind is Kind.DELETE else ["update"]
        if is_new and call.kind is Kind.PUT:
            rights = ["create"] if not record.op else ["create", "update"]
        is_his = "create" not in rights or record.owner == call.user
        if not (is_his and any(self._entitled.allows(call, right, record) for right in rights)):
            self._say(f"P9: {call.user} wrote {call.key}, which is {record.owner}'s")

    def _judge_forbidden(self, call: Call) -> None:
        """Nobody is refused what all rules let everybody do with whatever the record may be."""
        owners = {one.record.owner for one in self._witness.ledger.of(call.key).values()}
        rights = {Kind.GET: ("read",), Kind.PUT: ("create", "update"), Kind.PATCH: ("update",)}.get(
            call.kind, ("delete",)
        )
        if not self._entitled.refuses(call, rights, sorted(owners)):
            self._say(f"P9: {call.text()}, though all rules let {call.user} do that")

    def _judge_full(self, call: Call) -> None:
        """P10: what adds is refused when memory or the disk is spent, and only then; what frees memory never is."""
        if any(node.disk.cramped_until_s > call.started_s for node in self._cluster.nodes):
            return
        cores = self._cluster.cores()
        if call.kind is Kind.DELETE or not any(
            stored_bytes(core) + MARGIN_BYTES > core.config.limits.store_bytes for core in cores
        ):
            held = [stored_bytes(core) for core in cores]
            self._say(f"P10: {call.text()}, though the nodes hold {held} bytes")

    def _judge_absent(self, call: Call) -> None:
        """Who is told by a majority that there is nothing is told the truth: what a majority had before is deleted, or
        over by the clocks of a majority. And that stays so: see `_judge_found_again`."""
        records = self._witness.ledger.of(call.key).values()
        had = [one for one in records if one.by_majority_s < call.started_s and one.holders]
        greatest = next((one for one in had if not any(is_preferred(two.record, one.record) for two in had)), None)
        if greatest is None or any(is_preferred(one.record, greatest.record) for one in records):
            return  # something that was written since may have been deleted, or be of another generation
        if not self._is_dead(greatest.record):
            end_ms = greatest.record.expires_ms
            self._say(f"P1: {call.text()}, but a majority had {greatest.name}, which ends at {end_ms}")
        elif greatest.record.value is not None:
            self._over.setdefault((call.key, greatest.record.dot), call)
            if self._cluster.time.durable_ms < greatest.record.expires_ms:
                self._say(f"P6: {call.text()}, and after a crash nobody would know that {greatest.name} is over")

    def _judge_found_again(self, call: Call, record: Record) -> None:
        before = self._over.get((call.key, record.dot))
        if before is not None and before.ended_s < call.started_s and call.level in ("majority", "all"):
            self._say(f"P6: {call.text()}, which had ended at {record.expires_ms} for {before.text()}")

    def _judge_groups(self, call: Call, registry: Registry, partition: int, held_by: set[int]) -> None:
        """While members change, a majority is one of the old owners and one of the new."""
        ids = {node.node_id for node in self._cluster.nodes if node.number in held_by}
        for owners in (registry.old_owners(partition), registry.owners(partition)):
            if owners and len(ids.intersection(owners)) < majority(len(owners)):
                self._say(f"P6: {call.text()}: held by no majority of {[owner.hex()[:4] for owner in owners]}")

    def _judge_condition(self, call: Call, record: Record) -> None:
        """What an ETag demanded was so, where the write was carried out; and a patch changed what was held there."""
        wanted = None
        if call.if_match and call.if_match != "*":
            wanted = self._answers.named(call.key, call.if_match)
        known = {dot: one.record for dot, one in self._witness.ledger.of(call.key).items()}
        text = broken(call, record, known, wanted, int(self._cluster.time.passed_ms) + SLACK_MS)
        if text:
            self._say(f"P2: {call.text()}: {text}")
        if call.level in ("majority", "all") and (call.kind is Kind.PATCH or wanted is not None):
            self._judge_base(call, record)

    def _judge_base(self, call: Call, record: Record) -> None:
        """What was patched, or named by an ETag, is not older than what a majority had before anybody asked."""
        known = self._witness.ledger.of(call.key)
        seen = [known[dot].record for dot in record.vv if dot in known]
        bases = [one for one in seen if one.version == record.version - 1]
        for newer in known.values():
            was_there = newer.by_majority_s < call.started_s and newer.holders and newer.record not in seen
            if was_there and bases and all(is_preferred(newer.record, base) for base in bases):
                self._say(f"P2: {call.text()}: carried out on {name_of(bases[0])}, while a majority had {newer.name}")

    # At rest

    def judge(self, announced: dict[tuple[Key, Dot], Record]) -> None:
        """Compare what is held now with everything that clients were told.

        :param announced: what listeners heard, by key and dot.
        """
        final = self.final()
        calls = self._history.calls
        self.excused = 0
        made = {call.name for call in calls if call.name and call.code not in NO_EFFECT}
        for call in calls:
            if call.is_acknowledged and call.record is not None:
                self._judge_write(call.key, call.record, final.get(call.key))
            elif call.is_write and call.code in NO_EFFECT and call.name not in made:
                self._judge_refused(call)
            if call.kind is Kind.GET and call.record is not None:
                self._judge_seen(call.key, call.record, "read")
        for (key, _), record in announced.items():
            self._judge_seen(key, record, "announced")
        for call in calls[self._judged :]:
            waited_s = self._cluster.world.now_s - call.started_s
            if not call.code and call.process.alive and waited_s > UNANSWERED_S:
                self._say(f"P10: {call.text()} was never answered")
        self._judged = len(calls)
        self._judge_strict()
        for name, times in self._history.registered.items():
            if times > 1:
                self._say(f"P9: user {name} was new {times} times")
        self._count_races()

    def final(self) -> dict[Key, Record]:
        """What the owners hold, once they agree: every key."""
        registry = self._cluster.registry()
        found: dict[Key, Record] = {}
        if registry is None:
            return found
        for core in self._cluster.cores():
            for replica in core.store.replicas:
                if core.identity.node_id in registry.owners(replica.number):
                    found.update(replica.records)
        return found

    def born_s(self) -> dict[tuple[Key, Dot], float]:
        """When each record was written, by key and dot."""
        return {(known.key, known.record.dot): known.born_s for known in self._witness.ledger.all()}

    def _judge_write(self, key: Key, record: Record, final: Record | None) -> None:
        known = self._witness.ledger.of(key)
        if record.dot not in known:
            return  # that nobody wrote it was said when it was answered
        name = known[record.dot].name
        promise = "P3" if record.value is None else "P1"
        if final is not None and (final.dot == record.dot or is_preferred(final, record)):
            return
        if not known[record.dot].holders or (
            final is not None and self._witness.burials.is_outlived(known[record.dot])
        ):
            self.excused += 1
        elif final is not None:
            self._say(f"{promise}: {name} gave way to {final.value!r} {name_of(final)}, which it beats")
        elif not any(
            self._is_dead(one.record) and (one.record == record or is_preferred(one.record, record))
            for one in known.values()
        ):
            self._say(f"P1: acknowledged {name} is gone")

    def _is_dead(self, record: Record) -> bool:
        return record.value is None or self._cluster.time.may_be_over(record.expires_ms)

    def _judge_seen(self, key: Key, record: Record, how: str) -> None:
        """What was shown to anybody has not been forgotten, unless it lies in damage."""
        known = self._witness.ledger.of(key).get(record.dot)
        if (known is None or not known.held_by) and not self._was_written_over_at_once(key, record):
            self._say(f"P1: {'/'.join(key)} {name_of(record)} was {how}, but nobody ever held it durably")
        if known is None or not known.holders or self._witness.burials.is_superseded(known):
            return
        for core in self._cluster.cores():
            owners = core.cluster.ownership.owners(known.partition)
            if core.identity.node_id in owners and not core.store.replicas[known.partition].clock.covers(record.dot):
                self._say(f"P1: {known.name} was {how}, but {core.cluster.me.host} forgot it")

    def _was_written_over_at_once(self, key: Key, record: Record) -> bool:
        """Whether what a majority had accepted of a register was written over before it was anybody's record."""
        if key[0] not in (AGREED_TABLE, STRICT_TABLE):
            return False
        others = self._witness.ledger.of(key).values()
        return any(one.held_by and had_seen(one.record, record.dot) for one in others)

    def _judge_refused(self, call: Call) -> None:
        if any(_number(known.record) == call.number for known in self._witness.ledger.of(call.key).values()):
            self._say(f"P6: {call.text()}, but it was written")

    def _judge_strict(self) -> None:
        """P6, by the checker that knows nothing of the store."""
        by_key: dict[Key, list[Op]] = {}
        refused: set[int] = set()
        for call in self._history.calls:
            if call.key[0] != STRICT_TABLE:
                continue
            ops = by_key.setdefault(call.key, [])
            number = -call.number if call.kind is Kind.DELETE else call.number
            if not call.is_write:
                if call.code in ("ok", "not_found"):
                    value = _number(call.record) if call.record is not None else ABSENT
                    ops.append(Op(True, value, call.started_s, call.ended_s))
            elif call.code in NO_EFFECT:
                refused.add(number)
            else:
                is_known = call.code == "ok" and call.level == "majority" and self._is_kept(call)
                end_s = call.ended_s if is_known else float("inf")
                ops.append(Op(False, number, call.started_s, end_s))
        for key, ops in by_key.items():
            for fault in check(ops, frozenset(refused)):
                calls = [c.text() for c in self._history.calls if c.key == key and c.number in map(abs, fault.values)]
                self._say(f"P6: {'/'.join(key)}: {fault.text}: {'; '.join(calls) or fault.values}")

    def _is_kept(self, call: Call) -> bool:
        known = self._witness.ledger.of(call.key).get(call.record.dot) if call.record is not None else None
        return known is not None and bool(known.holders)

    def _count_races(self) -> None:
        self.races = 0
        for known in self._witness.ledger.by_key.values():
            first: dict[int, set[str]] = {}
            for one in known.values():
                if len(one.record.lineage.stamps) == 1:
                    first.setdefault(one.record.lineage.generation, set()).add(one.record.owner)
            self.races += sum(len(owners) > 1 for owners in first.values())


def _number(record: Record) -> int:
    found = _NUMBER.match(record.value or b"")
    return int(found[1]) if found is not None else -1


_NUMBER = re.compile(rb'\{"n":(\d+)[,}]')
