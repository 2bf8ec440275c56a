"""Whether this node may serve: whom it has met since its start, and of what it holds all.

- *Met*: a round with a peer was completed, clocks exchanged. An owner that has met a majority of the owners (itself
  included) knows of every write that a majority has acknowledged.
- *Whole*: a replica holds all that it should; see `dynatwist.replication.filling`.
- *Lone*: the time to wait for others after a start is over; an owner that nobody better can stand in for serves alone.
- *Stopping*: this node is on its way out, and begins nothing.
"""

from __future__ import annotations

from dynatwist.model.record import Key
from dynatwist.model.registry import is_majority_of_each
from dynatwist.model.ring import ALL_PARTITIONS, SYSTEM_PARTITION, partition_of
from dynatwist.replication.filling import Filling
from dynatwist.runtime import Runtime
from dynatwist.storage.store import Store

from .ownership import Ownership
from .peers import Peers


class Standing:
    """See the module.

    :param lone_after_s: seconds after the start from which a node serves alone.
    :ivar filling: what this node has to fetch under the present registry.
    """

    def __init__(
        self,
        *,
        me: bytes,
        ownership: Ownership,
        peers: Peers,
        store: Store,
        runtime: Runtime,
        lone_after_s: float,
    ) -> None:
        self._me = me
        self._peers = peers
        self._store = store
        self._seconds = runtime.monotonic_s
        self._lone_from_s = runtime.monotonic_s() + lone_after_s
        self._met: frozenset[bytes] = frozenset()
        self._is_stopping = False
        self.filling = Filling()
        self.go_by(ownership)

    def go_by(self, ownership: Ownership) -> None:
        """Another version of the registry: who has to be met, and what has to be fetched, is counted anew."""
        self._ownership = ownership
        self._met &= ownership.members
        self._met_majorities: set[int] = set()
        self._settled: set[int] = set()
        self._has_met_all = False
        if ownership.registry is not None:
            self.filling.begin(ownership.registry, self._me)

    # Events

    def meet(self, node: bytes) -> None:
        """A round with a peer was completed."""
        self._met |= {node}

    def stop(self) -> None:
        """This node is on its way out."""
        self._is_stopping = True

    # What follows

    @property
    def is_stopping(self) -> bool:
        """Whether this node is on its way out."""
        return self._is_stopping

    @property
    def is_lone(self) -> bool:
        """Whether the time to wait for others after a start is over."""
        return self._seconds() >= self._lone_from_s

    @property
    def met(self) -> frozenset[bytes]:
        """The members with which a round was completed since the start."""
        return self._met

    def has_met_majority(self, partition: int) -> bool:
        """Whether a majority of the owners, this node included, was met since the start, clocks exchanged."""
        if partition in self._met_majorities:
            return True
        met = self._met | {self._me}
        groups = self._ownership.groups(partition)
        if not groups or not is_majority_of_each(met, groups):
            return False
        self._met_majorities.add(partition)
        return True

    def may_coordinate(self, partition: int) -> bool:
        """Whether this node may carry out requests on a partition."""
        replicas, ownership = self._store.replicas, self._ownership
        is_whole = replicas[partition].whole
        if partition != SYSTEM_PARTITION and not self.knows_settings:
            return False
        if partition in self._settled and is_whole and not self._is_stopping:
            return True
        if not ownership.owns(partition) or ownership.is_joining(partition) or self._is_stopping:
            return False
        if not self.has_met_majority(partition) and not self.is_lone:
            return False
        if is_whole:
            if self.has_met_majority(partition):
                self._settled.add(partition)
            return True
        return self.is_left_alone(partition) and not self._store.replicas[partition].aside

    @property
    def knows_settings(self) -> bool:
        """Whether this node knows how tables are kept, and who may do what in them.

        One whose system partition was damaged does when it has all of that which some other member has. Until then it
        would write a strong table by itself, and go by the usual rules.
        """
        system = self._store.replicas[SYSTEM_PARTITION]
        return system.whole or bool(self.filling.sources(SYSTEM_PARTITION, system.resets))

    def is_left_alone(self, partition: int) -> bool:
        """Whether this owner, though not whole, is the best that there is: the time to wait for a whole one is over."""
        ownership = self._ownership
        if not ownership.owns(partition) or ownership.is_joining(partition) or not self.is_lone:
            return False
        return not any(self._peers.is_whole_at(owner, partition) for owner in ownership.owners(partition))

    @property
    def is_ready(self) -> bool:
        """Whether the data routes answer: member, and a majority met or the wait over."""
        if not self._ownership.is_registered:
            return False
        self._has_met_all = self._has_met_all or all(map(self.has_met_majority, range(ALL_PARTITIONS)))
        return self._has_met_all or self.is_lone

    def has_all_of(self, key: Key) -> bool:
        """Whether this node is an owner of a key that is not being filled: it has held all that was written of it."""
        registry, partition = self._ownership.registry, partition_of(*key)
        if registry is None or registry.changing:
            return False
        return self._ownership.owns(partition) and self._store.replicas[partition].whole

    def not_whole(self) -> list[int]:
        """Partitions owned here that are not whole."""
        owns = self._ownership.owns
        return [replica.number for replica in self._store.replicas if not replica.whole and owns(replica.number)]

    def is_filling(self) -> bool:
        """Whether this node still fetches partitions without which the change under way may not end."""
        return bool(self.filling.due) or any(map(self._ownership.is_joining, self.not_whole()))
