"""Messages of other nodes on their way to whoever registered for their kind.

A *call* is answered, a *notice* is not. Who is no member is served a few kinds only (`dynatwist.cluster.served`). A
call that went by an older registry is answered with the newer one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from dynatwist.calls import call_each
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import AnyMessage, Unable
from dynatwist.sometimes import sometimes

from .ownership import Ownership
from .served import NOT_A_MEMBER, TO_ANYBODY, TO_STRUCK_OUT

Respond = Callable[[AnyMessage], None]
Handler = Callable[[Arrival, Any, Respond], None]
Notice = Callable[[Arrival, Any], None]
M = TypeVar("M")


class Switchboard:
    """See the module.

    :ivar refused: messages of nodes that are no members, which they are not served.
    :ivar on_stranger: called with a message of a node that is no member and is refused.
    """

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self._calls: dict[type[Any], Handler] = {}
        self._notices: dict[type[Any], Notice] = {}
        self._is_stopping = False
        self.refused = 0
        self.on_stranger: list[Callable[[bytes, AnyMessage], None]] = []

    @property
    def calls(self) -> frozenset[type[Any]]:
        """The kinds that are answered."""
        return frozenset(self._calls)

    @property
    def notices(self) -> frozenset[type[Any]]:
        """The kinds that are heard and not answered."""
        return frozenset(self._notices)

    def on_call(self, kind: type[M], handler: Callable[[Arrival, M, Respond], None]) -> None:
        """Register who answers a kind of call."""
        self._calls[kind] = handler

    def on_notice(self, kind: type[M], handler: Callable[[Arrival, M], None]) -> None:
        """Register who hears a kind of one-way message."""
        self._notices[kind] = handler

    def go_by(self, ownership: Ownership) -> None:
        """Another version of the registry: it says who is a member."""
        self._ownership = ownership

    def stop_answering(self) -> None:
        """This node is on its way out: calls are refused, so that peers ask others at once."""
        self._is_stopping = True

    def handle(self, arrival: Arrival, message: AnyMessage, respond: Respond | None) -> None:
        """A call (with `respond`) or a notice."""
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
        self.refused += 1
        call_each(self.on_stranger, node, message)
        if respond is not None:
            respond(Unable(NOT_A_MEMBER))
