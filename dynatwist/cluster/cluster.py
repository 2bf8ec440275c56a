"""The parts that know the cluster, wired. Each part owns what it knows and changes it by its own verbs:

=============  =======================================================================================================
`identity`     this node's memory of itself, on the disk
`ownership`    who is a member and who owns what: one version of the registry; the next one is another ownership
`peers`        the other nodes: links, messages, what each says of itself
`standing`     whom this node has met, of what it holds all: may it serve?
`processes`    which process of each node was heard of last
`starts`       which start of each member was met; whether this data folder is an old backup
`times`        what time it is
=============  =======================================================================================================

Parts that need them all get the `Cluster`. One thing concerns all of them and is done here: another registry.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.calls import call_each
from dynatwist.model.registry import Member, Registry
from dynatwist.net.messages import Restored, StaleRegistry, Status
from dynatwist.net.replies import Reply
from dynatwist.runtime import Runtime
from dynatwist.storage.identity import Identity, IdentityFile
from dynatwist.storage.store import Store

from .identity import DurableIdentity
from .ownership import Ownership
from .peers import Peers
from .processes import Processes
from .standing import Standing
from .starts import Starts
from .times import Times
from .yielding import Yielding

MAX_REPLICATE_DEADLINE_MS = 60_000
"""A write that was under way for a minute is not merged; hints and rounds bring what it brought."""
STEP_RECORDS = 2000
"""Looked at in one turn of the reactor, where there may be any number: about two milliseconds."""
ANSWER_BYTES = 1 << 20
"""Records in one message, about: a large value, or many small ones."""


class Cluster:
    """See the module.

    :param me: this node's entry, as it will be registered.
    :param lone_after_s: seconds after the start from which a node serves alone.
    :param grace_s: how long a tombstone is kept at least after it was noted for collection.
    :ivar on_registry: called with the registry before and after; what they do is in the log with the rest of this turn.
    :ivar on_hearsay: called with a registry that a node tells which is no member.
    :ivar replicate_deadline_ms: what is older when it arrives is not merged, so that a record that was under way for
        long cannot meet a replica that has collected what deleted it.
    :ivar step_records: how many records are looked at in one turn; see `STEP_RECORDS`.
    :ivar answer_bytes: how much of what may be long goes into one message; see `ANSWER_BYTES`.
    """

    def __init__(
        self,
        *,
        me: Member,
        identity: Identity,
        identity_file: IdentityFile,
        store: Store,
        runtime: Runtime,
        lone_after_s: float,
        grace_s: float,
    ) -> None:
        self.me, self.store, self.runtime = me, store, runtime
        self.grace_s = grace_s
        self.replicate_deadline_ms = min(MAX_REPLICATE_DEADLINE_MS, int(grace_s * 1000 / 2))
        self.answer_bytes, self.step_records = ANSWER_BYTES, STEP_RECORDS
        self.identity = DurableIdentity(identity, identity_file, lambda: self.times.walls.mark_ms, runtime.fatal)
        self.ownership = Ownership(identity.registry, me.node_id)
        self.peers = peers = Peers(
            me=me,
            identity=self.identity,
            ownership=self.ownership,
            store=store,
            runtime=runtime,
            status=self._status,
        )
        self.links = peers.links
        self.standing = Standing(
            me=me.node_id,
            ownership=self.ownership,
            peers=peers,
            store=store,
            runtime=runtime,
            lone_after_s=lone_after_s,
        )
        self.yielding = Yielding(store.wal, runtime.monotonic_s, self.publish)
        self.starts = Starts(self.identity, store, peers.links)
        self.processes = Processes(self.identity, peers, runtime.monotonic_s)
        self.times = Times(
            node=me.node_id,
            store=store,
            links=peers.links,
            runtime=runtime,
            registry=lambda: self.registry,
            mark_ms=identity.wall_ms,
        )
        self.on_registry: list[Callable[[Registry | None, Registry], None]] = []
        self.on_hearsay: list[Callable[[Registry], None]] = []
        peers.on_registry.append(self._told)
        peers.on_greeted.append(self.starts.greeted)
        peers.switchboard.on_stranger.append(self.starts.warned_by_stranger)
        peers.on_unlinked.append(self.starts.gone)
        peers.on_notice(Restored, lambda arrival, message: self.starts.warned(message))
        self.starts.on_restored.append(self.publish)

    def bound(self, step_records: int, answer_bytes: int) -> None:
        """Go by another `step_records` and `answer_bytes` than the usual ones, from now on."""
        self.step_records, self.answer_bytes = step_records, answer_bytes

    @property
    def registry(self) -> Registry | None:
        """The newest one known; ``None`` before the node is in a cluster."""
        return self.ownership.registry

    @property
    def version(self) -> int:
        """The version of the registry; 0 when there is none."""
        return self.ownership.version

    def adopt(self, registry: Registry) -> None:
        """Take over a newer registry, durably, and pass it on."""
        before = self.ownership
        known = before.registry
        if known is not None and (registry.cluster_id != known.cluster_id or registry.version <= known.version):
            return
        self.ownership = ownership = Ownership(registry, self.me.node_id)
        newcomers = ownership.members - before.members
        self.standing.go_by(ownership)
        self.peers.go_by(ownership)
        self.identity.adopt(registry, self.starts.met(newcomers))
        self.peers.tell_registry(registry)
        call_each(self.on_registry, known, registry)
        self.starts.joined(newcomers)
        self.publish()

    def is_whole_owner(self, node: bytes, partition: int) -> bool:
        """Whether a peer is known to hold all of a partition that it owned before any change under way."""
        ownership = self.ownership
        is_owner = node in ownership.owners(partition) and not ownership.is_joining(partition, node)
        return is_owner and self.peers.is_whole_at(node, partition)

    def learn(self, reply: Reply) -> bool:
        """Adopt the registry that a reply brings.

        :returns: whether the reply was `StaleRegistry`.
        """
        if not isinstance(reply, StaleRegistry):
            return False
        self.adopt(reply.registry)
        return True

    def _told(self, node: bytes, registry: Registry) -> None:
        """A peer tells a registry. A node that is in no cluster believes whoever names it a member."""
        if self.registry is None:
            if registry.find(self.me.node_id) is not None:
                self.adopt(registry)
        elif self.ownership.is_member(node):
            self.adopt(registry)
        else:
            call_each(self.on_hearsay, registry)

    def _status(self) -> Status:
        """What the peers are told of this node."""
        return Status(
            self.standing.is_ready,
            self.standing.not_whole(),
            self.yielding.yields,
            has_registers=True,
            has_grants=True,
            has_bookmarks=True,
            has_conflicts=True,
            has_leases=True,
            has_table_lists=True,
            has_backups=True,
            has_insight=True,
        )

    def publish(self) -> None:
        """Tell the peers how this node is, if that has changed."""
        self.peers.say(self._status())

    def stop(self) -> None:
        """Begin nothing more, and answer nobody."""
        self.standing.stop()
        self.peers.switchboard.stop_answering()
