"""Bearer tokens (JWT, HS256), signed with a key derived from the cluster key, so that any node checks any token."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from hashlib import blake2b

import jwt

MAX_VERIFIED = 20_000
"""Tokens whose signature need not be checked again: two megabytes."""
MAX_TOKEN_CHARS = 4096
"""Those of this store have three hundred; what is longer is not decoded."""
TICKET_S = 30
"""For a page to open its websocket with the ticket that it was just given."""
ALGORITHM = "HS256"
BY_CERTIFICATE = b"certificate"
"""For the name of a key, where somebody has shown a certificate and no token."""


class Role(Enum):
    """What a token is for."""

    USER = "user"
    ADMIN = "admin"
    SERVICE = "service"
    """Of a program; see `dynatwist.auth.services`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from.

    :ivar uid: owner of what it creates; ``admin`` for the administrator.
    :ivar generation: raised when the user's old tokens are to stop working.
    :ivar signed_by: names the key that its token is signed with.
    :ivar mark: of an administrator's token; see `TokenKeys`.
    """

    name: str
    uid: str
    role: Role
    generation: int
    expires_s: int
    signed_by: bytes = b""
    mark: str = ""

    @property
    def is_by_certificate(self) -> bool:
        """Whether this is by a certificate, and no token."""
        return self.signed_by == BY_CERTIFICATE

    @property
    def has_admin_role(self) -> bool:
        """Whether this is the administrator, by the password. Others may be administrators by their group."""
        return self.role is Role.ADMIN


@dataclass(frozen=True, slots=True)
class Ticket:
    """What opens one subscription or websocket.

    :ivar identity: whose it is, as long as the token is good that it was asked for with.
    :ivar number: no other ticket has it.
    :ivar until_s: wall time up to which it may be used.
    """

    identity: Identity
    number: str
    until_s: int


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """What tokens are signed with.

    :ivar keys: the first one signs, all verify.
    :ivar former: these verify users' tokens, until so many seconds since 1970.
    :ivar admin_marks: the first is put into the administrator's tokens, any is accepted there. They change with the
        administrator's password, so that its tokens die with it.
    """

    keys: tuple[bytes, ...]
    admin_marks: tuple[str, ...]
    former: tuple[tuple[bytes, int], ...] = ()


class Tokens:
    """Issues and verifies; remembers what it verified until it expires."""

    def __init__(
        self,
        keys: TokenKeys,
        wall_ms: Callable[[], int],
        lifetime_s: int,
        randbytes: Callable[[int], bytes],
    ) -> None:
        self._keys = keys
        self._wall_ms = wall_ms
        self._lifetime_s = lifetime_s
        self._randbytes = randbytes
        self._verified: OrderedDict[str, Identity] = OrderedDict()
        self._used_tickets: dict[str, int] = {}

    def use(self, keys: TokenKeys) -> None:
        """Go by other keys from now on."""
        self._keys = keys
        self._verified.clear()

    def issue(self, name: str, uid: str, generation: int, role: Role = Role.USER) -> str:
        """A token."""
        until_s = self._wall_ms() // 1000 + self._lifetime_s
        return self._encode(name, uid, generation, role, until_s, use="bearer")

    def issue_ticket(self, identity: Identity) -> str:
        """A ticket for one subscription or websocket within 30 s, which ends when the token does."""
        until_s = min(self._wall_ms() // 1000 + TICKET_S, identity.expires_s)
        more = {"until": identity.expires_s}
        return self._encode(
            identity.name, identity.uid, identity.generation, identity.role, until_s, use="ticket", **more
        )

    def _encode(self, name: str, uid: str, generation: int, role: Role, until_s: int, **more: object) -> str:
        claims = {
            "sub": name,
            "uid": uid,
            "gen": generation,
            "role": role.value,
            "iat": self._wall_ms() // 1000,
            "exp": until_s,
            "jti": self._randbytes(9).hex(),
            **more,
        }
        if role is Role.ADMIN:
            claims["mark"] = self._keys.admin_marks[0]
        return jwt.encode(claims, self._keys.keys[0], algorithm=ALGORITHM)

    def verify(self, token: str) -> Identity | None:
        """Whose bearer token it is; ``None`` when it is none, forged or expired."""
        known = self._verified.get(token)
        if known is None:
            found = self._claims(token, "bearer")
            if found is None:
                return None
            known = _identity(*found)
            self._verified[token] = known
            while len(self._verified) > MAX_VERIFIED:
                self._verified.popitem(last=False)
        if self._wall_ms() >= known.expires_s * 1000:
            del self._verified[token]
            return None
        return known

    def certified(self, name: str, uid: str, generation: int, ends_s: int) -> Identity | None:
        """A user who has shown a certificate, as long as that is good."""
        identity = Identity(name, uid, Role.USER, generation, ends_s, BY_CERTIFICATE)
        return identity if self.is_good(identity) else None

    def is_good(self, identity: Identity) -> bool:
        """Whether a token that was verified before would be now, by its time, its key and an administrator's mark."""
        if self._wall_ms() >= identity.expires_s * 1000:
            return False
        if identity.role is Role.SERVICE or identity.is_by_certificate:
            return True
        if identity.has_admin_role and identity.mark not in self._keys.admin_marks:
            return False
        return any(_name_of(key) == identity.signed_by for key in self._verifying())

    def _verifying(self) -> list[bytes]:
        """The keys that verify now."""
        now_ms = self._wall_ms()
        return [*self._keys.keys, *(key for key, until_s in self._keys.former if now_ms < until_s * 1000)]

    def take_ticket(self, text: str) -> Ticket | None:
        """A ticket, once on this node; `dynatwist.auth.tickets` asks the others."""
        found = self._claims(text, "ticket")
        if found is None:
            return None
        claims, key = found
        now_s = self._wall_ms() // 1000
        while self._used_tickets and next(iter(self._used_tickets.values())) <= now_s:
            del self._used_tickets[next(iter(self._used_tickets))]
        number, until_s = str(claims["jti"]), int(str(claims["exp"]))
        if number in self._used_tickets:
            return None
        self._used_tickets[number] = until_s
        identity = replace(_identity(claims, key), expires_s=int(str(claims.get("until", until_s))))
        return Ticket(identity, number, until_s)

    def give_back(self, ticket: Ticket) -> None:
        """A ticket was not used after all; it may be shown again."""
        self._used_tickets.pop(ticket.number, None)

    def _claims(self, token: str, use: str) -> tuple[dict[str, object], bytes] | None:
        """What a token says that is good for something now, and the key that it is signed with."""
        found = self._signed(token) if len(token) <= MAX_TOKEN_CHARS else None
        if found is None:
            return None
        claims, _ = found
        if claims.get("use") != use or self._wall_ms() >= int(str(claims["exp"])) * 1000:
            return None
        if claims.get("role") == Role.ADMIN.value and claims.get("mark") not in self._keys.admin_marks:
            return None
        return found

    def _signed(self, token: str) -> tuple[dict[str, object], bytes] | None:
        """What a token says, if it is signed with one of the keys, and with which."""
        options = {"require": ["exp", "sub", "jti"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}
        for key in self._verifying():
            try:
                return jwt.decode(token, key, algorithms=[ALGORITHM], options=options), key  # type: ignore[arg-type]
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
                return None
        return None


@lru_cache(64)
def _name_of(key: bytes) -> bytes:
    """What a key is called; nothing can be told of the key by that."""
    return blake2b(key, digest_size=8, person=b"dynakv token key").digest()


def _identity(claims: dict[str, object], key: bytes) -> Identity:
    return Identity(
        str(claims["sub"]),
        str(claims["uid"]),
        Role(claims["role"]),
        int(str(claims["gen"])),
        int(str(claims["exp"])),
        _name_of(key),
        str(claims.get("mark", "")),
    )
