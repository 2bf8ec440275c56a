"""Bearer tokens (JWT, HS256), signed with a key derived from the cluster key, so that any node checks any token."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import jwt

MAX_VERIFIED = 20_000
MAX_TOKEN_CHARS = 4096
TICKET_S = 30
ALGORITHM = "HS256"


class Role(Enum):
    """What a token is for."""

    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from.

    :ivar uid: owner of what it creates; ``admin`` for the administrator.
    :ivar generation: raised when the user's old tokens are to stop working.
    """

    name: str
    uid: str
    role: Role
    generation: int
    expires_s: int

    @property
    def is_admin(self) -> bool:
        """Whether this is the administrator."""
        return self.role is Role.ADMIN


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
        return self._encode(name, uid, generation, role, self._lifetime_s, "bearer")

    def issue_ticket(self, identity: Identity) -> str:
        """A ticket for one subscription or websocket within 30 s."""
        return self._encode(identity.name, identity.uid, identity.generation, identity.role, TICKET_S, "ticket")

    def _encode(self, name: str, uid: str, generation: int, role: Role, lifetime_s: int, use: str) -> str:
        now_s = self._wall_ms() // 1000
        claims = {
            "sub": name,
            "uid": uid,
            "gen": generation,
            "role": role.value,
            "use": use,
            "iat": now_s,
            "exp": now_s + lifetime_s,
            "jti": self._randbytes(9).hex(),
        }
        if role is Role.ADMIN:
            claims["mark"] = self._keys.admin_marks[0]
        return jwt.encode(claims, self._keys.keys[0], algorithm=ALGORITHM)

    def verify(self, token: str) -> Identity | None:
        """Whose bearer token it is; ``None`` when it is none, forged or expired."""
        known = self._verified.get(token)
        if known is None:
            claims = self._claims(token, "bearer")
            if claims is None:
                return None
            known = self._identity(claims)
            self._verified[token] = known
            while len(self._verified) > MAX_VERIFIED:
                self._verified.popitem(last=False)
        if self._wall_ms() >= known.expires_s * 1000:
            del self._verified[token]
            return None
        return known

    def redeem(self, ticket: str) -> Identity | None:
        """Whose ticket it is; each is good for one use on a node."""
        claims = self._claims(ticket, "ticket")
        if claims is None:
            return None
        now_s = self._wall_ms() // 1000
        self._used_tickets = {jti: until for jti, until in self._used_tickets.items() if until > now_s}
        if str(claims["jti"]) in self._used_tickets:
            return None
        self._used_tickets[str(claims["jti"])] = int(str(claims["exp"]))
        return replace(self._identity(claims), expires_s=now_s + self._lifetime_s)

    def _identity(self, claims: dict[str, object]) -> Identity:
        return Identity(
            str(claims["sub"]),
            str(claims["uid"]),
            Role(claims["role"]),
            int(str(claims["gen"])),
            int(str(claims["exp"])),
        )

    def _claims(self, token: str, use: str) -> dict[str, object] | None:
        claims = self._signed(token) if len(token) <= MAX_TOKEN_CHARS else None
        if claims is None or claims.get("use") != use or self._wall_ms() >= int(str(claims["exp"])) * 1000:
            return None
        if claims.get("role") == Role.ADMIN.value and claims.get("mark") not in self._keys.admin_marks:
            return None
        return claims

    def _signed(self, token: str) -> dict[str, object] | None:
        """What a token says, if it is signed with one of the keys."""
        options = {"require": ["exp", "sub", "jti"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}
        former = [key for key, until_s in self._keys.former if self._wall_ms() < until_s * 1000]
        for key in (*self._keys.keys, *former):
            try:
                return jwt.decode(token, key, algorithms=[ALGORITHM], options=options)  # type: ignore[arg-type]
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
                return None
        return None
