"""Holding a lock: taken, renewed in time, and given back; and told when it is lost.

A lock is lost when somebody else has it, and when it could not be renewed until shortly before its end, by this
process's own clock: others may take it then. Whoever must not work without it looks at `Lock.is_held`, or awaits
`Lock.lost`, and passes `Lock.fence` along with what it writes elsewhere: a store that refuses lower numbers than it has
seen refuses a holder of before, however late its write comes.

Each step has a name (`dynatwist.sansio.naming`), by which nodes know it again: a lock that was taken or renewed is
held, though the answer was lost.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import msgspec

from .errors import KvError, Unavailable
from .failover import REQUEST_TIMEOUT_S
from .naming import fresh_name
from .paths import quoted
from .session import Session
from .trail import one_id
from .world import Timer, World, beside, pause

USUAL_TTL_S = 15
RENEWALS_PER_TTL = 3
"""Two may fail before the lock is lost."""
MARGIN_S = 1.0
"""So long before the end by this process's clock the lock counts as lost: clocks drift, and work has to stop first."""
WAIT_S = 20
"""A node is asked to keep a request waiting so long; then another request takes its place."""
AGAIN_S = 0.5
"""After a node that could not tell."""
LOST = (403, 404, 409, 412)
"""Answers to a renewal that say that the lock is not held any more."""
LOST_ALREADY = ("precondition_failed", "forbidden", "not_found")
"""Codes of a renewal right after a wait: the lock that was waited for has ended before its holder heard of it."""
ENDED = "lock_ended"
"""A lock that was taken, and whose answer was lost, has ended before its holder heard of it."""


class Locked(KvError):
    """409: somebody else holds the lock."""


class LockLost(Exception):
    """The lock is not held any more, or may not be."""


class _Held(msgspec.Struct):
    version: int
    etag: str


