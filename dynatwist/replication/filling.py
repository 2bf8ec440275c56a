"""What a node has to fetch, and from how many others, before it counts as an owner: the rules behind *whole*.

A `majority` write is on a majority of the owners. A node that is to count as an owner without having been one fetches
from so many owners that one of each majority is among them: one more than a majority may leave out. Then at most a
minority of the owners lacks any such write, before a change of members and after it.

That holds only if each version of a change counts anew who has fetched: what was acknowledged under one version is on
a majority of the old owners, and perhaps on a single one of those that the next version makes owners. And an owner
that stays fetches too where owners become so few that what a minority of the old ones lacks, a majority of the new
could lack.
"""

from __future__ import annotations

from collections.abc import Collection

from dynatwist.model.registry import Registry, majority
from dynatwist.model.ring import ALL_PARTITIONS


def owes(registry: Registry, node: bytes, partition: int) -> bool:
    """Whether a node has to fetch a partition under this version of the registry before the change may end."""
    if not registry.changing:
        return False
    old, new = registry.old_owners(partition), registry.owners(partition)
    if node not in new:
        return False
    return node not in old or len(old) - majority(len(old)) > len(new) - majority(len(new))


def starts_over(before: Registry | None, after: Registry, node: bytes) -> list[int]:
    """The partitions that a node owns by a registry and did not own by the one that it knew before.

    What it holds of them does not count. Versions may have been skipped, and changes with them; so a new owner in a
    change under way starts over even if it owned the partition once, unless it has been fetching for this very change.
    """
    if before is None and after.version == 1:
        return []  # the founder: there is nothing to fetch
    is_amended = before is not None and before.changing and after.changing and after.version == before.version + 1
    found: list[int] = []
    for partition in range(ALL_PARTITIONS):
        if node not in after.all_owners(partition):
            continue
        had = before is not None and node in before.all_owners(partition)
        is_joining = after.changing and node not in after.old_owners(partition)
        if not had or (is_joining and not is_amended):
            found.append(partition)
    return found


def sources_of(registry: Registry, node: bytes, partition: int) -> list[bytes]:
    """The other owners that may know what a node lacks: the old ones, while a change runs."""
    owners = registry.old_owners(partition) or registry.owners(partition)
    return [owner for owner in owners if owner != node]


def sources_needed(
    registry: Registry, node: bytes, partition: int, lost: Collection[bytes], damaged: Collection[bytes]
) -> int:
    """From how many of its `sources_of` a node has to have fetched.

    :param lost: nodes that were struck out and will not be heard of again.
    :param damaged: nodes that are not whole themselves. A new owner waits for them; an old one that is damaged too may
        wait for it in turn, so these do without each other, or make do with each other when nobody else is left.
    :returns: 0 when nobody is left who could know anything.
    """
    owners = registry.old_owners(partition) or registry.owners(partition)
    left = [one for one in sources_of(registry, node, partition) if one not in lost]
    enough = len(owners) - majority(len(owners)) + 1
    if node in owners:
        whole = [one for one in left if one not in damaged]
        return min(enough, len(whole)) if whole else len(left)
    return min(enough, len(left))


class Filling:
    """What this node still has to fetch under the present registry, and from whom it has fetched."""

    def __init__(self) -> None:
        self._due: set[int] = set()
        self._fetched: dict[int, tuple[int, set[bytes]]] = {}

    def begin(self, registry: Registry, node: bytes) -> None:
        """Another version of the registry: what was fetched before does not count."""
        self._fetched.clear()
        self._due = {partition for partition in range(ALL_PARTITIONS) if owes(registry, node, partition)}

    @property
    def due(self) -> frozenset[int]:
        """The partitions without which the change under way may not end, whole or not."""
        return frozenset(self._due)

    def is_due(self, partition: int) -> bool:
        """Whether a partition is `due`."""
        return partition in self._due

    def fetched(self, partition: int, resets: int, source: bytes) -> None:
        """A round with a source was completed: all that it had is here.

        :param resets: of the replica; what came before it started over does not count.
        """
        before, sources = self._fetched.get(partition, (resets, set()))
        self._fetched[partition] = resets, {source} if before != resets else sources | {source}

    def sources(self, partition: int, resets: int) -> set[bytes]:
        """From whom a partition was fetched."""
        before, sources = self._fetched.get(partition, (resets, set()))
        return sources if before == resets else set()

    def complete(self, partition: int) -> None:
        """Enough was fetched."""
        self._due.discard(partition)
        self._fetched.pop(partition, None)
