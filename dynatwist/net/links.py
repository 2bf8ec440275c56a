"""All peer links of a node: one persistent connection per pair, redialled with backoff.

Of two nodes the one with the lower id dials. Who is dialled follows from gossip and the registry; see `want`. A node
that was struck out is dialled by nobody: it dials all, as long as it has something to hand off.

A *guest* is a peer that has the cluster key and is no member: one that wants to join, or was struck out. There are only
so many, and the oldest one goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.protocol import Factory
from twisted.logger import Logger

from dynatwist.calls import call_safely
from dynatwist.runtime import Runtime, Timer, cancel
from dynatwist.sometimes import sometimes

from .arrival import Arrival
from .dialler import Dialler, Dialling
from .doors import Doors
from .framing import FRAME_SIZES
from .link import CALL_TIMEOUT_S, WATCH_S, Above, PeerLink, Wall
from .lives import Lives, Word
from .messages import AnyMessage, Hello, Leaving, Ping, Refused
from .replies import NoAnswer, OnReply, Reply

MAX_GUESTS = 64
"""Links of nodes that are no members, in a cluster that was founded: more do not join at once."""
MAX_SAID = 64
"""Reasons of refusals that are remembered, so that each is logged once; a peer can make up any number."""
RENEW_S = (0.1, 0.3)
"""When a link is replaced that a retired secret has authenticated: once the other end has retired it too."""
RETIRE_S = 0.8
"""How long such a link goes on: what was asked on it is answered meanwhile, on both ends."""
LAST_WORDS_S = 0.4
"""How long a link to a node that was struck out stays: it hears of that, and answers what it was asked."""


class LinksOwner(Above, Protocol):
    """What the links ask of, and tell to, the node above."""

    def judge(self, hello: Hello) -> str | None:
        """Why a peer is refused, or ``None``."""

    def is_served(self, node: bytes) -> bool:
        """Whether a node is a member."""

    @property
    def is_founded(self) -> bool:
        """Whether this node is in a cluster; before that nobody is a member."""

    def linked(self, node: bytes, hello: Hello) -> None:
        """A peer is connected."""

    def unlinked(self, node: bytes) -> None:
        """A peer's connection is gone."""

    def reachability_changed(self, node: bytes) -> None:
        """A peer stalled or came back."""

    def handle(self, arrival: Arrival, message: AnyMessage, respond: Callable[[AnyMessage], None] | None) -> None:
        """A call (with `respond`) or a one-way message."""


class _Connector(Factory):
    """Builds links, on either side; told by the network when a connection fails."""

    noisy = False

    def __init__(self, links: PeerLinks, target: bytes | None) -> None:
        self._links = links
        self._target = target

    def buildProtocol(self, addr: Any) -> PeerLink | None:
        return self._links.build(self._target)

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self._links.dial_failed(self._target, reason)

    def startedConnecting(self, connector: Any) -> None:
        pass

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:
        pass


class _Accepting(_Connector):
    """Builds links for those who dial this node, as far as there is room."""

    def buildProtocol(self, addr: Any) -> PeerLink | None:
        return self._links.accept(getattr(addr, "host", ""))


