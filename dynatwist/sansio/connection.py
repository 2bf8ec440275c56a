"""A websocket to a cluster: to one node, and when that is lost, to the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import Forbidden, KvError, NotFound, Unauthorized
from .session import ENDED, Session
from .world import ELSEWHERE, Fields, Socket, Waiter, World, beside

FIRST_PAUSE_S = 0.1
"""Before the next node is tried, at most, so that a cluster that restarts is not hammered."""
MAX_PAUSE_S = 2.0
"""A listener misses no more than this after its cluster is back."""
PING_S = 10.0
"""Between two pings; a node that does not answer one for as long is left for the next one."""

REFUSALS = (
    "no_token", "bad_token", "forbidden", "another_user", "malformed", "bad_table", "bad_key", "bad_prefix",
    "reserved_table", "system_table", "not_an_object", "unknown_op",
)  # fmt: skip
"""What no other node would answer otherwise. After anything else the next one is asked."""


class Connection:
    """See the module. It connects at once, and whenever a connection is lost, until it is closed.

    :param urls: of the nodes, the first to be tried first.
    :param opened: called when one stands; a token was shown on it.
    :param received: called with each message.
    :param ping_s: see `PING_S`.
    """

    def __init__(
        self,
        world: World,
        session: Session,
        urls: list[str],
        *,
        opened: Callable[[], None],
        received: Callable[[dict[str, Any]], None],
        ping_s: float = PING_S,
    ) -> None:
        self._world = world
        self._session = session
        self._urls = list(urls)
        self._opened = opened
        self._received = received
        self._ping_s = ping_s
        self._socket: Socket | None = None
        self._pause_s = FIRST_PAUSE_S
        self._is_over = False
        self._closing: Waiter | None = None
        self._shown: str | None = None
        self._is_connecting = False
        self._is_renewing = False
        self._connect()

    def send(self, fields: Fields) -> None:
        """Send a message, if a connection stands."""
        if self._socket is not None:
            self._socket.send(fields)

    def settle(self) -> None:
        """The node serves: if it is lost, the next one is tried without delay."""
        self._pause_s = FIRST_PAUSE_S

    def drop(self) -> None:
        """Leave this node for the next one."""
        if self._socket is not None:
            self._socket.close(ELSEWHERE)

    def renews(self, code: str) -> bool:
        """Whether a refusal is mended by logging in again: that is done then, and a connection made anew.

        :param code: of the refusal.
        """
        if self._is_renewing:  # what follows on the refused token is refused too, and means nothing
            return True
        if code != ENDED or not self._session.can_renew:
            return False
        self._is_renewing = True
        beside(self._world, self._renew())
        return True

    async def _renew(self) -> None:
        try:
            await self._session.renew(self._shown)
        except (Unauthorized, Forbidden, NotFound):
            self._session.give_up(self._shown)  # the secret is none any more: the next connection is told so, for good
        except KvError:
            pass  # no node could tell; the next connection tries again
        self.drop()

    def close(self) -> Waiter:
        """End it, saying goodbye; happens when the node has heard that, or is lost."""
        self._is_over = True
        if self._closing is None:
            self._closing = self._world.waiter()
            if self._socket is not None:
                self._socket.close()
            elif not self._is_connecting:
                self._closing.happen()
        return self._closing

    def _connect(self) -> None:
        if not self._is_over:
            self._is_connecting = True
            self._world.connect(self._urls[0], self, self._ping_s)

    def opened(self, socket: Socket) -> None:
        """See `Ends`."""
        self._is_connecting = self._is_renewing = False
        self._socket = socket
        if self._is_over:
            socket.close()
            return
        self._shown = self._session.token
        if self._shown is not None:
            self.send({"op": "auth", "id": 1, "token": self._shown})
        self._opened()

    def received(self, fields: dict[str, Any]) -> None:
        """See `Ends`."""
        self._received(fields)

    def closed(self) -> None:
        """See `Ends`."""
        self._socket, self._is_connecting = None, False
        if self._closing is not None:
            self._closing.happen()
        if not self._is_over:
            self._urls.append(self._urls.pop(0))
            self._world.later(self._world.random.uniform(self._pause_s / 2, self._pause_s), self._connect)
            self._pause_s = min(MAX_PAUSE_S, self._pause_s * 2)
