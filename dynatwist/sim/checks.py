"""What has to hold of a cluster that has come to rest, whatever went before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import xor

from dynatwist.core import Core
from dynatwist.errors import StartError
from dynatwist.model.digest import BUCKETS, bucket_of, fingerprint
from dynatwist.model.record import Key, join_vv
from dynatwist.model.replica import Replica
from dynatwist.model.ring import ALL_PARTITIONS, is_system_table
from dynatwist.replication.hints import MAX_HINTS_PER_NODE, HintQueues
from dynatwist.storage.durability import Durability
from dynatwist.storage.recovery import recover

from .cluster import SimCluster, SimNode
from .mount import Mount
from .world import Process

MAX_CALLS = 64
MAX_GROUP_BYTES = 100_000
"""What comes while a save runs, at most."""


def owner_cores(cluster: SimCluster, partition: int) -> list[Core]:
    """The cores of the owners of a partition."""
    registry = cluster.registry()
    owners = registry.owners(partition) if registry is not None else ()
    return [core for core in cluster.cores() if core.identity.node_id in owners]


def is_converged(cluster: SimCluster) -> bool:
    """Whether all owners say that they hold the same."""
    return all(
        len({core.store.replicas[partition].summary() for core in owner_cores(cluster, partition)}) == 1
        for partition in range(ALL_PARTITIONS)
    )


def differences(cluster: SimCluster) -> Iterator[str]:
    """P4: all owners identical: records, clock, G. Looks at everything, and believes no digest."""
    for partition in range(ALL_PARTITIONS):
        states = [
            (replica.records, replica.clock.to_wire(), replica.generation)
            for replica in (core.store.replicas[partition] for core in owner_cores(cluster, partition))
        ]
        if any(state != states[0] for state in states[1:]):
            yield f"P4: the owners of partition {partition} differ: {states}"


def remains(cluster: SimCluster) -> bool:
    """P10: whether something dead is still kept: tombstones, hints, partitions of others, conflicts under way."""
    return any(
        core.repair.surplus()
        or len(core.store.hints)
        or any(
            record.is_dead(core.store.lapse_ms)
            for replica in core.store.replicas
            for record in replica.records.values()
        )
        for core in cluster.cores()
    )


def is_quiet(node: SimNode) -> bool:
    """Whether everything that a node logged is durable."""
    core = node.core
    return core is not None and core.store.wal.durable_lsn == core.store.wal.lsn


def faults_of(node: SimNode, durability: Durability) -> Iterator[str]:
    """What is wrong inside one node."""
    core = node.core
    if core is None:
        return
    for replica in core.store.replicas:
        yield from _false_digests(node, replica)
    yield from _false_index(node, core)
    if core.store.alarms:
        yield f"P4: {node.host} counts {core.store.alarms} alarms"
    if is_quiet(node):
        yield from _false_disk(node, core, power_lost=False)
        if durability is Durability.FSYNC:
            yield from _false_disk(node, core, power_lost=True)
    yield from _unbounded(node, core)
    yield from _untidy(node, core)


def _false_digests(node: SimNode, replica: Replica) -> Iterator[str]:
    """The incremental digests against recomputed ones."""
    if not replica.records and not replica.digests.root:
        return
    buckets = [0] * BUCKETS
    for key, record in replica.records.items():
        buckets[bucket_of(key)] ^= fingerprint(key, record.dot)
    wire = b"".join(value.to_bytes(8, "little") for value in buckets)
    if replica.digests.root != reduce(xor, buckets) or (replica.digests.to_wire() or bytes(len(wire))) != wire:
        yield f"P4: {node.host}: the digests of partition {replica.number} are not those of its records"


def _false_index(node: SimNode, core: Core) -> Iterator[str]:
    """What is dead, what ends and how many live, against the records themselves."""
    live: dict[str, int] = {}
    for replica in core.store.replicas:
        for key, record in replica.records.items():
            is_buried = key in replica.tombstones
            is_right = is_buried or record.value is not None
            if is_buried:
                is_right = record.is_dead(core.store.lapse_ms)
            elif not is_system_table(key[0]):
                live[key[0]] = live.get(key[0], 0) + 1
            if not is_right or replica.ends.get(key, 0) != (0 if is_buried else record.expires_ms):
                yield f"P10: {node.host}: {'/'.join(key)} is wrongly among the dead, the ending or the others"
        if not {*replica.tombstones, *replica.ends} <= replica.records.keys():
            yield f"P10: {node.host}: partition {replica.number} has tombstones or ends of what it does not hold"
    counted = core.store.live.page()
    if live != counted or core.store.live.total != sum(live.values()):
        yield f"P10: {node.host} counts {counted} live records, and holds {live}"


def _false_disk(node: SimNode, core: Core, power_lost: bool) -> Iterator[str]:
    """What a start would find on the disk now, against what is held."""
    assert node.process is not None
    mount = Mount(node.disk.twin(power_lost), Process(node.process.world, "look"))
    how = "a power cut" if power_lost else "a kill"
    folder = core.config.actual_data_dir
    try:
        found = recover(mount, folder, core.identity.data_keys, True)
    except (StartError, OSError) as error:
        yield f"P1: {node.host} could not start after {how} now: {error}"
        return
    if found.damaged:  # what it met at its own start may lie there for two saves more, but is mended in the log
        yield f"P1: {node.host} would start damaged after {how} now: {sorted(found.findings)}"
        return
    for mine, theirs in zip(core.store.replicas, found.state.replicas, strict=True):
        if not finds(mine, theirs) or _forgets_seen(mine, theirs):
            live, restored = state_of(mine), state_of(theirs)
            yield f"P1: {node.host}: partition {mine.number} would be other after {how} now: {live} -> {restored}"
        here, there = core.store.state.registers[mine.number], found.state.registers[mine.number]
        if (here.cells, here.floor) != (there.cells, there.floor):
            yield f"P1: {node.host}: registers of partition {mine.number} would be other after {how} now"
    if _hinted(core.store.hints) != _hinted(found.state.hints):
        yield f"P1: {node.host}: hints would be other after {how} now"
    if not core.store.state.conflicts.is_part_of(found.state.conflicts):
        yield f"P1: {node.host}: conflicts would be fewer after {how} now"
    if core.store.meta != found.state.meta:
        yield f"P1: {node.host}: named values would be other after {how} now"
    if found.state.lapse_ms < core.store.wal.durable_lapse_ms:
        yield f"P3: {node.host} would forget after {how} now what was over"


def _hinted(hints: HintQueues) -> dict[bytes, frozenset[Key]]:
    """What other nodes lack; in which order they are given it a start may find otherwise."""
    return {node: frozenset(keys) for node, keys in hints.all().items()}


def state_of(replica: Replica) -> tuple[object, ...]:
    """What is durable of a replica, and found again by a start."""
    return replica.records, replica.clock.to_wire(), replica.generation, replica.whole, replica.aside


def finds(mine: Replica, theirs: Replica) -> bool:
    """Whether a start would find what is held.

    What was merged besides the records held decides nothing, and may be more or less: where the log is replayed over a
    save that was made after a key had been deleted, collected and created again, a start still names what had lost
    against the record before, and an earlier start may have done so.
    """
    named = (dot for dots in theirs.seen.values() for dot in dots)
    return state_of(mine) == state_of(theirs) and all(mine.clock.covers(dot) for dot in named)


def _forgets_seen(mine: Replica, theirs: Replica) -> bool:
    """Whether a start would know less of what was merged besides the records held."""
    for key, dots in mine.seen.items():
        # What was seen enters the next version vector, and of that the greatest number of each actor does.
        restored = dict(join_vv(*theirs.seen.get(key, ())))
        if any(restored.get(actor, 0) < seq for actor, seq in join_vv(*dots)):
            return True
    return False


def _unbounded(node: SimNode, core: Core) -> Iterator[str]:
    """P10: queues and tables at rest."""
    for name, size, limit in (
        ("hints", len(core.store.hints), MAX_HINTS_PER_NODE),
        ("bytes of log", node.disk.log_bytes, 3 * core.folder.saver.log_limit_bytes + MAX_GROUP_BYTES),
        ("calls under way", core.cluster.links.pending(), MAX_CALLS),
    ):
        if size > limit:
            yield f"P10: {node.host}: {size} {name}"


def _untidy(node: SimNode, core: Core) -> Iterator[str]:
    """P10, P12: nothing of ours that nobody needs stays in the data folder, and nothing that is not ours goes."""
    for path in node.disk.missing_foreign():
        yield f"P12: {node.host}: {path}, which is not ours, is gone"
    manifest = core.folder.saver.newest
    cold = f"{core.config.actual_data_dir}/cold/"
    if manifest is None or not core.folder.saver.saves:
        return
    for path in node.disk.empty_folders():
        if path.startswith(cold) and path[len(cold) :] <= f"{manifest.generation:012d}":
            yield f"P10: {node.host}: the empty folder {path} stays"
    for path in node.disk.paths():
        if path.startswith(cold) and path.endswith(".new") and f"{manifest.generation + 1:012d}" not in path:
            yield f"P10: {node.host}: {path}, left by a crash, stays"
