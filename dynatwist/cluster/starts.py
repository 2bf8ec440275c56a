"""Which start of each member was met, so that a data folder that was restored from a backup is noticed.

A node that went back to an older state of itself has forgotten writes that it acknowledged, and would count for a
majority of owners all the same. Its peers remember how often they have seen it start, and how far its log was; whoever
has met a later start, or more of the log, tells it. Then it fetches everything anew, as a node that was damaged does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.logger import Logger

from dynatwist.calls import call_each
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.net.links import PeerLinks
from dynatwist.net.messages import AnyMessage, Hello, Restored
from dynatwist.storage.store import Store

from .identity import DurableIdentity, Start

MOST_STARTS = 1 << 40
"""One a millisecond for thirty years. What a member says may be anything, and the numbers of the log's segments go by
it, a million for each start (see `dynatwist.storage.segment.LEAP`): they have to fit into 64 bits."""


class Starts:
    """See the module.

    :ivar on_restored: called when this node's data folder turns out to be an old backup.
    """

    log = Logger()

    def __init__(self, identity: DurableIdentity, store: Store, links: PeerLinks) -> None:
        self._identity = identity
        self._store = store
        self._links = links
        self._warnings: dict[bytes, Restored] = {}
        self._was_restored = False
        self.on_restored: list[Callable[[], None]] = []

    def greeted(self, node: bytes, hello: Hello) -> None:
        """A member is linked: remember which start of it this is, and tell it if a later one was met."""
        starts, epoch = self._identity.start_of(node)
        if hello.epoch == epoch:
            return
        if hello.starts <= starts:
            self._links.tell(node, Restored(starts))
        elif hello.recovered < self._links.position(node):
            self._links.tell(node, Restored(hello.starts))
        if hello.starts > starts:
            self._identity.meet(node, (hello.starts, hello.epoch))

    def met(self, nodes: Iterable[bytes]) -> dict[bytes, Start]:
        """The starts of those nodes that are linked."""
        hellos = {node: self._links.hello_of(node) for node in nodes}
        return {node: (hello.starts, hello.epoch) for node, hello in hellos.items() if hello is not None}

    def warned_by_stranger(self, node: bytes, message: AnyMessage) -> None:
        """What a node says that is no member: kept, since it may be one of which this node does not know yet."""
        if isinstance(message, Restored):
            self._warnings[node] = message

    def gone(self, node: bytes) -> None:
        """The connection to a node has ended."""
        self._warnings.pop(node, None)

    def joined(self, nodes: Iterable[bytes]) -> None:
        """These nodes turn out to be members: what they said before counts."""
        for node in self._warnings.keys() & set(nodes):
            self.warned(self._warnings.pop(node))

    def warned(self, message: Restored) -> None:
        """A peer has met a later start of this node, or more of its log: the data folder is an old backup."""
        identity, store = self._identity, self._store
        if not identity.starts <= message.starts < MOST_STARTS or self._was_restored:
            return
        self._was_restored = True  # what came after this start is no backup
        self.log.warn(
            "this data folder is older than what the cluster has met (start {mine}, met {met}): a restored backup? "
            "All partitions are fetched from other owners",
            mine=identity.starts,
            met=message.starts,
        )
        identity.start_behind(message.starts)
        for partition in range(ALL_PARTITIONS):
            store.cease_whole(partition)
        call_each(self.on_restored)
        store.wal.leap(identity.starts)  # or others, who remember more of the log, would say so at each start