class Lock:
    """A lock on one key of a strong table; made by `Client.lock`, used by ``async with``.

    :ivar lost: happens once the lock is lost; not when it is released.
    """

    def __init__(
        self, *, world: World, session: Session, table: str, key: str, ttl_s: int, wait_s: float | None, note: Any
    ) -> None:
        self._world = world
        self._session = session
        self._path = f"/{quoted(table)}/lock/{quoted(key)}"
        self._ttl_s = ttl_s
        self._wait_s = wait_s
        self._note = note
        self._held: _Held | None = None
        self._fence = 0
        self._until_s = 0.0
        self._renewal: tuple[str, float] | None = None
        self._timers: list[Timer] = []
        self._lost = world.waiter()
        self._over = world.waiter()

    @property
    def lost(self) -> Any:
        """To be awaited; see the class."""
        return self._lost.awaited

    @property
    def is_lost(self) -> bool:
        """Whether that has happened."""
        return self._lost.has_happened

    @property
    def fence(self) -> int:
        """The fencing number: greater than that of every holder before."""
        return self._fence

    @property
    def is_held(self) -> bool:
        """Whether nobody else can have it now, by this process's clock."""
        return self._held is not None and self._world.now_s() < self._until_s

    def check(self) -> None:
        """Go on only with the lock.

        :raises LockLost: when it is not held any more.
        """
        if not self.is_held:
            raise LockLost(f"{self._path} is not held any more")

    async def acquire(self) -> Lock:
        """Take it, or wait until it is free.

        :raises Locked: when the time to wait is over.
        """
        with one_id(self._world.random):
            return await self._acquired()

    async def _acquired(self) -> Lock:
        seconds = self._world.now_s
        until_s = seconds() + self._wait_s if self._wait_s is not None else float("inf")
        name, begun_s = fresh_name(self._world.random), seconds()
        while True:
            wait_s = int(min(WAIT_S, max(0.0, until_s - seconds())))
            try:
                body = await self._take(name, wait_s)
                await self._begin(body, begun_s)
                return self
            except KvError as error:
                may_wait = seconds() < until_s
                if not (isinstance(error, Unavailable) and error.code == "uncertain"):
                    name, begun_s = (
                        fresh_name(self._world.random),
                        seconds(),
                    )  # else it may be taken, and is found by the same name
                if error.status == 409 and error.code in ("locked", ENDED):
                    if not may_wait:
                        raise Locked(error.status, error.code, str(error)).of_request(error.request_id) from None
                elif may_wait and (isinstance(error, Unavailable) or error.code in LOST_ALREADY):
                    await pause(self._world, AGAIN_S)
                else:
                    raise

    async def _take(self, name: str, wait_s: int) -> bytes:
        """Ask for it once; whoever waits goes on by itself where the answer is lost."""
        told, limit_s = {"ttl": self._ttl_s, "note": self._note}, wait_s + REQUEST_TIMEOUT_S
        return await self._ask(f"?wait={wait_s}", told, name, timeout_s=limit_s, repeatable=not wait_s)

    async def _begin(self, body: bytes, begun_s: float) -> None:
        """Hold it. Some time after the request was begun nobody here knows when it was taken: renewing it tells."""
        held = msgspec.json.decode(body, type=_Held)
        self._fence, self._renewal = held.version, None
        if self._world.now_s() - begun_s > MARGIN_S / 2:
            begun_s = self._world.now_s()
            body = await self._ask("/renew", {"ttl": self._ttl_s}, fresh_name(self._world.random), held.etag)
        self._hold(body, begun_s)

    def _hold(self, body: bytes, begun_s: float) -> None:
        self._held = msgspec.json.decode(body, type=_Held)
        self._until_s = begun_s + self._ttl_s - MARGIN_S
        self._stop()
        ends = self._world.later(max(0.0, self._until_s - self._world.now_s()), self._lose)
        self._timers = [ends, self._world.later(self._ttl_s / RENEWALS_PER_TTL, self._renew)]

    async def _ask(
        self,
        what: str,
        body: Any,
        name: str,
        etag: str = "",
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
        repeatable: bool = True,
    ) -> bytes:
        headers = {"Idempotency-Key": name, **({"If-Match": f'"{etag}"'} if etag else {})}
        return await self._session.request(
            "POST",
            self._path + what,
            msgspec.json.encode(body),
            headers,
            timeout_s=timeout_s,
            repeatable=repeatable,
        )

    def _renew(self) -> None:
        beside(self._world, self._keep_renewing())

    async def _keep_renewing(self) -> None:
        held, began_s = self._held, self._world.now_s()
        await self._try_to_renew()
        if self._held is not None and self._held is held:  # it was not renewed: once more, when it is time again
            wait_s = max(0.0, self._ttl_s / RENEWALS_PER_TTL - (self._world.now_s() - began_s))
            self._timers.append(self._world.later(wait_s, self._renew))

    async def _try_to_renew(self) -> None:
        held = self._held
        if held is None:
            return
        if self._renewal is None:  # else the one before may have been made, and its answer was lost
            self._renewal = fresh_name(self._world.random), self._world.now_s()
        name, begun_s = self._renewal
        try:
            body = await self._ask("/renew", {"ttl": self._ttl_s}, name, held.etag)
        except KvError as error:
            if not isinstance(error, Unavailable):
                self._lose()
            elif error.code != "uncertain":
                self._renewal = None
        else:
            self._renewal = None
            if self._held is held:
                self._hold(body, begun_s)

    def _lose(self) -> None:
        if self._held is not None:
            self._held = None
            self._stop()
            self._lost.happen()
            self._over.happen(True)

    def _stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    async def wait_lost(self) -> bool:
        """Until the lock is lost, which this answers, or released."""
        is_lost: bool = await self._over.awaited
        return is_lost

    async def release(self) -> None:
        """Give it back; whoever waits has it at once. One that is lost stays as it is."""
        held, self._held = self._held, None
        self._over.happen(False)
        self._stop()
        if held is not None:
            try:
                await self._ask("/release", {}, fresh_name(self._world.random), held.etag)
            except KvError as error:
                if error.status not in LOST and not isinstance(error, Unavailable):
                    raise

    async def __aenter__(self) -> Lock:
        return await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()
