"""Judges who counts as an owner, from what `majority` means, not from how nodes become whole.

A write that was acknowledged as a majority's has to be found by every majority that answers: so those owners that count
and know neither it nor anything that beats it are no majority of the owners, at any moment; while members change, not
both the old ones and of the new. Looked at whenever a node goes by another registry or becomes whole, and now and then.
"""

from __future__ import annotations

from dynatwist.core import Core
from dynatwist.model.registry import Registry

from .cluster import SimCluster
from .known import Known
from .order import is_preferred
from .witness import Witness

LOOK_EVERY_S = 0.5


class Ownership:
    """See the module; with it, there is one cluster and one registry of each version."""

    def __init__(self, cluster: SimCluster, witness: Witness) -> None:
        self._cluster = cluster
        self._witness = witness
        self._versions: dict[int, Registry] = {}
        self._is_due = False
        witness.when_whole(self._soon)
        self._look_again()

    def watch(self, core: Core) -> None:
        """Stand beside a node that is about to start."""
        core.cluster.on_registry.append(lambda before, after: self._adopted(core, after))

    def _adopted(self, core: Core, registry: Registry) -> None:
        known = self._versions.setdefault(registry.version, registry)
        if known.cluster_id != registry.cluster_id:
            self._witness.say(f"P4: {core.cluster.me.host} founds a second cluster, or is in one")
        elif known != registry:
            self._witness.say(f"P4: two registries of version {registry.version}: {known} and {registry}")
        else:
            self._judge_old_members(registry)
        self._soon()

    def _judge_old_members(self, registry: Registry) -> None:
        """P6: the old members of a change are those before it; whoever joins by an amended change is not whole."""
        before = self._versions.get(registry.version - 1)
        if before is None or not registry.changing:
            return
        zoned = before.previously_zoned if before.changing else before.zoned
        if registry.previous_ids != (before.previous_ids or before.ids) or registry.previously_zoned != zoned:
            self._witness.say(f"P6: version {registry.version} takes members for old ones that nobody has found whole")

    def _soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._cluster.world.later(0.0, self._look)

    def _look_again(self) -> None:
        self._cluster.world.later(LOOK_EVERY_S, self._look_again)
        self._soon()

    def _look(self) -> None:
        self._is_due = False
        registry = self._cluster.registry()
        if registry is None:
            return
        cores = {core.identity.node_id: core for core in self._cluster.cores() if core.cluster.registry == registry}
        for known in self._witness.ledger.by_majority:
            if known.holders:
                self._judge(known, registry, cores)

    def _judge(self, known: Known, registry: Registry, cores: dict[bytes, Core]) -> None:
        groups = [set(owners) for owners in _groups(registry, known.partition)]
        ignorant = {
            node
            for node in set[bytes]().union(*groups)
            if node in cores and _counts(cores[node], known.partition, groups) and _is_ignorant(cores[node], known)
        }
        if all(2 * len(ignorant & group) > len(group) for group in groups):
            hosts = sorted(cores[node].cluster.me.host for node in ignorant)
            self._witness.say(
                f"P6: {hosts} count as owners by version {registry.version}, and could answer a majority read "
                f"without {known.name}, which a majority had"
            )


def _groups(registry: Registry, partition: int) -> list[tuple[bytes, ...]]:
    return [owners for owners in (registry.old_owners(partition), registry.owners(partition)) if owners]


def _counts(core: Core, partition: int, groups: list[set[bytes]]) -> bool:
    """Whether it is whole, and has met so many since its start that it was told if its disk is an old one."""
    met = core.cluster.standing.met | {core.identity.node_id}
    return core.store.replicas[partition].whole and any(2 * len(met & group) > len(group) for group in groups)


def _is_ignorant(core: Core, known: Known) -> bool:
    if core.store.replicas[known.partition].clock.covers(known.record.dot):
        return False
    held = core.store.held(known.key)
    return held is None or not is_preferred(held, known.record)
