"""Tokens of programs: made by an administrator, for some tables and prefixes, and good until they are ended.

A service token is a number that names it and a secret of 32 random bytes; what is agreed on and kept is a hash of the
secret (BLAKE2b; there is nothing to guess, so nothing has to be slow). It is signed with nothing, so it outlives
rotations of the cluster's secret. When it was used last is told once a minute at most.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

import msgspec
from twisted.internet.defer import Deferred

from dynatwist.errors import ApiError
from dynatwist.model.record import Record
from dynatwist.model.records import Packed
from dynatwist.replication.request import Kind, Operation
from dynatwist.requests.coordinator import Coordinator
from dynatwist.storage.store import Store

from .agreed import Agreed
from .tokens import Identity, Role

SERVICES_TABLE = "_services"
USES_TABLE = "_uses"
PREFIX = "dks_"
"""Of every service token, so that people and scanners of secrets know one."""
NAME_PREFIX = "service:"
NEVER_S = 1 << 40
"""When a token ends that never does: tens of thousands of years."""
USED_EVERY_MS = 60_000
"""A use is told no more often, for each token and node: a write of a small record."""
USED_FOR_MS = 366 * 24 * 3600 * 1000
"""A use of so long ago says nothing that never does not say."""
MOST_VERIFIED = 10_000


class Grant(msgspec.Struct, frozen=True):
    """What a service token may do under one prefix of one table.

    :ivar rights: of `dynatwist.model.access.RIGHTS`.
    """

    table: str
    prefix: str = ""
    rights: tuple[str, ...] = ()


class Service(msgspec.Struct, frozen=True):
    """What is kept of a service token.

    :ivar hash: of its secret.
    :ivar created_ms: when it was made, by the wall clock.
    :ivar expires_ms: when it ends; 0 for never.
    """

    name: str
    hash: bytes
    access: tuple[Grant, ...]
    created_ms: int
    expires_ms: int = 0


_decode = msgspec.json.Decoder(Service).decode


def service_of(record: Record | None) -> Service | None:
    """The service token that a record is; ``None`` for none, or a deleted one."""
    return _decode(record.value) if record is not None and record.value is not None else None


class Services:
    """See the module.

    :param wall_ms: the wall clock.
    """

    def __init__(
        self,
        store: Store,
        agreed: Agreed[Service],
        coordinator: Coordinator,
        wall_ms: Callable[[], int],
        randbytes: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._agreed = agreed
        self._coordinator = coordinator
        self._wall_ms = wall_ms
        self._randbytes = randbytes
        self._verified: OrderedDict[str, tuple[Packed, Identity]] = OrderedDict()
        self._used_ms: dict[str, int] = {}

    # Whose a token is

    def verify(self, token: str) -> Identity | None:
        """Whose service token it is; ``None`` when it is none, or not any more."""
        number = token[len(PREFIX) :].partition("_")[0]
        packed = self._agreed.kept(number)
        known = self._verified.get(token)
        if known is None or known[0] is not packed:
            identity = self._checked(token, number)
            if identity is None or packed is None:
                self._verified.pop(token, None)
                return None
            known = self._verified[token] = packed, identity
            while len(self._verified) > MOST_VERIFIED:
                self._verified.popitem(last=False)
        now_ms = self._wall_ms()
        if now_ms >= known[1].expires_s * 1000:
            return None
        if now_ms - self._used_ms.get(number, 0) >= USED_EVERY_MS:
            self._note_use(number, now_ms)
        return known[1]

    def _checked(self, token: str, number: str) -> Identity | None:
        service = self._agreed.held(number)
        if service is None or not hmac.compare_digest(service.hash, _hash(token)):
            return None
        return _identity(number, service)

    def named(self, name: str) -> list[Identity]:
        """The tokens that have a name, or this number, as if just shown."""
        found = [(number, one) for number, one in self._agreed.page("", MOST_VERIFIED) if name in (number, one.name)]
        return [_identity(number, service) for number, service in found]

    def is_current(self, identity: Identity) -> bool:
        """Whether a service token counts, that was verified once."""
        return self._agreed.held(number_of(identity)) is not None and self._wall_ms() < identity.expires_s * 1000

    def grants(self, identity: Identity) -> tuple[Grant, ...]:
        """What a service token may do."""
        service = self._agreed.held(number_of(identity))
        return service.access if service is not None else ()

    def kept(self, identity: Identity) -> Packed | None:
        """What is kept of a service token: another object when that has changed."""
        return self._agreed.kept(number_of(identity))

    # When it was used

    def _note_use(self, number: str, now_ms: int) -> None:
        if len(self._used_ms) > MOST_VERIFIED:
            self._used_ms.clear()
        self._used_ms[number] = now_ms
        value = b'{"at":%d}' % now_ms
        key = USES_TABLE, number
        self._coordinator.submit(
            Operation(Kind.PUT, key, value=value, any_owner=True, ttl_ms=USED_FOR_MS), lambda result: None
        )

    def used_ms(self, number: str) -> int | None:
        """When a token was used last, by the wall clock of the node that it was used at, to a minute."""
        record = self._store.held((USES_TABLE, number))
        if record is None or record.value is None:
            return None
        return int(msgspec.json.decode(record.value)["at"])

    # Made and ended

    async def create(self, name: str, access: tuple[Grant, ...], lifetime_s: int | None) -> tuple[str, str]:
        """Make a token.

        :returns: its number, and the token itself, which nobody is told again.
        :raises ApiError: 503 when it is not known whether it is made.
        """
        number = self._randbytes(8).hex()
        secret = urlsafe_b64encode(self._randbytes(32)).decode().rstrip("=")
        token = f"{PREFIX}{number}_{secret}"
        now_ms = self._wall_ms()
        expires_ms = now_ms + lifetime_s * 1000 if lifetime_s is not None else 0
        service = Service(name, _hash(token), access, now_ms, expires_ms)
        await self._agreed.change(number, lambda before: before or service)
        return number, token

    def is_known(self, number: str) -> bool:
        """Whether there is a token of that number, as known here."""
        return self._agreed.held(number) is not None

    async def put_back(self, number: str, service: Service, *, overwrite: bool) -> bool:
        """Bring back a token that was backed up; answers whether it was written.

        :param overwrite: whether one that is there is written over.
        """
        return await self._agreed.put_back(number, lambda held: service if held is None or overwrite else held)

    async def delete(self, number: str) -> None:
        """End a token.

        :raises ApiError: 404 when there is none, 503 when it is not known whether there is one.
        """
        if not await self._agreed.remove(number):
            raise ApiError(404, "no_such_token", "there is no service token of that id")
        ended: Deferred[object] = Deferred()
        self._coordinator.submit(Operation(Kind.DELETE, (USES_TABLE, number), any_owner=True), ended.callback)
        await ended

    def page(self, after: str, limit: int) -> list[tuple[str, Service]]:
        """Some tokens in the order of their numbers, as known here.

        :param after: only numbers behind this one.
        """
        return self._agreed.page(after, limit)


def number_of(identity: Identity) -> str:
    """The number of the token that an identity is of."""
    return identity.uid.rpartition("#")[2]


def _identity(number: str, service: Service) -> Identity:
    until_s = service.expires_ms // 1000 if service.expires_ms else NEVER_S
    return Identity(NAME_PREFIX + service.name, f"{NAME_PREFIX}{service.name}#{number}", Role.SERVICE, 0, until_s)


def _hash(token: str) -> bytes:
    return blake2b(token.encode(errors="surrogatepass"), digest_size=32, person=b"dynakv service").digest()
