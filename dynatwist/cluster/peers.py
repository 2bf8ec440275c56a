"""The other nodes, as far as messages go: the links to them, what comes in on those, what each says of itself."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from dynatwist.calls import call_each
from dynatwist.membership.actions import Changed
from dynatwist.membership.members import Peer
from dynatwist.membership.swim import Swim
from dynatwist.model.registry import Member, Registry
from dynatwist.net.arrival import Arrival
from dynatwist.net.framing import State
from dynatwist.net.links import PeerLinks
from dynatwist.net.messages import WIRE_VERSION, AnyMessage, Hello, Leaving, RegistryIs, Status
from dynatwist.runtime import Runtime
from dynatwist.storage.store import Store

from .greeting import refusal_of
from .identity import DurableIdentity
from .ownership import Ownership
from .statuses import Statuses
from .switchboard import M, Respond, Switchboard

HAND_OFF_S = 60.0
"""How long a link lasts that a node opens which was struck out: it may have something to hand off, and dials again."""


class Peers:
    """See the module; implements `AboveLinks`.

    :param status: what this node says of itself to a peer that is new.
    :ivar links: the connections.
    :ivar switchboard: who gets which message.
    :ivar has_met_founded: whether any peer was in a cluster already.
    :ivar on_greeted: called with a member, and what it said first, before anything else is heard from it.
    :ivar on_registry: called with a node and the registry that it tells.
    :ivar on_linked: called with a node that is linked, and was told this node's status.
    :ivar on_presented: called with a node that has said what its release knows, once on each connection.
    :ivar on_unlinked: called with a node whose connection has ended.
    :ivar on_reachability: called with a node that can be asked, or cannot, since just now.
    """

    log = Logger()

    def __init__(
        self,
        *,
        me: Member,
        identity: DurableIdentity,
        ownership: Ownership,
        store: Store,
        runtime: Runtime,
        status: Callable[[], Status],
    ) -> None:
        self._me = me
        self._identity = identity
        self._ownership = ownership
        self._store = store
        self._status = status
        self._said: Status | None = None
        self._swim: Swim | None = None
        self._statuses = Statuses()
        self._founded: set[bytes] = set()
        self.has_met_founded = False
        self.on_greeted: list[Callable[[bytes, Hello], None]] = []
        self.on_registry: list[Callable[[bytes, Registry], None]] = []
        self.on_linked: list[Callable[[bytes], None]] = []
        self.on_presented: list[Callable[[bytes], None]] = []
        self.on_unlinked: list[Callable[[bytes], None]] = []
        self.on_reachability: list[Callable[[bytes], None]] = []
        self.switchboard = Switchboard(ownership)
        self.switchboard.on_notice(
            RegistryIs, lambda arrival, message: self._registry_told(arrival.node, message.registry)
        )
        self.switchboard.on_notice(Status, lambda arrival, message: self._status_told(arrival.node, message))
        self.switchboard.on_notice(Leaving, lambda arrival, message: self._statuses.forget(arrival.node))
        self.links = PeerLinks(me.node_id, self, runtime)

    # Who they are

    @property
    def swim(self) -> Swim | None:
        """What membership knows of them."""
        return self._swim

    def gossip_with(self, swim: Swim) -> None:
        """Go by what membership finds out."""
        self._swim = swim
        swim.claims.prefer(lambda node: self._ownership.is_member(node))
        swim.claims.bar(self._ownership.struck_out)

    def go_by(self, ownership: Ownership) -> None:
        """Another version of the registry: whoever is struck out by it is served no more from now on."""
        self._ownership = ownership
        self.switchboard.go_by(ownership)
        if self._swim is not None:
            self._swim.claims.bar(ownership.struck_out)

    def tell_registry(self, registry: Registry) -> None:
        """Pass a registry on to all, and look for its members."""
        self.links.tell_all(RegistryIs(registry))
        self.links.members_changed()
        for member in (*registry.members, *registry.previous):
            if self._swim is None or not self._swim.roster.knows(member.node_id):
                self.links.dialler.want(member.node_id, member.host, member.peer_port)

    def forget(self, node: bytes) -> None:
        """A node is no member any more: its link ends once it has heard of that. While it has something to hand off, it
        dials the members."""
        self.links.unwant(node)
        if self._swim is not None:
            self._swim.claims.remove(node)

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
        if peer.node in self._ownership.struck_out:
            return
        if peer.is_up:
            self.links.dialler.want(peer.node, peer.host, peer.peer_port)
        elif not self._ownership.is_member(peer.node):
            self.links.dialler.leave_alone(peer.node)

    # What they say of themselves, and this node to them

    @property
    def founded(self) -> frozenset[bytes]:
        """The linked nodes that are in a cluster."""
        return frozenset(self._founded)

    def is_reachable(self, node: bytes) -> bool:
        """Whether a node, this one included, can be asked now."""
        return node == self._me.node_id or self.links.is_reachable(node)

    def is_whole_at(self, node: bytes, partition: int) -> bool:
        """Whether a reachable peer is known to hold all of a partition."""
        return self.links.is_reachable(node) and self._statuses.says_whole(node, partition)

    def knows_zones(self, node: bytes) -> bool:
        """Whether a node is linked, or this one, and its release goes by zones: a member that has a zone in the
        registry may have been set back to a release that does not."""
        hello = self.links.hello_of(node)
        return node == self._me.node_id or (hello is not None and hello.knows_zones)

    def is_ready_at(self, node: bytes, partition: int) -> bool:
        """Whether a reachable peer holds all of a partition and serves clients."""
        return self.links.is_reachable(node) and self._statuses.says_ready(node, partition)

    def yields(self, node: bytes) -> int:
        """How far a peer lets other owners go first; see `dynatwist.cluster.yielding`."""
        return self._statuses.yields(node)

    def is_damaged_at(self, node: bytes, partition: int) -> bool:
        """Whether a reachable peer has said that it does not hold all of a partition; one that has not said is not."""
        return self.links.is_reachable(node) and self._statuses.says_damaged(node, partition)

    def lacks_registers(self, node: bytes) -> bool:
        """Whether a peer is known to be of a release that knows no registers."""
        return self._statuses.lacks_registers(node)

    def lacks_grants(self, node: bytes) -> bool:
        """Whether a peer is known to be of a release that knows no rules of access."""
        return self._statuses.lacks_grants(node)

    def has_bookmarks(self, node: bytes) -> bool:
        """Whether a peer has said that its release knows bookmarks."""
        return self._statuses.has_bookmarks(node)

    def has_conflicts(self, node: bytes) -> bool:
        """Whether a reachable peer is known to be of a release that keeps conflicts; another one may not be asked."""
        return self.links.is_reachable(node) and self._statuses.has_conflicts(node)

    def has_table_lists(self, node: bytes) -> bool:
        """Whether a reachable peer is known to tell which tables it holds; another one may not be asked."""
        return self.links.is_reachable(node) and self._statuses.has_table_lists(node)

    def has_insight(self, node: bytes) -> bool:
        """Whether a reachable peer is known to tell how it is; another one may not be asked."""
        return self.links.is_reachable(node) and self._statuses.has_insight(node)

    def lacks_leases(self, node: bytes) -> bool:
        """Whether a peer is known to be of a release that knows no leases."""
        return self._statuses.lacks_leases(node)

    def has_backups(self, node: bytes) -> bool:
        """Whether a reachable peer is known to be of a release that takes part in backups; another one may not be
        asked."""
        return self.links.is_reachable(node) and self._statuses.has_backups(node)

    def lacks_backups(self, node: bytes) -> bool:
        """Whether a peer is known to be of a release that takes no part in backups."""
        return self._statuses.of(node) is not None and not self._statuses.has_backups(node)

    def status_of(self, node: bytes) -> Status | None:
        """What a peer has said of itself, if anything."""
        return self._statuses.of(node)

    def say(self, status: Status) -> None:
        """Tell all peers how this node is, if that has changed since they were told."""
        if status != self._said:
            self._said = status
            self.links.tell_all(status)

    # Messages

    def on_call(self, kind: type[M], handler: Callable[[Arrival, M, Respond], None]) -> None:
        """Register who answers a kind of call."""
        self.switchboard.on_call(kind, handler)

    def on_notice(self, kind: type[M], handler: Callable[[Arrival, M], None]) -> None:
        """Register who hears a kind of one-way message."""
        self.switchboard.on_notice(kind, handler)

    def handle(self, arrival: Arrival, message: AnyMessage, respond: Respond | None) -> None:
        """See `AboveLinks`."""
        self.switchboard.handle(arrival, message, respond)

    def _registry_told(self, node: bytes, registry: Registry) -> None:
        self._founded.add(node)
        self.has_met_founded = True
        call_each(self.on_registry, node, registry)

    def _status_told(self, node: bytes, status: Status) -> None:
        if self._statuses.hear(node, status):
            call_each(self.on_presented, node)

    # What the links ask and tell

    def hello(self) -> Hello:
        """See `AboveLinks`."""
        registry, identity = self._ownership.registry, self._identity
        cluster_id = registry.cluster_id if registry is not None else b""
        recovered = self._store.wal.recovered
        return Hello(WIRE_VERSION, cluster_id, self._me, identity.epoch, identity.starts, registry, recovered, True)

    def state(self) -> State:
        """See `AboveLinks`."""
        store = self._store
        wall_ms = store.wall_ms()
        return max(store.clock.mark[0], wall_ms), store.wal.position, wall_ms, store.lapse_ms

    def judge(self, hello: Hello) -> str | None:
        """See `AboveLinks`."""
        return refusal_of(hello, self._me, self._ownership)

    def is_served(self, node: bytes) -> bool:
        """See `AboveLinks`."""
        return node in self._ownership.members

    @property
    def is_founded(self) -> bool:
        """See `AboveLinks`."""
        return self._ownership.registry is not None

    def linked(self, node: bytes, hello: Hello) -> None:
        """See `AboveLinks`."""
        if self._ownership.is_member(node):
            call_each(self.on_greeted, node, hello)
        if node in self._ownership.struck_out:
            self.links.end_after(node, HAND_OFF_S)
        if hello.registry is not None:
            self._registry_told(node, hello.registry)
        registry = self._ownership.registry
        if registry is not None and (hello.registry is None or hello.registry.version < registry.version):
            self.links.tell(node, RegistryIs(registry))  # it may be newer than what was said in greeting
        self.links.tell(node, self._said or self._status())
        call_each(self.on_linked, node)

    def passed(self, lapse_ms: int) -> None:
        """See `AboveLinks`."""
        self._store.pass_by(lapse_ms)

    def unlinked(self, node: bytes) -> None:
        """See `AboveLinks`."""
        self._statuses.forget(node)
        self._founded.discard(node)
        call_each(self.on_unlinked, node)
        self.reachability_changed(node)

    def reachability_changed(self, node: bytes) -> None:
        """See `AboveLinks`."""
        call_each(self.on_reachability, node)