class PeerLinks:
    """See the module.

    :ivar frame_sizes: of the links that are still to come.
    :ivar doors: what has not said who it is yet.
    :ivar dialler: which nodes a link is kept to.
    """

    log = Logger()

    def __init__(self, node_id: bytes, owner: LinksOwner, runtime: Runtime) -> None:
        self._node_id = node_id
        self._owner = owner
        self._runtime = runtime
        self._links: dict[bytes, PeerLink] = {}
        self._open: dict[PeerLink, None] = {}
        self._port: Any = None
        self.frame_sizes = FRAME_SIZES
        self._stopping = False
        self._said: set[str] = set()
        self._secrets: tuple[str, ...] | None = None
        self._ending: set[PeerLink] = set()
        self.dialler = Dialler(
            node_id=node_id,
            runtime=runtime,
            is_linked=self._stays,
            is_member=owner.is_served,
            connect=self._connect,
        )
        self.doors = Doors(runtime.monotonic_s, self.dialler.is_dialled)
        self._watching: Timer | None = None
        self._clock_bounds_ms: dict[bytes, tuple[int, float]] = {}
        self._positions: dict[bytes, tuple[int, int]] = {}
        self._lives = Lives()

    def start(self, port: int) -> None:
        """Listen for peers."""
        self._port = self._runtime.network.listen(port, _Accepting(self, None))
        self._watch()

    def _watch(self) -> None:
        """One timer for all links."""
        self._watching = self._runtime.clock.callLater(WATCH_S, self._watch)
        now_s = self._runtime.monotonic_s()
        for link in tuple(self._open):
            call_safely(link.watch, now_s)

    def stop(self) -> None:
        """Say goodbye, close all links and the port."""
        self._stopping = True
        cancel(self._watching)
        self.dialler.stop()
        if self._port is not None:
            self._port.stopListening()
        for link in list(self._open):
            if link.peer is not None:
                link.tell(Leaving())
            link.close()

    # State

    def is_reachable(self, node: bytes) -> bool:
        """Whether a request to the node has a fair chance now."""
        link = self._links.get(node)
        return link is not None and not link.stalled

    def linked(self) -> list[bytes]:
        """The connected peers, in order."""
        return sorted(self._links)

    def address(self, node: bytes) -> tuple[str, int] | None:
        """Host and port of a connected peer, as it says itself: what others name in ``--join``."""
        link = self._links.get(node)
        return (link.peer.member.host, link.peer.member.port) if link is not None and link.peer is not None else None

    def hello_of(self, node: bytes) -> Hello | None:
        """How a connected peer has greeted."""
        link = self._links.get(node)
        return link.peer if link is not None else None

    def pending(self) -> int:
        """Calls that are not answered yet."""
        return sum(link.pending for link in self._open)

    def rtt_ms(self, node: bytes) -> float | None:
        """The last measured round trip to a connected peer."""
        link = self._links.get(node)
        return link.rtt_ms if link is not None else None

    def position(self, node: bytes) -> tuple[int, int]:
        """How far a peer's log was durable by what it said last, before its present connection."""
        return self._positions.get(node, (0, 0))

    def clock_bound_ms(self, node: bytes) -> int:
        """What a peer's hybrid time cannot be beyond yet, by what was heard of it last; 0 when nothing was."""
        link = self._links.get(node)
        former_ms, at_s = self._clock_bounds_ms.get(node, (0, 0.0))
        if self._runtime.monotonic_s() - at_s > CALL_TIMEOUT_S:
            former_ms = 0  # nothing that was asked on that connection is carried out any more
        return max(former_ms, link.clock_bound_ms if link is not None else 0)

    def walls(self) -> list[tuple[bytes, Wall]]:
        """What the wall clocks of the connected peers said last."""
        return [(node, link.wall) for node, link in self._links.items() if link.wall is not None]

    def refuse_record(self, node: bytes, flaw: str) -> None:
        """Say that a record of a peer was left out, where that was not said yet."""
        link = self._links.get(node)
        if link is not None:
            link.refuse_record(flaw)

    # Traffic

    def call(
        self,
        node: bytes,
        message: AnyMessage,
        on_reply: OnReply,
        on_stall: Callable[[], None] | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        """Send a call to a peer; `NoAnswer.UNSENT` comes back at once when it is not connected."""
        link = self._links.get(node)
        if link is None:
            on_reply(NoAnswer.UNSENT)
        else:
            link.call(message, on_reply, on_stall, timeout_s)

    def ask(
        self,
        node: bytes,
        message: AnyMessage,
        on_reply: OnReply,
        on_stall: Callable[[], None] | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        """Call a peer with what may arrive twice: if the peer opens a new connection before it has answered, it is
        asked again on that one, since it counts as reachable and nobody would know why it is silent."""
        link = self._links.get(node)

        def replied(reply: Reply) -> None:
            if isinstance(reply, NoAnswer) and self._links.get(node, link) is not link:
                sometimes("a peer that opened a new connection is asked again")
                self.ask(node, message, on_reply, on_stall, timeout_s)
            else:
                on_reply(reply)

        self.call(node, message, replied, on_stall, timeout_s)

    def ping(self, node: bytes, answered: Callable[[], None]) -> None:
        """Ask a peer whether it is there; nothing happens if it is not, or not connected."""

        def replied(reply: Reply) -> None:
            if not isinstance(reply, NoAnswer):
                answered()

        self.call(node, Ping(), replied)

    def tell(self, node: bytes, message: AnyMessage) -> None:
        """Send a one-way message, if the peer is connected."""
        link = self._links.get(node)
        if link is not None:
            link.tell(message)

    def tell_all(self, message: AnyMessage) -> None:
        """Send a one-way message to every connected peer."""
        for node in self.linked():
            self._links[node].tell(message)

    # Dialling

    def unwant(self, node: bytes) -> None:
        """The node is gone for good: it is not dialled any more, and its link ends in a moment."""
        self.dialler.leave_alone(node)
        self.end_after(node, LAST_WORDS_S)

    def end_after(self, node: bytes, wait_s: float) -> None:
        """Close a peer's present link in a while."""
        link = self._links.get(node)
        if link is not None:
            self._runtime.clock.callLater(wait_s, link.close)

    def dial(self, whom: Dialling) -> None:
        """Dial these from now on, of the nodes that are wanted; nobody: the links end as well."""
        if self.dialler.dial(whom) and whom is Dialling.NOBODY:
            for link in list(self._links.values()):
                link.close()

    def _connect(self, host: str, port: int, node: bytes | None) -> None:
        self._runtime.network.connect(host, port, _Connector(self, node))

    def _stays(self, node: bytes) -> bool:
        """Whether a node has a link that is not about to end."""
        return node in self._links and self._links[node] not in self._ending

    def dial_failed(self, node: bytes | None, reason: Any) -> None:
        """The network could not connect."""
        if node is not None:
            self.dialler.redial(node)

    def accept(self, host: str) -> PeerLink | None:
        """A link for a connection that somebody made to this node; ``None`` if it is to be closed at once."""
        if self._stopping or not self.doors.lets_in(host):
            return None
        link = self.build(None)
        self.doors.enter(link, host)
        return link

    def build(self, target: bytes | None) -> PeerLink:
        """A link for a new connection."""
        link = PeerLink(
            owner=self, above=self._owner, runtime=self._runtime, dialled_for=target, sizes=self.frame_sizes
        )
        self._open[link] = None
        return link

    # What the links tell

    def met(self, link: PeerLink, hello: Hello) -> str | None:
        """See `LinkOwner`."""
        node = hello.member.node_id
        name = getattr(link.transport, "peer_node_id", None)
        if name is not None and name != node:
            return "the certificate names another node"
        if node == self._node_id:
            return "that is this node's own id: was its data folder copied?"
        if self._is_outdated(link):
            return "its certificate is by a secret that was retired"
        refusal = (
            self._lives.refusal(node, hello.epoch, hello.member.address)
            or self._owner.judge(hello)
            or self._crowded(node)
        )
        if refusal is not None:
            return refusal
        self.doors.passed(link)
        older = self._links.get(node)
        self._links[node] = link
        link.serve(self._owner.is_served(node))
        if older is not None:
            self._remember(node, older)
        self._lives.met(node, hello.epoch)
        if older is not None:
            self._replace(node, older, link)
        self.dialler.linked(node)
        self._owner.linked(node, hello)
        return None

    def _replace(self, node: bytes, older: PeerLink, link: PeerLink) -> None:
        """A node has opened a new connection. If another process had the one before, it is dead, or has to be told."""
        assert older.peer is not None
        refusal = self._lives.refusal(node, older.peer.epoch, older.peer.member.address)
        if refusal is not None:
            older.leave(Refused(refusal))
        elif older.secrets == link.secrets:
            older.abort()
        else:
            self._end(older)

    # Secrets

    def go_by(self, secrets: tuple[str, ...]) -> None:
        """The names of the cluster's secrets from now on: links that others have authenticated end within a second.

        What was asked on them is answered meanwhile; whoever dials has replaced them by then.
        """
        self._secrets = secrets
        for link in [link for link in self._open if self._is_outdated(link)]:
            self._end(link)
            if link.peer is not None:
                node = link.peer.member.node_id
                self._runtime.clock.callLater(self._runtime.random.uniform(*RENEW_S), self._renew, node)

    def _renew(self, node: bytes) -> None:
        if self._links.get(node) in self._ending:
            self.dialler.renew(node)

    def _is_outdated(self, link: PeerLink) -> bool:
        return self._secrets is not None and not link.secrets.issubset(self._secrets)

    def _end(self, link: PeerLink) -> None:
        """Let a link answer what it was asked, and no more."""
        if link not in self._ending:
            self._ending.add(link)
            self._runtime.clock.callLater(RETIRE_S, link.abort)

    # Members and guests

    def _guests(self) -> list[bytes]:
        """Peers that are no members, the one first whose link is oldest."""
        guests = [node for node, link in self._links.items() if not link.is_served]
        return sorted(guests, key=lambda node: self._links[node].began_s)

    def _crowded(self, node: bytes) -> str | None:
        """Why there is no room for one more peer; a guest goes for it where one can."""
        if node in self._links:
            return None
        guests = self._guests() if self._owner.is_founded else []
        is_full = len(self._links) >= self.doors.limits.links
        if is_full and not guests:
            return f"this node has {len(self._links)} links, which is its --max-peer-links"
        if is_full or (len(guests) >= MAX_GUESTS and not self._owner.is_served(node)):
            sometimes("a guest has to go, since there are too many")
            self._links[guests[0]].abort()
        return None

    def members_changed(self) -> None:
        """Who is a member is another question now."""
        for node, link in self._links.items():
            link.serve(self._owner.is_served(node))
        for node in [node for node in self._positions if not self._owner.is_served(node)]:
            del self._positions[node], self._clock_bounds_ms[node]

    def _remember(self, node: bytes, link: PeerLink) -> None:
        """What a connection that ends had told of a member."""
        if not link.is_served:
            return
        self._clock_bounds_ms[node] = link.clock_bound_ms, self._runtime.monotonic_s()
        self._positions[node] = max(self.position(node), link.position)
        if link.peer is not None:
            self._lives.heard(node, Word(link.peer.epoch, link.sent_ms, link.position))

    def answered(self, link: PeerLink) -> None:
        """See `LinkOwner`."""
        assert link.peer is not None
        node, hello = link.peer.member.node_id, link.peer
        if self._lives.answered(node, Word(hello.epoch, link.sent_ms, link.position)):
            sometimes("two processes run as one node")
            refusal = self._lives.refusal(node, hello.epoch, hello.member.address)
            assert refusal is not None
            link.refuse(refusal)

    def received(self, link: PeerLink, message: AnyMessage, respond: Callable[[AnyMessage], None] | None) -> None:
        """See `LinkOwner`."""
        assert link.peer is not None
        node = link.peer.member.node_id
        if self._links.get(node) is not link and (respond is None or link not in self._ending):
            return
        self._owner.handle(link.arrival(), message, respond)

    def changed(self, link: PeerLink) -> None:
        """See `LinkOwner`."""
        assert link.peer is not None
        if self._links.get(link.peer.member.node_id) is link:
            self._owner.reachability_changed(link.peer.member.node_id)

    def closed(self, link: PeerLink) -> None:
        """See `LinkOwner`."""
        self._open.pop(link, None)
        self.doors.gone(link)
        self._ending.discard(link)
        if link.refusal and link.refusal not in self._said and len(self._said) < MAX_SAID:
            self._said.add(link.refusal)
            self.log.warn("peer link refused: {reason}", reason=link.refusal)
        node = link.dialled_for
        if link.peer is not None and self._links.get(link.peer.member.node_id) is link:
            node = link.peer.member.node_id  # whoever had dialled this one: it was the link that is missing now
            del self._links[node]
            self._remember(node, link)
            self._owner.unlinked(node)
        if node is not None:
            self.dialler.redial(node)
