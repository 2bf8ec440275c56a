"""Who is a member, and who owns which partition: one version of the registry, worked out as far as it is asked for."""

from __future__ import annotations

from dynatwist.model.registry import Registry
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.net.messages import StaleRegistry


class Ownership:
    """A registry, as one node sees it. It never changes: another version of the registry is another ownership.

    :param registry: ``None`` before the node is in a cluster; then nobody is a member.
    :param me: id of the node that looks.
    :ivar members: ids of the members; while a change runs, also of those that were members before it.
    :ivar struck_out: ids that are never members again.
    """

    __slots__ = ("_groups", "_me", "_owners", "_shared", "members", "registry", "struck_out", "version")

    def __init__(self, registry: Registry | None, me: bytes) -> None:
        self.registry = registry
        self.version = registry.version if registry is not None else 0
        self.members = registry.ids | registry.previous_ids if registry is not None else frozenset()
        self.struck_out = frozenset(registry.struck_out if registry is not None else ())
        self._me = me
        self._owners: dict[int, tuple[bytes, ...]] = {}
        self._groups: dict[int, tuple[tuple[bytes, ...], ...]] = {}
        self._shared: dict[bytes, list[int]] = {}

    # Members

    def is_member(self, node: bytes) -> bool:
        """Whether a node is a member, or was one before the change under way. See `dynatwist.cluster.served`."""
        return node in self.members

    @property
    def is_registered(self) -> bool:
        """Whether this node is a member, or on its way out."""
        return self._me in self.members

    @property
    def is_removed(self) -> bool:
        """Whether this node is out. A node in no cluster takes over no registry without itself, so a node that has one
        without itself was struck out, at whatever start."""
        return self.registry is not None and self._me not in self.members

    def stale(self, version: int) -> StaleRegistry | None:
        """The answer to a call that went by an older registry, or ``None``."""
        if self.registry is not None and version < self.version:
            return StaleRegistry(self.registry)
        return None

    # Owners

    def owners(self, partition: int) -> tuple[bytes, ...]:
        """All owners of a partition: old ones first, then joining ones."""
        owners = self._owners.get(partition)
        if owners is None:
            owners = self._owners[partition] = self.registry.all_owners(partition) if self.registry is not None else ()
        return owners

    def groups(self, partition: int) -> tuple[tuple[bytes, ...], ...]:
        """The owner sets of each of which a majority is needed; none before the node is in a cluster.

        Equal for all partitions with the same owners, whatever their order of preference.
        """
        groups = self._groups.get(partition)
        if groups is None:
            named = self.registry.groups(partition) if self.registry is not None else ()
            groups = self._groups[partition] = tuple(tuple(sorted(group)) for group in named)
        return groups

    def shared_with(self, node: bytes) -> list[int]:
        """The partitions that this node and another one own both; of this node itself, all that it owns."""
        shared = self._shared.get(node)
        if shared is None:
            both = {self._me, node}
            shared = [partition for partition in range(ALL_PARTITIONS) if both.issubset(self.owners(partition))]
            self._shared[node] = shared
        return shared

    def owns(self, partition: int) -> bool:
        """Whether this node is an owner of a partition, an old or a joining one."""
        return self._me in self.owners(partition)

    @property
    def owns_all(self) -> bool:
        """Whether every member, this node too, owns every key, and no change is under way."""
        registry = self.registry
        return registry is not None and not registry.changing and len(registry.ids) <= registry.replicas

    def is_joining(self, partition: int, node: bytes | None = None) -> bool:
        """Whether a node, this one where none is named, is a new owner of a partition in the change under way."""
        registry, one = self.registry, node or self._me
        return (
            registry is not None
            and registry.changing
            and one not in registry.old_owners(partition)
            and one in registry.owners(partition)
        )
