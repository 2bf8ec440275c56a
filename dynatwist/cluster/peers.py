"""The other nodes, as far as messages go: the links to them, what comes in on those, and what each peer says of itself.

A message goes to whoever registered for its kind: a *call* is answered, a *notice* is not. Who is no member is served a
few kinds only (`dynatwist.cluster.served`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.logger import Logger

from dynatwist.calls import call_each
from dynatwist.membership.actions import Changed
from dynatwist.membership.members import Peer
from dynatwist.membership.swim import Swim
from dynatwist.model.registry import Member, Registry
from dynatwist.net.arrival import Arrival
from dynatwist.net.framing import State
from dynatwist.net.links import PeerLinks
from dynatwist.net.messages import WIRE_VERSION, AnyMessage, Hello, Leaving, RegistryIs, Status, Unable
from dynatwist.runtime import Runtime
from dynatwist.sometimes import sometimes
from dynatwist.storage.store import Store

from .greeting import refusal_of
from .identity import DurableIdentity
from .ownership import Ownership
from .served import NOT_A_MEMBER, TO_ANYBODY, TO_STRUCK_OUT

Respond = Callable[[AnyMessage], None]
Handler = Callable[[Arrival, Any, Respond], None]
Notice = Callable[[Arrival, Any], None]
M = TypeVar("M")
HAND_OFF_S = 60.0
"""How long a link lasts that a node opens which was struck out: it may have something to hand off, and dials again."""


class Peers:
    """See the module; implements `AboveLinks`.

    :param status: what this node says of itself to a peer that is new.
    :ivar links: the connections.
    :ivar refused_calls: messages of nodes that are no members, which they are not served.
    :ivar has_met_founded: whether any peer was in a cluster already.
    :ivar on_greeted: called with a member, and what it said first, before anything else is heard from it.
    :ivar on_registry: called with a node and the registry that it tells.
    :ivar on_linked: called with a node that is linked, and was told this node's status.
    :ivar on_unlinked: called with a node whose connection has ended.
    :ivar on_reachability: called with a node that can be asked, or cannot, since just now.
    :ivar on_stranger: called with a message of a node that is no member and is refused.
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
        self._is_stopping = False
        self._swim: Swim | None = None
        self._statuses: dict[bytes, Status] = {}
        self._founded: set[bytes] = set()
        self.has_met_founded = False
        self.refused_calls = 0
        self.on_greeted: list[Callable[[bytes, Hello], None]] = []
        self.on_registry: list[Callable[[bytes, Registry], None]] = []
        self.on_linked: list[Callable[[bytes], None]] = []
        self.on_unlinked: list[Callable[[bytes], None]] = []
        self.on_reachability: list[Callable[[bytes], None]] = []
        self.on_stranger: list[Callable[[bytes, AnyMessage], None]] = []
        self._calls: dict[type[Any], Handler] = {}
        self._notices: dict[type[Any], Notice] = {
            RegistryIs: lambda arrival, message: self._registry_told(arrival.node, message.registry),
            Status: lambda arrival, message: self._statuses.__setitem__(arrival.node, message),
            Leaving: self._leaves,
        }
        self.links = PeerLinks(me.node_id, self, runtime)

    # Who they are

    @property
    def swim(self) -> Swim | None:
        """What membership knows of them."""
        return self._swim

    def gossip_with(self, swim: Swim) -> None:
        """Go by what membership finds out."""
        self._swim = swim
        swim.is_registered = lambda node: self._ownership.is_member(node)
        swim.bar(self._ownership.struck_out)

    def go_by(self, ownership: Ownership) -> None:
        """Another version of the registry: whoever is struck out by it is served no more from now on."""
        self._ownership = ownership
        if self._swim is not None:
            self._swim.bar(ownership.struck_out)

    def tell_registry(self, registry: Registry) -> None:
        """Pass a registry on to all, and look for its members."""
        self.links.tell_all(RegistryIs(registry))
        self.links.members_changed()
        for member in (*registry.members, *registry.previous):
            if self._swim is None or not self._swim.knows(member.node_id):
                self.links.dialler.want(member.node_id, member.host, member.peer_port)

    def forget(self, node: bytes) -> None:
        """A node is no member any more: its link ends once it has heard of that. While it has something to hand off, it
        dials the members."""
        self.links.unwant(node)
        if self._swim is not None:
            self._swim.remove(node)

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
        status = self._statuses.get(node)
        return self.links.is_reachable(node) and status is not None and partition not in status.not_whole

    def is_ready_at(self, node: bytes, partition: int) -> bool:
        """Whether a reachable peer holds all of a partition and serves clients."""
        status = self._statuses.get(node)
        return status is not None and status.ready and self.is_whole_at(node, partition)

    def is_damaged_at(self, node: bytes, partition: int) -> bool:
        """Whether a reachable peer has said that it does not hold all of a partition; one that has not said is not."""
        status = self._statuses.get(node)
        return self.links.is_reachable(node) and status is not None and partition in status.not_whole

    def status_of(self, node: bytes) -> Status | None:
        """What a peer has said of itself, if anything."""
        return self._statuses.get(node)

    def say(self, status: Status) -> None:
        """Tell all peers how this node is, if that has changed since they were told."""
        if status != self._said:
            self._said = status
            self.links.tell_all(status)

    # Messages

    def on_call(self, kind: type[M], handler: Callable[[Arrival, M, Respond], None]) -> None:
        """Register who answers a kind of call."""
        self._calls[kind] = handler

    def on_notice(self, kind: type[M], handler: Callable[[Arrival, M], None]) -> None:
        """Register who hears a kind of one-way message."""
        self._notices[kind] = handler

    def stop_answering(self) -> None:
        """This node is on its way out: calls are refused, so that peers ask others at once."""
        self._is_stopping = True

    def handle(self, arrival: Arrival, message: AnyMessage, respond: Respond | None) -> None:
        """See `AboveLinks`."""
        node, kind, ownership = arrival.node, type(message), self._ownership
        if node not in ownership.members and kind not in self._served_to_no_member(node):
            self._refuse(node, message, respond)
            return
        if respond is None:
            notice = self._notices.get(kind)
            if notice is not None:
                notice(arrival, message)
            return
        version = getattr(message, "registry", None)
        if isinstance(version, int) and (stale := ownership.stale(version)) is not None:
            respond(stale)
            return
        handler = self._calls.get(kind)
        if handler is None or self._is_stopping:
            respond(Unable("stopping" if self._is_stopping else "not understood"))
            return
        handler(arrival, message, respond)

    def _served_to_no_member(self, node: bytes) -> frozenset[type[Any]]:
        return TO_STRUCK_OUT if node in self._ownership.struck_out else TO_ANYBODY

    def _refuse(self, node: bytes, message: AnyMessage, respond: Respond | None) -> None:
        sometimes("a node that is no member asks for something")
        self.refused_calls += 1
        call_each(self.on_stranger, node, message)
        if respond is not None:
            respond(Unable(NOT_A_MEMBER))

    def _registry_told(self, node: bytes, registry: Registry) -> None:
        self._founded.add(node)
        self.has_met_founded = True
        call_each(self.on_registry, node, registry)

    def _leaves(self, arrival: Arrival, message: Leaving) -> None:
        self._statuses.pop(arrival.node, None)

    # What the links ask and tell

    def hello(self) -> Hello:
        """See `AboveLinks`."""
        registry, identity = self._ownership.registry, self._identity
        cluster_id = registry.cluster_id if registry is not None else b""
        recovered = self._store.wal.recovered
        return Hello(WIRE_VERSION, cluster_id, self._me, identity.epoch, identity.starts, registry, recovered)

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
        self._statuses.pop(node, None)
        self._founded.discard(node)
        call_each(self.on_unlinked, node)
        self.reachability_changed(node)

    def reachability_changed(self, node: bytes) -> None:
        """See `AboveLinks`."""
        call_each(self.on_reachability, node)
