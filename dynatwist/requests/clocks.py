"""What a backup that begins now is sure to hold, as a clock: an increment on it holds what that does not cover.

Each member says what its replicas have merged. Of a partition that counts which a majority of the owners have merged,
all that answered: whoever reads a majority later meets one that has it, or something newer of the same key.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from dynatwist.cluster.cluster import Cluster
from dynatwist.feed.heard import Heard, unpacked
from dynatwist.model.dots import DotSet
from dynatwist.model.registry import majority
from dynatwist.model.ring import PARTITIONS

MOST_BYTES = 32 << 20
"""Of a clock, unpacked: one of a thousand actors in each partition has eight."""


def merged_here(cluster: Cluster) -> Heard:
    """What this node has merged of the data that it owns all of; it counts once that is durable."""
    store, ownership = cluster.store, cluster.ownership
    parts = {
        replica.number: replica.clock.copy()
        for replica in store.replicas[:PARTITIONS]
        if ownership.owns(replica.number) and replica.whole and not ownership.is_joining(replica.number)
    }
    return Heard(parts, min(store.readable.buried_ms, store.lapse_ms))


def merged_by_majorities(cluster: Cluster, told: Mapping[bytes, Heard]) -> Heard | None:
    """What majorities of the owners have merged, of all data; ``None`` where they have not all answered.

    :param told: by member.
    """
    registry = cluster.registry
    if registry is None or not told:
        return None
    parts: dict[int, DotSet] = {}
    for partition in range(PARTITIONS):
        clocks: list[DotSet] = []
        for group in registry.groups(partition):
            some = _known(told[node].of(partition) for node in group if node in told)
            if len(some) < majority(len(group)):
                return None
            clocks += some
        parts[partition] = reduce(common, clocks)
    return Heard(parts, min(heard.lapse_ms for heard in told.values()))


def _known(clocks: Iterable[DotSet | None]) -> Sequence[DotSet]:
    return [clock for clock in clocks if clock is not None]


def common(one: DotSet, other: DotSet) -> DotSet:
    """The dots that are in both."""
    theirs = {actor: (upto, beyond) for actor, upto, beyond in other.spans()}
    found: dict[bytes, tuple[int, list[int]]] = {}
    for actor, upto, beyond in one.spans():
        their_upto, their_beyond = theirs.get(actor, (0, ()))
        in_both = {seq for seq in beyond if seq <= their_upto or seq in their_beyond}
        in_both.update(seq for seq in their_beyond if seq <= upto)
        found[actor] = min(upto, their_upto), sorted(in_both)
    return DotSet.from_wire(found)


def as_text(cluster: Cluster, clock: Heard) -> str:
    """A clock, for whoever makes a backup to keep. It names the cluster: another one's clocks say nothing."""
    return b64encode(zlib.compress(_id_of(cluster) + clock.pack())).decode()


def of_text(cluster: Cluster, text: str) -> Heard | None:
    """What `as_text` made for the same cluster; ``None`` for any other text."""
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(b64decode(text, validate=True), MOST_BYTES)
    except (ValueError, zlib.error):
        return None
    cluster_id = _id_of(cluster)
    return unpacked(data.removeprefix(cluster_id)) if unpacking.eof and data.startswith(cluster_id) else None


def _id_of(cluster: Cluster) -> bytes:
    return cluster.registry.cluster_id if cluster.registry is not None else b""
