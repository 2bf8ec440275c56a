"""Sees every record that any node writes, merges or drops, and who held it durably; judges each step by the rules.

Some losses are nobody's fault: a write that reached one replica is gone when that disk is. *Custody* tells them apart:
for each record the nodes that have merged it durably and were not damaged since. While that is somebody, the write has
to be there.

The witness stands beside each store, and tells what it sees to those who judge it: `Births` whether a record may be
written, `Progress` whether a replica goes on, `Burials` whether a tombstone may be dropped, and `Wholeness` what a
start finds and whether a replica counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from dynatwist.core import Core
from dynatwist.model.record import Key, Record
from dynatwist.model.records import unpack
from dynatwist.model.ring import is_system_table
from dynatwist.requests.deciding import SYSTEM_RESERVE_SHARE
from dynatwist.storage.effects import Covered, Effect, Gone, Lost, Won
from dynatwist.storage.entries import Accepted, AnyEntry, Dropped, Reset, SetAside
from dynatwist.storage.entries import Wholeness as BecomesWhole
from dynatwist.storage.requests import MAX_BYTES
from dynatwist.storage.store import Store

from .births import Births
from .burials import Burials
from .cluster import SimCluster, SimNode
from .history import Call, name_of
from .ledger import Ledger
from .order import is_preferred
from .progress import Progress
from .wholeness import Wholeness


class Witness:
    """See the module.

    :param store_bytes: the memory limit of a node; 0 for none.
    :ivar violations: lines that name a promise and how it was broken.
    :ivar ledger: all records.
    :ivar burials: those that were collected.
    """

    def __init__(self, cluster: SimCluster, grace_s: float, store_bytes: int = 0) -> None:
        self._world = world = cluster.world
        self._store_bytes = store_bytes or sys.maxsize
        self.violations: list[str] = []
        self.ledger = ledger = Ledger(world, self.say)
        self._births = births = Births(cluster, ledger.by_key, self.say)
        self.burials = burials = Burials(cluster=cluster, ledger=ledger, births=births, grace_s=grace_s, say=self.say)
        self._progress = progress = Progress(ledger, burials, self.say)
        self._wholeness = Wholeness(world=world, ledger=ledger, burials=burials, progress=progress, say=self.say)
        self._on_whole: Callable[[], None] = lambda: None

    def is_newest(self, key: Key, record: Record) -> bool:
        """Whether nothing was ever written over a record."""
        return not any(is_preferred(known.record, record) for known in self.ledger.of(key).values())

    def say(self, text: str) -> None:
        """A violation."""
        if text not in self.violations:
            self._world.say(text)
            self.violations.append(text)

    def when_whole(self, call: Callable[[], None]) -> None:
        """Call whenever a replica has become whole."""
        self._on_whole = call

    def sent(self, call: Call) -> None:
        """A client asks for something."""
        self._births.sent(call)

    def damaged(self, node: SimNode, unseen: bool) -> None:
        """What a node held may be gone.

        :param unseen: whether the node has to find out by itself, at its next start.
        """
        self._wholeness.damaged(node.number)
        self._progress.damaged(node.number)
        self.ledger.damaged(node.number, unseen)

    def watch(self, node: SimNode, core: Core) -> None:
        """Stand beside the store of a node that is about to start, and see each entry and what it changed."""
        met: set[bytes] = set()  # ids of forwarded requests of which this process has met the record

        def observe(entry: AnyEntry, effect: Effect) -> None:
            if isinstance(effect, Won | Lost | Covered):
                self._arrived(node, core, effect, met)
                return
            match entry:
                case Accepted(_, key, _, _, packed):
                    self.ledger.propose(key, unpack(packed))
                case Dropped(partition) if isinstance(effect, Gone):
                    for key, record in effect.records.items():
                        self.burials.drops(node, partition, key, record)
                case Reset(partition, whole):
                    self._wholeness.was_reset(node, core, partition, whole)
                case SetAside(partition):
                    self._wholeness.was_set_aside(node, core, partition)
                case BecomesWhole(partition, True):
                    self._wholeness.became_whole(node, core, partition)
                    self._on_whole()

        core.store.observe(observe)
        self._wholeness.started(node, core)

    def _arrived(self, node: SimNode, core: Core, effect: Won | Lost | Covered, met: set[bytes]) -> None:
        """A record came to a store: from a client, if nobody has seen it before, or else from a peer."""
        record, store = effect.record, core.store
        is_born = record.dot.actor == store.actor and not self.ledger.has(effect.partition, record.dot)
        if is_born and record.op in met and store.requests.max_bytes == MAX_BYTES:  # else it may forget early
            self.say(f"P2: {node.host} writes {'/'.join(effect.key)} for a request that it has met the record of")
        if record.op:
            met.add(record.op)
        known = self.ledger.enter(effect.partition, effect.key, record)
        self.burials.arrives(node, known)
        self._progress.merged(known, node, core)
        if is_born:
            self._births.judge(effect.key, record)
        if is_born and isinstance(effect, Won):
            self._written(node, store, effect)

    def _written(self, node: SimNode, store: Store, effect: Won) -> None:
        key, record = effect.key, effect.record
        buried = self.burials.under(store, effect)
        if buried is not None and not is_preferred(record, buried):
            self.say(f"P2: {'/'.join(key)} {name_of(record)} does not beat {name_of(buried)}, collected before it")
        # What is agreed on was looked at when it was proposed, and others may have written since.
        is_agreed = store.registers.kept(key) is not None
        if not is_agreed and _takes_more(effect) and store.size_bytes > self._bound_bytes(key):
            self.say(f"P10: {node.host} writes {'/'.join(key)} beyond its memory limit: {store.size_bytes} bytes")

    def _bound_bytes(self, key: Key) -> int:
        """The memory limit for a write of a key: users have some more."""
        return self._store_bytes + (self._store_bytes // SYSTEM_RESERVE_SHARE if is_system_table(key[0]) else 0)


def _takes_more(effect: Won) -> bool:
    """Whether a value takes more room than what it replaced."""
    record, before = effect.record, effect.before
    return record.value is not None and (before is None or len(record.value) > len(before.value or b""))
