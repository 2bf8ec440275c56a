"""Judges agreement by its definition: one ballot names one value, and a slot has one that a majority accepted."""

from __future__ import annotations

from collections import defaultdict

from dynatwist.coordinator.agreement import VOTE
from dynatwist.core import Core
from dynatwist.replication.paxos import Ballot

from .cluster import SimCluster, SimNode
from .witness import Witness

VOTES = "vote "


class Votes:
    """See the module. Votes for names; of the registry it is enough that there is one of each version."""

    def __init__(self, cluster: SimCluster, witness: Witness) -> None:
        self._cluster = cluster
        self._witness = witness
        self._value_of: dict[tuple[str, Ballot], bytes] = {}
        self._voters: defaultdict[tuple[str, Ballot], set[bytes]] = defaultdict(set)
        self._chosen: dict[str, bytes] = {}

    def watch(self, node: SimNode, core: Core) -> None:
        """Stand beside a node that is about to start."""
        store, set_meta = core.store, core.store.set_meta

        def kept(name: str, value: bytes) -> None:
            set_meta(name, value)
            if name.startswith(VOTES):
                vote = VOTE.decode(value)
                if vote.accepted[0]:
                    self._accepts(name[len(VOTES) :], vote.accepted, vote.value)
                    durable = lambda: self._has_accepted(core, name[len(VOTES) :], vote.accepted, vote.value)  # noqa: E731
                    store.wal.when_durable(store.wal.lsn, durable)

        store.set_meta = kept  # type: ignore[method-assign]

    def _accepts(self, slot: str, ballot: Ballot, value: bytes) -> None:
        if self._value_of.setdefault((slot, ballot), value) != value:
            self._witness.say(f"P9: one ballot of {slot!r} stands for two values: {ballot[0]} {ballot[1].hex()}")

    def _has_accepted(self, core: Core, slot: str, ballot: Ballot, value: bytes) -> None:
        voters = self._voters[slot, ballot]
        voters.add(core.identity.node_id)
        registry = self._cluster.registry()
        if registry is None:
            return
        groups = [ids for ids in (registry.previous_ids, registry.ids) if ids]
        if all(2 * len(voters & ids) > len(ids) for ids in groups):
            chosen = self._chosen.setdefault(slot, value)
            if chosen != value:
                self._witness.say(f"P9: {slot!r} has two values, {chosen!r} and {value!r}")
