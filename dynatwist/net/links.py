"""All peer links of a node: one persistent connection per pair, redialled with backoff.

Of two nodes the one with the lower id dials. Who is dialled follows from gossip and the registry; see `want`. A node
that was struck out is dialled by nobody: it dials all, as long as it has something to hand off.
Which of those that greet are let in: `dynatwist.net.admission`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from dynatwist.calls import call_safely
from dynatwist.once import Once
from dynatwist.runtime import Runtime, Timer, cancel
from dynatwist.sometimes import sometimes

from .above import AboveLinks
from .admission import Admission
from .connectors import Accepted, Dialled
from .dialler import Dialler, Dialling
from .doors import Doors
from .framing import FRAME_SIZES, FrameSizes
from .heard import Wall
from .link import CALL_TIMEOUT_S, PeerLink
from .lives import Lives
from .messages import AnyMessage, Hello, Leaving, Ping, Refused
from .pulse import WATCH_S
from .replies import NoAnswer, OnReply, Reply
from .retiring import Retiring
from .told import Told

LAST_WORDS_S = 0.4
"""How long a link to a node that was struck out stays: it hears of that, and answers what it was asked."""


class PeerLinks:
    """See the module.

    :ivar doors: what has not said who it is yet.
    :ivar dialler: which nodes a link is kept to.
    """

    log = Logger()

    def __init__(self, node_id: bytes, owner: AboveLinks, runtime: Runtime) -> None:
        self._node_id = node_id
        self._owner = owner
        self._runtime = runtime
        self._links: dict[bytes, PeerLink] = {}
        self._open: dict[PeerLink, None] = {}
        self._port: Any = None
        self._sizes = FRAME_SIZES
        self._stopping = False
        self._refusals = Once()
        self.dialler = Dialler(
            node_id=node_id,
            runtime=runtime,
            is_linked=self._stays,
            is_member=owner.is_served,
            connect=self._connect,
        )
        self.doors = Doors(runtime.monotonic_s, self.dialler.is_dialled)
        self._watching: Timer | None = None
        self._retiring = Retiring(runtime, self._renew)
        self._told = Told()
        self._lives = Lives()
        self._admission = Admission(node_id, owner, self._lives)

    def bound(self, sizes: FrameSizes) -> None:
        """Send and take frames of other sizes than the usual ones, on links that are still to come."""
        self._sizes = sizes

    def start(self, port: int) -> None:
        """Listen for peers."""
        self._port = self._runtime.network.listen(port, Accepted(self))
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
        return link is not None and not link.is_stalled

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
        return self._told.position(node)

    def clock_bound_ms(self, node: bytes, since_s: float) -> int:
        """What a peer's stamps cannot be beyond yet for what it was asked since some time, by what was heard last."""
        link, told_ms = self._links.get(node), self._told.clock_bound_ms(node, since_s)
        return max(told_ms, link.heard.clock_bound_ms(self._runtime.monotonic_s()) if link is not None else 0)

    def walls(self) -> list[tuple[bytes, Wall]]:
        """What the wall clocks of the connected peers said last."""
        return [(node, link.heard.wall) for node, link in self._links.items() if link.heard.wall is not None]

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
        self._runtime.network.connect(host, port, Dialled(self, node))

    def _stays(self, node: bytes) -> bool:
        """Whether a node has a link that is not about to end."""
        return node in self._links and self._links[node] not in self._retiring

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
        link = PeerLink(owner=self, above=self._owner, runtime=self._runtime, dialled_for=target, sizes=self._sizes)
        self._open[link] = None
        return link

    # What the links tell

    def met(self, link: PeerLink, hello: Hello) -> str | None:
        """See `LinkOwner`."""
        node = hello.member.node_id
        if self._retiring.is_outdated(link):
            return "its certificate is by a secret that was retired"
        admission, most = self._admission, self.doors.limits.links
        refusal = admission.refusal(link, hello) or admission.make_room(node, self._links, most)
        if refusal is not None:
            return refusal
        self.doors.passed(link)
        older = self._links.get(node)
        self._links[node] = link
        link.serve(self._owner.is_served(node))
        if older is not None:
            self._remember(node, older)
        self._lives.met(hello)
        if older is not None:
            self._replace(node, older, link)
        self.dialler.linked(node)
        self._owner.linked(node, hello)
        return None

    def _replace(self, node: bytes, older: PeerLink, link: PeerLink) -> None:
        """A node has opened a new connection. If another process had the one before, it is dead, or has to be told."""
        assert older.peer is not None
        refusal = self._lives.refusal(older.peer)
        if refusal is not None:
            older.leave(Refused(refusal))
        elif older.secrets == link.secrets:
            older.abort()
        else:
            self._retiring.end(older)

    # Secrets and members

    def go_by(self, secrets: tuple[str, ...]) -> None:
        """The names of the cluster's secrets from now on: links that others have authenticated end within a second.

        What was asked on them is answered meanwhile; whoever dials has replaced them by then.
        """
        self._retiring.go_by(secrets, self._open)

    def _renew(self, node: bytes) -> None:
        if self._links.get(node) in self._retiring:
            self.dialler.renew(node)

    def members_changed(self) -> None:
        """Who is a member is another question now."""
        for node, link in self._links.items():
            link.serve(self._owner.is_served(node))
        self._told.keep_members(self._owner.is_served)

    def _remember(self, node: bytes, link: PeerLink) -> None:
        """What a connection that ends had told of a member."""
        if link.is_served:
            self._told.keep(node, link, self._runtime.monotonic_s())
            self._lives.heard(node, link.word())

    def answered(self, link: PeerLink) -> None:
        """See `LinkOwner`."""
        assert link.peer is not None
        node, hello = link.peer.member.node_id, link.peer
        if self._lives.answered(node, link.word()):
            sometimes("two processes run as one node")
            refusal = self._lives.refusal(hello)
            assert refusal is not None
            link.refuse(refusal)

    def received(self, link: PeerLink, message: AnyMessage, respond: Callable[[AnyMessage], None] | None) -> None:
        """See `LinkOwner`."""
        assert link.peer is not None
        node = link.peer.member.node_id
        if self._links.get(node) is not link and (respond is None or link not in self._retiring):
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
        self._retiring.gone(link)
        if link.refusal and self._refusals.is_new(link.refusal):
            self.log.warn("peer link refused: {reason}", reason=link.refusal)
        node = link.dialled_for
        if link.peer is not None and self._links.get(link.peer.member.node_id) is link:
            node = link.peer.member.node_id  # whoever had dialled this one: it was the link that is missing now
            del self._links[node]
            self._remember(node, link)
            self._owner.unlinked(node)
        if node is not None:
            self.dialler.redial(node)
