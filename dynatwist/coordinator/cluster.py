"""What a node knows of the cluster it is in: registry, peers and their state, and whether it may serve.

Messages from peers come in here and go to whoever registered for their kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.logger import Logger

from dynatwist.calls import call_each
from dynatwist.membership.actions import Changed
from dynatwist.membership.members import Peer
from dynatwist.membership.swim import Swim
from dynatwist.model.flaws import BEYOND
from dynatwist.model.registry import Member, Registry, majority
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.net.framing import State
from dynatwist.net.links import PeerLinks
from dynatwist.net.messages import (
    WIRE_VERSION,
    AnyMessage,
    Hello,
    Leaving,
    RegistryIs,
    Restored,
    StaleRegistry,
    Status,
    Unable,
)
from dynatwist.replication.filling import Filling
from dynatwist.runtime import Runtime
from dynatwist.sometimes import sometimes
from dynatwist.storage.identity import Identity, IdentityFile
from dynatwist.storage.store import Store

from .served import NOT_A_MEMBER, TO_ANYBODY, TO_STRUCK_OUT
from .times import Times

Respond = Callable[[AnyMessage], None]
Handler = Callable[[bytes, Any, Respond], None]
Notice = Callable[[bytes, Any], None]
M = TypeVar("M")
MAX_REPLICATE_DEADLINE_MS = 60_000
STEP_RECORDS = 2000
"""Looked at in one turn of the reactor, where there may be any number: about two milliseconds."""
HAND_OFF_S = 60.0
"""How long a link lasts that a node opens which was struck out: it may have something to hand off, and dials again."""
ANSWER_BYTES = 1 << 20
"""Records in one message, about: a large value, or many small ones."""


class Cluster:
    """See the module.

    :param me: this node's entry, as it will be registered.
    :param lone_after_s: seconds after the start from which a node serves alone.
    :param grace_s: how long a tombstone is kept at least after it was noted for collection.
    :ivar replicate_deadline_ms: what is older when it arrives is not merged, so that a record that was under way for
        long cannot meet a replica that has collected what deleted it.
    :ivar step_records: how many records are looked at in one turn; see `STEP_RECORDS`.
    :ivar answer_bytes: how much of what may be long goes into one message; see `ANSWER_BYTES`.
    """

    log = Logger()

    def __init__(
        self,
        me: Member,
        identity: Identity,
        identity_file: IdentityFile,
        store: Store,
        runtime: Runtime,
        lone_after_s: float,
        grace_s: float,
    ) -> None:
        self.me = me
        self.identity = identity
        self._identity_file = identity_file
        self.store = store
        self.runtime = runtime
        self._lone_after_s = lone_after_s
        self.grace_s = grace_s
        self.replicate_deadline_ms = min(MAX_REPLICATE_DEADLINE_MS, int(grace_s * 1000 / 2))
        self.answer_bytes, self.step_records = ANSWER_BYTES, STEP_RECORDS
        self._started_s = runtime.monotonic_s()
        self.links = PeerLinks(me.node_id, self, runtime)
        self.swim: Swim | None = None
        self.fresh: set[bytes] = set()
        self.founded_peers: set[bytes] = set()
        self.has_met_founded = False
        self.peer_status: dict[bytes, Status] = {}
        self._calls: dict[type[Any], Handler] = {}
        self._notices: dict[type[Any], Notice] = {RegistryIs: self._on_registry, Status: self.peer_status.__setitem__}
        self._notices[Leaving] = self._on_leaving
        self._notices[Restored] = self._on_restored
        self.on_linked: list[Callable[[bytes], None]] = []
        self.on_reachability: list[Callable[[bytes], None]] = []
        self.on_restored: list[Callable[[], None]] = []
        self.on_registry: list[Callable[[Registry | None, Registry], None]] = []
        self.on_hearsay: Callable[[Registry], None] = lambda claim: None
        self._served: frozenset[bytes] = frozenset()
        self._struck_out: frozenset[bytes] = frozenset()
        self.removed = False
        self._status: Status | None = None
        self._owners: dict[int, tuple[bytes, ...]] = {}
        self._groups: dict[int, tuple[tuple[bytes, ...], ...]] = {}
        self._shared: dict[bytes, list[int]] = {}
        self._met: set[int] = set()
        self._settled: set[int] = set()
        self._has_met_all = False
        self.filling = Filling()
        if identity.registry is not None:
            self.filling.begin(identity.registry, me.node_id)
            self._go_by(identity.registry)
        self.times = Times(
            node=me.node_id,
            store=store,
            links=self.links,
            runtime=runtime,
            registry=lambda: self.registry,
            mark_ms=identity.wall_ms,
        )
        self.stopping = False
        self.refused_calls = 0
        self._warnings: dict[bytes, Restored] = {}
        self._was_restored = False

    # The registry

    @property
    def registry(self) -> Registry | None:
        """The newest one known; ``None`` before the node is in a cluster."""
        return self.identity.registry

    @property
    def version(self) -> int:
        """The version of the registry; 0 when there is none."""
        return self.identity.registry.version if self.identity.registry else 0

    @property
    def is_registered(self) -> bool:
        """Whether this node is a member, or on its way out."""
        registry = self.registry
        return registry is not None and registry.find(self.me.node_id) is not None

    def adopt(self, registry: Registry) -> None:
        """Take over a newer registry, durably, and pass it on."""
        before = self.registry
        if before is not None and (registry.cluster_id != before.cluster_id or registry.version <= before.version):
            return
        self.identity.registry = registry
        self._owners.clear()
        self._groups.clear()
        self._shared.clear()
        self._met.clear()
        self._settled.clear()
        self._has_met_all = False
        self.filling.begin(registry, self.me.node_id)
        newcomers = self._go_by(registry)
        self.identity.registry_votes = {
            version: vote for version, vote in self.identity.registry_votes.items() if version > registry.version
        }
        for node in newcomers:
            hello = self.links.hello_of(node)
            if hello is not None and hello.starts > self.identity.peer_starts.get(node, (0, b""))[0]:
                self.identity.peer_starts[node] = (hello.starts, hello.epoch)
        self.save_identity()
        self.links.tell_all(RegistryIs(registry))
        self.links.members_changed()
        for member in (*registry.members, *registry.previous):
            if self.swim is None or not self.swim.knows(member.node_id):
                self.links.want(member.node_id, member.host, member.peer_port)
        call_each(self.on_registry, before, registry)
        for node in newcomers & self._warnings.keys():  # it was a member before this node knew
            self._on_restored(node, self._warnings.pop(node))
        self.publish()

    def _go_by(self, registry: Registry) -> frozenset[bytes]:
        """Who is a member, who never will be again, and whether this node is out. A node in no registry takes over
        none without itself, so whoever has one without itself was struck out, at whatever start.

        :returns: who is a member and was none.
        """
        before, self._served = self._served, registry.ids | registry.previous_ids
        self._struck_out = frozenset(registry.struck_out)
        self.removed = self.me.node_id not in self._served
        if self.swim is not None:
            self.swim.bar(self._struck_out)
        return self._served - before

    def is_served(self, node: bytes) -> bool:
        """Whether a node is a member, or was one before the change under way. See `dynatwist.coordinator.served`."""
        return node in self._served

    @property
    def is_founded(self) -> bool:
        """See `LinksOwner`."""
        return self.registry is not None

    def save_identity(self) -> None:
        """Write the identity files, now: it happens rarely, and what follows depends on it."""
        self.identity.wall_ms = self.times.walls.mark_ms
        try:
            self._identity_file.save(self.identity)
        except OSError as error:
            self.runtime.fatal(f"the identity files cannot be written: {error}")

    def registry_is_logged(self) -> None:
        """From now on the log of this data folder says which registry its replicas go by."""
        self.identity.logs_registry = True
        self.save_identity()

    def stale(self, version: int) -> StaleRegistry | None:
        """The answer to a call that went by an older registry, or ``None``."""
        if self.registry is not None and version < self.registry.version:
            return StaleRegistry(self.registry)
        return None

    # Who may serve

    @property
    def wall_refusal(self) -> str:
        """Why clients may not write here, because of this node's wall clock; or an empty string."""
        return self.times.refusal

    @property
    def lone(self) -> bool:
        """Whether the time to wait for others after a start is over."""
        return self.runtime.monotonic_s() - self._started_s >= self._lone_after_s

    def owners(self, partition: int) -> tuple[bytes, ...]:
        """All owners of a partition: old ones first, then joining ones."""
        registry = self.registry
        if registry is None:
            return ()
        owners = self._owners.get(partition)
        if owners is None:
            owners = self._owners[partition] = registry.all_owners(partition)
        return owners

    def groups(self, partition: int) -> tuple[tuple[bytes, ...], ...]:
        """The owner sets of each of which a majority is needed; none before the node is in a cluster.

        Equal for all partitions with the same owners, whatever their order of preference.
        """
        groups = self._groups.get(partition)
        if groups is None:
            registry = self.registry
            named = registry.groups(partition) if registry is not None else ()
            groups = self._groups[partition] = tuple(tuple(sorted(group)) for group in named)
        return groups

    def shared_with(self, node: bytes) -> list[int]:
        """The partitions that this node and another one own both; of this node itself, all that it owns."""
        shared = self._shared.get(node)
        if shared is None:
            both = {self.me.node_id, node}
            shared = [partition for partition in range(ALL_PARTITIONS) if both.issubset(self.owners(partition))]
            self._shared[node] = shared
        return shared

    def is_joining(self, partition: int) -> bool:
        """Whether this node is a new owner of a partition in the change under way."""
        registry = self.registry
        return (
            registry is not None
            and registry.changing
            and self.me.node_id not in registry.old_owners(partition)
            and self.me.node_id in registry.owners(partition)
        )

    def has_met_majority(self, partition: int) -> bool:
        """Whether a majority of the owners, this node included, was met since the start, clocks exchanged."""
        if partition in self._met:
            return True
        met = self.fresh | {self.me.node_id}
        groups = self.groups(partition)
        if not groups or not all(len(met.intersection(group)) >= majority(len(group)) for group in groups):
            return False
        self._met.add(partition)
        return True

    def may_coordinate(self, partition: int) -> bool:
        """Whether this node may carry out requests on a partition."""
        if partition in self._settled and self.store.replicas[partition].whole and not self.stopping:
            return True
        if self.me.node_id not in self.owners(partition) or self.is_joining(partition) or self.stopping:
            return False
        if not self.has_met_majority(partition) and not self.lone:
            return False
        if self.store.replicas[partition].whole:
            if self.has_met_majority(partition):
                self._settled.add(partition)
            return True
        return self.is_left_alone(partition) and not self.store.replicas[partition].aside

    def is_left_alone(self, partition: int) -> bool:
        """Whether this owner, though not whole, is the best that there is: the time to wait for a whole one is over."""
        owners = self.owners(partition)
        if self.me.node_id not in owners or self.is_joining(partition) or not self.lone:
            return False
        return not any(self.is_whole_at(owner, partition) for owner in owners)

    def is_whole_at(self, node: bytes, partition: int) -> bool:
        """Whether a reachable peer is known to hold all of a partition."""
        status = self.peer_status.get(node)
        return self.links.is_reachable(node) and status is not None and partition not in status.not_whole

    def is_damaged_at(self, node: bytes, partition: int) -> bool:
        """Whether a reachable peer has said that it does not hold all of a partition; one that has not said is not."""
        status = self.peer_status.get(node)
        return self.links.is_reachable(node) and status is not None and partition in status.not_whole

    def is_reachable(self, node: bytes) -> bool:
        """Whether a node, this one included, can be asked now."""
        return node == self.me.node_id or self.links.is_reachable(node)

    @property
    def ready(self) -> bool:
        """Whether the data routes answer: member, and a majority met or the wait over."""
        if self.registry is None or self.removed:
            return False
        if self._has_met_all:
            return True
        if not self.is_registered:
            return False
        self._has_met_all = self._has_met_all or all(map(self.has_met_majority, range(ALL_PARTITIONS)))
        return self._has_met_all or self.lone

    def not_whole(self) -> list[int]:
        """Partitions owned here that are not whole."""
        return [
            replica.number
            for replica in self.store.replicas
            if not replica.whole and self.me.node_id in self.owners(replica.number)
        ]

    def is_filling(self) -> bool:
        """Whether this node still fetches partitions without which the change under way may not end."""
        return bool(self.filling.due) or any(self.is_joining(partition) for partition in self.not_whole())

    def publish(self) -> None:
        """Tell the peers about this node's state, if it changed."""
        status = Status(self.ready, self.not_whole())
        if status != self._status:
            self._status = status
            self.links.tell_all(status)

    def struck_out(self, node: bytes) -> None:
        """A node is no member any more: nothing is kept for it, and its link ends once it has heard of that. While it
        has something to hand off, it dials the members."""
        self.store.unhint(node, [])
        self.links.unwant(node)
        if self.swim is not None:
            self.swim.remove(node)

    # Messages

    def on_call(self, kind: type[M], handler: Callable[[bytes, M, Respond], None]) -> None:
        """Register who answers a kind of call."""
        self._calls[kind] = handler

    def on_notice(self, kind: type[M], handler: Callable[[bytes, M], None]) -> None:
        """Register who hears a kind of one-way message."""
        self._notices[kind] = handler

    def handle(self, node: bytes, message: AnyMessage, respond: Respond | None) -> None:
        """See `LinksOwner`."""
        kind = type(message)
        if node not in self._served and kind not in (TO_STRUCK_OUT if node in self._struck_out else TO_ANYBODY):
            sometimes("a node that is no member asks for something")
            self.refused_calls += 1
            if isinstance(message, Restored):
                self._warnings[node] = message
            if respond is not None:
                respond(Unable(NOT_A_MEMBER))
            return
        if respond is None:
            notice = self._notices.get(type(message))
            if notice is not None:
                notice(node, message)
            return
        version = getattr(message, "registry", None)
        if isinstance(version, int) and (stale := self.stale(version)) is not None:
            respond(stale)
            return
        handler = self._calls.get(type(message))
        if handler is None or self.stopping:
            respond(Unable("stopping" if self.stopping else "not understood"))
            return
        handler(node, message, respond)

    def learn(self, reply: AnyMessage | None) -> bool:
        """Adopt the registry that a reply brings.

        :returns: whether the reply was `StaleRegistry`.
        """
        if not isinstance(reply, StaleRegistry):
            return False
        self.adopt(reply.registry)
        return True

    def _on_registry(self, node: bytes, message: RegistryIs) -> None:
        self.founded_peers.add(node)
        self.has_met_founded = True
        if self.registry is None:
            if message.registry.find(self.me.node_id) is not None:
                self.adopt(message.registry)
        elif self.is_served(node):
            self.adopt(message.registry)
        else:
            self.on_hearsay(message.registry)

    def _on_leaving(self, node: bytes, message: Leaving) -> None:
        self.peer_status.pop(node, None)

    def _on_restored(self, node: bytes, message: Restored) -> None:
        """A peer has met a later start of this node, or more of its log: the data folder is an old backup."""
        if not self.identity.starts <= message.starts < BEYOND or self._was_restored:
            return
        self._was_restored = True  # what came after this start is no backup
        self.log.warn(
            "this data folder is older than what the cluster has met (start {mine}, met {met}): a restored backup? "
            "All partitions are fetched from other owners",
            mine=self.identity.starts,
            met=message.starts,
        )
        self.identity.starts = message.starts + 1
        self.save_identity()
        for partition in range(ALL_PARTITIONS):
            self.store.cease_whole(partition)
        call_each(self.on_restored)
        self.store.wal.leap(self.identity.starts)  # or others, who remember more of the log, would say so at each start
        self.publish()

    # Links

    def hello(self) -> Hello:
        """See `LinksOwner`."""
        registry = self.registry
        cluster_id = registry.cluster_id if registry is not None else b""
        recovered = self.store.wal.recovered
        return Hello(WIRE_VERSION, cluster_id, self.me, self.identity.epoch, self.identity.starts, registry, recovered)

    def state(self) -> State:
        """See `LinksOwner`."""
        wall_ms, store = self.store.wall_ms(), self.store
        return max(store.clock.mark[0], wall_ms), store.wal.position, wall_ms, store.lapse_ms

    def judge(self, hello: Hello) -> str | None:
        """See `LinksOwner`."""
        registry = self.registry
        if hello.version != WIRE_VERSION:
            return f"wire version {hello.version}; {self.me.address} speaks {WIRE_VERSION}"
        if not hello.member.is_sound:
            return "that can be no node: its id, address or port"
        if hello.member.node_id in self._struck_out and (
            hello.registry is None or hello.registry.find(hello.member.node_id)
        ):
            return f"{hello.member.address} was removed from the cluster: wipe its data folder to join again"
        if registry is None or not hello.cluster_id:
            return None
        if hello.cluster_id != registry.cluster_id:
            return (
                f"{hello.member.address} belongs to cluster {hello.cluster_id.hex()[:8]}, {self.me.address} to "
                f"{registry.cluster_id.hex()[:8]}: wipe the data folder of the one that is to change"
            )
        theirs = hello.registry
        node = hello.member.node_id
        if theirs is not None and theirs.version <= registry.version and theirs.find(node) and not registry.find(node):
            return f"{hello.member.address} was removed from the cluster: wipe its data folder to join again"
        return None

    def linked(self, node: bytes, hello: Hello) -> None:
        """See `LinksOwner`."""
        if self.is_served(node) and self._note_start(node, hello):
            self.save_identity()
        if node in self._struck_out:
            self.links.end_after(node, HAND_OFF_S)
        if hello.registry is not None:
            self._on_registry(node, RegistryIs(hello.registry))
        if self.registry is not None and (hello.registry is None or hello.registry.version < self.registry.version):
            self.links.tell(node, RegistryIs(self.registry))  # it may be newer than what was said in greeting
        self.links.tell(node, self._status or Status(self.ready, self.not_whole()))
        call_each(self.on_linked, node)

    def _note_start(self, node: bytes, hello: Hello) -> bool:
        """Remember which start of a member this is, and tell it if a later one was met.

        :returns: whether there is something new to be kept.
        """
        starts, epoch = self.identity.peer_starts.get(node, (0, b""))
        if hello.epoch == epoch:
            return False
        if hello.starts <= starts:
            self.links.tell(node, Restored(starts))
        elif hello.recovered < self.links.position(node):
            self.links.tell(node, Restored(hello.starts))
        if hello.starts > starts:
            self.identity.peer_starts[node] = (hello.starts, hello.epoch)
        return hello.starts > starts

    def passed(self, lapse_ms: int) -> None:
        """See `LinksOwner`."""
        self.store.pass_by(lapse_ms)

    def unlinked(self, node: bytes) -> None:
        """See `LinksOwner`."""
        self.peer_status.pop(node, None)
        self.founded_peers.discard(node)
        self._warnings.pop(node, None)
        self.reachability_changed(node)

    def reachability_changed(self, node: bytes) -> None:
        """See `LinksOwner`."""
        call_each(self.on_reachability, node)

    def gossip_changed(self, change: Changed) -> None:
        """Membership says that a member's state or address changed."""
        peer: Peer = change.peer
        self.log.info(
            "member {address} ({node}) is {state}: {reason}",
            address=f"{peer.host}:{peer.port}",
            node=peer.node.hex(),
            state=peer.state.value.lower(),
            reason=change.reason,
        )
        if peer.node in self._struck_out:
            return
        if peer.is_up:
            self.links.want(peer.node, peer.host, peer.peer_port)
        elif not self.is_served(peer.node):
            self.links.leave_alone(peer.node)
