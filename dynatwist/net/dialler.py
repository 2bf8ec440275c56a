"""Dialling: which nodes this one keeps a link to, and when it tries again.

Of two nodes the one with the lower id dials, unless told otherwise; see `Dialling`. If that one does not for a while,
the other one dials: it may have been struck out while it was cut off, and then nobody dials it to say so. A node that
has just started dials sooner, since those that tried while it was away wait out their backoff. Nodes that are no
members are dialled only so often (`dynatwist.net.dials`): gossip may name any number of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dynatwist.runtime import Runtime, Timer, cancel

from .dials import Dials

FIRST_BACKOFF_S = 0.05
"""A connection that was only cut is back at once; the wait doubles from here."""
MAX_BACKOFF_S = 2.0
"""A node that is back is linked within two seconds, and one that is gone costs a connection in so long."""

OVERDUE_S = 6.0
"""So long a node waits to be dialled: whoever is to dial it tries again after three seconds at most."""
FIRST_OVERDUE_S = 0.2
"""The same for a node that has met another one just now: where both have, the one that is to dial does it sooner."""


class Dialling(Enum):
    """Whom a node dials."""

    HIGHER = "nodes with higher ids"
    ALL = "all"
    NOBODY = "nobody"


@dataclass(slots=True)
class _Target:
    """A node to be dialled.

    :ivar is_overdue: whether it was to dial this one, and has not for a while.
    :ivar is_new: whether it was neither linked nor dialled yet.
    """

    host: str
    port: int
    backoff_s: float = FIRST_BACKOFF_S
    failures: int = 0
    timer: Timer | None = None
    dialling: bool = False
    is_overdue: bool = False
    is_new: bool = True


class Dialler:
    """See the module.

    :param is_linked: whether a node has a link that stays.
    :param is_member: whether a node is a member.
    :param connect: dials an address, for a node or, with ``None``, for whoever is there.
    :ivar dials: how often nodes are dialled that are no members.
    """

    def __init__(
        self,
        *,
        node_id: bytes,
        runtime: Runtime,
        is_linked: Callable[[bytes], bool],
        is_member: Callable[[bytes], bool],
        connect: Callable[[str, int, bytes | None], Any],
    ) -> None:
        self._node_id = node_id
        self._runtime = runtime
        self._is_linked = is_linked
        self._is_member = is_member
        self._connect = connect
        self._targets: dict[bytes, _Target] = {}
        self._whom = Dialling.HIGHER
        self._is_stopping = False
        self.dials = Dials(runtime.monotonic_s)

    def stop(self) -> None:
        """Dial nobody any more."""
        self._is_stopping = True
        for target in self._targets.values():
            cancel(target.timer)

    def want(self, node: bytes, host: str, port: int) -> None:
        """Keep a link to a node; called again when its address is news, which also cuts the backoff short."""
        if self._is_stopping or node == self._node_id:
            return
        target = self._targets.get(node)
        if target is None or (target.host, target.port) != (host, port):
            if target is not None:
                cancel(target.timer)
            self._targets[node] = target = _Target(host, port, dialling=target.dialling if target else False)
        target.backoff_s = FIRST_BACKOFF_S
        cancel(target.timer)
        self._dial(node)

    def leave_alone(self, node: bytes) -> None:
        """Dial a node no more."""
        target = self._targets.pop(node, None)
        if target is not None:
            cancel(target.timer)

    def dial(self, whom: Dialling) -> bool:
        """Dial these from now on, of the nodes that are wanted.

        :returns: whether that is news.
        """
        if whom is self._whom:
            return False
        self._whom = whom
        for node in list(self._targets):
            self._dial(node)
        return True

    def is_dialled(self, host: str) -> bool:
        """Whether a node is wanted that is reached there."""
        return any(target.host == host for target in self._targets.values())

    def try_once(self, host: str, port: int) -> None:
        """Dial an address of which only the port is guessed: where gossip gets no answer, TLS tells why."""
        if not self._is_stopping:
            self._connect(host, port, None)

    # What becomes of it

    def linked(self, node: bytes) -> None:
        """A node has a link: the next time begins with short pauses again."""
        target = self._targets.get(node)
        if target is not None:
            target.backoff_s, target.failures = FIRST_BACKOFF_S, 0
            target.is_overdue = target.is_new = False

    def renew(self, node: bytes) -> None:
        """Dial a node beside its link, which is about to end."""
        target = self._targets.get(node)
        if target is not None:
            target.dialling = False
            self._dial(node)

    def redial(self, node: bytes) -> None:
        """The link to a node is gone, or did not come about: try again in a while."""
        target = self._targets.get(node)
        if target is None or self._is_stopping:
            return
        target.dialling = target.is_overdue = target.is_new = False
        target.failures += 1
        self._dial_later(node, target)

    def _dial(self, node: bytes) -> None:
        target = self._targets.get(node)
        if target is None or target.dialling or self._is_stopping or self._is_linked(node):
            return
        if not self._is_to_dial(node, target):
            if self._whom is Dialling.HIGHER:
                cancel(target.timer)
                overdue_s = FIRST_OVERDUE_S if target.is_new else OVERDUE_S
                target.timer = self._runtime.clock.callLater(overdue_s, self._dial_overdue, node)
            return
        if not self._is_member(node) and not self.dials.may(target.failures):
            self._dial_later(node, target)
            return
        target.dialling = True
        self._connect(target.host, target.port, node)

    def _dial_overdue(self, node: bytes) -> None:
        target = self._targets.get(node)
        if target is not None and self._is_member(node):
            target.is_overdue = True
        if target is not None:
            target.is_new = False
        self._dial(node)

    def _is_to_dial(self, node: bytes, target: _Target) -> bool:
        if self._whom is Dialling.HIGHER:
            return node > self._node_id or target.is_overdue
        return self._whom is Dialling.ALL

    def _dial_later(self, node: bytes, target: _Target) -> None:
        cancel(target.timer)
        delay_s = target.backoff_s * (0.5 + self._runtime.random.random())
        target.backoff_s = min(MAX_BACKOFF_S, target.backoff_s * 2)
        target.timer = self._runtime.clock.callLater(delay_s, self._dial, node)
