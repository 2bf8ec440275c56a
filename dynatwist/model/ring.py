"""Placement: which partition a key falls into, and which members own it.

Rendezvous hashing (Thaler and Ravishankar, 1998): each member scores each partition, the N best own it. A member that
joins or leaves moves only the partitions it wins or held. The hash is blake2b, the same on every machine.

Members that say where they run own a partition by zones: the best of each zone come before the second best of any. So
the owners lie in as many zones as there are, up to N, and a zone that fails takes one copy with it where there are N
zones. A member that joins still moves only what it wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

PARTITIONS = 256
SYSTEM_PARTITION = PARTITIONS
"""The one partition of all system tables; every member owns it."""

ALL_PARTITIONS = PARTITIONS + 1
"""The last one is that of the system tables."""
Zones = frozenset[tuple[bytes, str]]
"""Where members run: node ids and names of zones."""


def is_system_table(table: str) -> bool:
    """Whether a table belongs to the store itself and is closed to the data routes."""
    return table == "auth" or table.startswith("_")


@lru_cache(maxsize=16384)
def partition_of(table: str, key: str) -> int:
    """The partition of a key: 0 to 255, or 256 for every system table."""
    if is_system_table(table):
        return SYSTEM_PARTITION
    return blake2b(f"{table}\0{key}".encode(), digest_size=1, person=b"partition").digest()[0]


def partitions_of(table: str | None, key: str | None) -> Sequence[int]:
    """The partitions that a key of a data table may be in, or any key of it; ``None`` for any table, any key."""
    return range(PARTITIONS) if table is None or key is None else (partition_of(table, key),)


def _score(partition: int, member: bytes) -> bytes:
    return blake2b(partition.to_bytes(2) + member, digest_size=8, person=b"ring").digest()


@lru_cache(maxsize=4096)
def _ranked(partition: int, members: frozenset[bytes], zones: Zones, count: int) -> tuple[bytes, ...]:
    ranked = sorted(members, key=lambda member: (_score(partition, member), member), reverse=True)
    if zones:
        ranked = _spread(ranked, dict(zones))
    return tuple(ranked[:count])


def _spread(ranked: Sequence[bytes], zones: Mapping[bytes, str]) -> list[bytes]:
    """The best member of each zone first, then all others; a member without a zone is a zone of its own."""
    best: dict[str | bytes, bytes] = {}
    for member in ranked:
        best.setdefault(zones.get(member) or member, member)
    first = list(best.values())
    return first + [member for member in ranked if member not in first]


def preference_list(
    partition: int, members: Iterable[bytes], replicas: int, zones: Zones = frozenset()
) -> tuple[bytes, ...]:
    """The owners of a partition, best first.

    :param members: the registered node ids, alive or not.
    :param replicas: N; the system partition ignores it.
    :param zones: of each member; empty where zones do not count.
    """
    everyone = members if isinstance(members, frozenset) else frozenset(members)
    return _ranked(partition, everyone, zones, len(everyone) if partition == SYSTEM_PARTITION else replicas)
