"""Users: agreed among the members, known on every node, their tokens revocable within a moment.

Each user is a register of its own (`dynatwist.replication.register`): of registrations on two sides of a partition one
counts, a changed secret that was acknowledged stays, and a deleted user does not return. What a node knows by heart, to
check tokens, is what was chosen.

A uid is a name and the dot of its registration, so a name that is registered again is another user, who owns nothing
of the former one's.
"""

from __future__ import annotations

import hmac

from dynatwist.agreement.registers import Registers
from dynatwist.cluster.cluster import Cluster
from dynatwist.errors import ApiError
from dynatwist.model.dots import actor_text
from dynatwist.model.records import Packed
from dynatwist.model.ring import SYSTEM_PARTITION
from dynatwist.replication.request import Code, Kind, Operation
from dynatwist.requests.coordinator import Coordinator

from .agreed import Agreed
from .passwords import Passwords
from .services import NEVER_S, PREFIX, Services
from .throttle import ADMINISTRATOR, Attempt, Throttle
from .tickets import Tickets
from .tokens import Identity, Role, TokenKeys, Tokens
from .user import ADMIN_UID, USERS_TABLE, User, user_of

MIN_SECRET_CHARS = 8
"""NIST SP 800-63B, section 5.1.1."""

MOST_CURRENT = 10_000
"""Tokens that are not looked at closely again: a few megabytes, as they are kept by `Tokens` anyway."""


class Users:
    """See the module."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        coordinator: Coordinator,
        registers: Registers,
        services: Services,
        passwords: Passwords,
        tokens: Tokens,
        admin_passwords: tuple[str, ...],
    ) -> None:
        self._cluster = cluster
        self._coordinator = coordinator
        self._agreed = Agreed(cluster, registers, coordinator, table=USERS_TABLE, value_of=user_of)
        self._services = services
        self._passwords = passwords
        self.tokens = tokens
        self.tickets = Tickets(cluster, coordinator, tokens, self.is_current)
        self._admin_passwords = admin_passwords
        self._throttle = Throttle(cluster.runtime.monotonic_s, self._members)
        self._known: dict[str, tuple[Packed, User]] = {}
        self._current: dict[str, Identity] = {}
        self._current_at = 0

    @property
    def admin_passwords(self) -> tuple[str, ...]:
        """Any of these is the administrator's."""
        return self._admin_passwords

    def go_by(self, keys: TokenKeys, admin_passwords: tuple[str, ...]) -> None:
        """Other secrets, from now on: what tokens are signed with, and what the administrator logs in with."""
        self.tokens.use(keys)
        self._current.clear()
        self._admin_passwords = admin_passwords

    def _members(self) -> int:
        registry = self._cluster.registry
        return len(registry.members) if registry is not None else 1

    # Who a token belongs to

    def authenticate(self, token: str) -> Identity:
        """Whose token it is; 401 when it is nobody's, or not any more."""
        identity = self.whose(token)
        if identity is None:
            raise ApiError(401, "bad_token", "the token is not valid, or not any more; log in again")
        return identity

    def whose(self, token: str) -> Identity | None:
        """The same; ``None`` when it is nobody's.

        Each request asks; so what was found is kept until anything of the system's changes, or the keys do.
        """
        version = self._cluster.store.replicas[SYSTEM_PARTITION].digests.root
        if version != self._current_at:
            self._current_at = version
            self._current.clear()
        known = self._current.get(token)
        if known is not None and self._cluster.runtime.wall_ms() < known.expires_s * 1000:
            return known
        return self._services.verify(token) if token.startswith(PREFIX) else self._find_current(token)

    def _find_current(self, token: str) -> Identity | None:
        self._current.pop(token, None)
        identity = self.tokens.verify(token)
        if identity is None or not self.is_current(identity):
            return None
        if len(self._current) >= MOST_CURRENT:
            self._current.clear()
        self._current[token] = identity
        return identity

    def certified(self, name: str, ends_s: int) -> Identity | None:
        """The user whom a certificate names, as long as that is good; ``None`` where there is no such user."""
        user = self._find(name)
        return self.tokens.certified(name, user.uid, user.generation, ends_s) if user is not None else None

    def is_current(self, identity: Identity) -> bool:
        """Whether an identity that was verified once still counts."""
        if identity.role is Role.USER:
            user = self._find(identity.name)
            return user is not None and user.generation == identity.generation and user.uid == identity.uid
        return identity.has_admin_role or self._services.is_current(identity)

    def still_counts(self, identity: Identity) -> bool:
        """The same of one that stays connected: its token may have expired, or the keys have changed."""
        return self.tokens.is_good(identity) and self.is_current(identity)

    def _find(self, name: str) -> User | None:
        key = USERS_TABLE, name
        records = self._cluster.store.replicas[SYSTEM_PARTITION].records
        packed = records.packed(key)
        known = self._known.get(name)
        if known is not None and known[0] is packed:
            return known[1]
        record = records.get(key)
        if packed is None or record is None or record.value is None:
            self._known.pop(name, None)
            return None
        if len(self._known) > 10_000:
            self._known.clear()
        user = user_of(record)
        assert user is not None
        self._known[name] = packed, user
        return user

    # Registering and logging in

    async def register_or_login(
        self,
        name: str,
        secret: str,
        address: str,
        *,
        is_new: bool | None = None,
        may_register: bool = True,
        min_chars: int = 1,
    ) -> tuple[bool, str]:
        """A token, and whether the user is new.

        :param is_new: what is wanted: only to register, or only to log in; either where ``None``.
        :param may_register: whether a new name becomes a user's.
        :param min_chars: of a new user's secret.
        :raises ApiError: 401 wrong secret, 404 or 409 where the other of both was wanted, 403 for a new name, 400 for a
            secret that is too short for one, 503 no majority, 429 too many failures.
        """
        attempt = self._throttle.begin(name, address)
        try:
            user = await self._read(name)
            if user is not None:
                if is_new:
                    raise ApiError(409, "user_exists", f"{name} is registered already; log in instead")
                return False, await self._login(name, user, secret, attempt)
            if is_new is False:
                raise ApiError(404, "not_registered", f"{name} is not registered")
            if not may_register:
                raise ApiError(
                    403, "registration_closed", "there is no such user, and only the administrator makes users"
                )
            require_strong(secret, min_chars)
            registered, was_new = await self._register(name, secret, address)
            if not was_new:
                return False, await self._login(name, registered, secret, attempt)
            attempt.succeeded()
            return True, self.tokens.issue(name, registered.uid, registered.generation)
        finally:
            attempt.give_up()

    async def create(self, name: str, secret: str) -> None:
        """Make a user, as the administrator.

        :raises ApiError: 409 when there is one of that name.
        """
        if await self._read(name) is None:
            _, is_new = await self._register(name, secret, ADMIN_UID)
            if is_new:
                return
        raise ApiError(
            409, "user_exists", "there is a user of that name; to set another secret, use /auth/{name}/secret"
        )

    async def _register(self, name: str, secret: str, address: str) -> tuple[User, bool]:
        """The user of a name that had none, and whether it is the one that was to be made."""
        self._agreed.require_majority()
        mine = User(self._new_uid(name), await self._passwords.hash(secret, address, is_new=True))
        user = await self._agreed.change(name, lambda user: user or mine)
        assert user is not None
        return user, user.uid == mine.uid

    def _new_uid(self, name: str) -> str:
        dot = self._cluster.store.burn_dot(SYSTEM_PARTITION)
        return f"{name}#{actor_text(dot.actor)}-{dot.seq}"

    async def _login(self, name: str, user: User, secret: str, attempt: Attempt) -> str:
        if not await self._passwords.verify(user.hash, secret, attempt.address):
            attempt.failed()
            raise ApiError(401, "wrong_secret", "wrong secret")
        attempt.succeeded()
        return self.tokens.issue(name, user.uid, user.generation)

    async def _read(self, name: str) -> User | None:
        """What is agreed; or, where no majority can be reached, what those know that can be."""
        if self._agreed.can_be_reached():
            user, is_known = await self._agreed.read(name)
            if is_known:
                return user
        result = await self._coordinator.execute(Operation(Kind.GET, (USERS_TABLE, name)))
        if result.code is Code.ABSENT:
            return None
        if result.record is None or result.record.value is None:
            raise ApiError(503, "unavailable", result.text or "the users cannot be read now")
        return user_of(result.record)

    async def check_secret(self, name: str, secret: str, address: str) -> User:
        """The user, if the secret fits; else 401, or 404 for a name that is not registered."""
        attempt = self._throttle.begin(name, address)
        try:
            user = await self._read(name)
            if user is None:
                raise ApiError(404, "no_such_user", "there is no such user")
            await self._login(name, user, secret, attempt)
            return user
        finally:
            attempt.give_up()

    # Changing

    async def change_secret(self, name: str, secret: str, address: str) -> str:
        """Set another secret; all old tokens stop working.

        :returns: a new token.
        """
        encoded = await self._passwords.hash(secret, address)
        user = await self._rewrite(name, encoded)
        return self.tokens.issue(name, user.uid, user.generation)

    async def logout(self, name: str) -> None:
        """Have all of a user's tokens stop working."""
        await self._rewrite(name, None)

    async def _rewrite(self, name: str, encoded: str | None) -> User:
        def changed(user: User | None) -> User | None:
            return User(user.uid, encoded or user.hash, user.generation + 1) if user is not None else None

        user = await self._agreed.change(name, changed)
        if user is None:
            raise ApiError(404, "no_such_user", "there is no such user")
        return user

    async def put_back(self, name: str, backed_up: User, *, overwrite: bool) -> bool:
        """Bring back a user that was backed up; answers whether it was written. All of its tokens have ended then: some
        may have been ended since the backup was made.

        :param overwrite: whether a user of that name is written over, with another uid and secret perhaps.
        """

        def changed(held: User | None) -> User:
            if held is not None and (not overwrite or (held.uid, held.hash) == (backed_up.uid, backed_up.hash)):
                return held
            generation = max(backed_up.generation, held.generation if held is not None else 0) + 1
            return User(backed_up.uid, backed_up.hash, generation)

        return await self._agreed.put_back(name, changed)

    async def delete(self, name: str) -> None:
        """Remove a user. What it owns stays; the name may be registered again, as another user."""
        if not await self._agreed.remove(name):
            raise ApiError(404, "no_such_user", "there is no such user")

    # The administrator

    def admin_login(self, password: str, address: str) -> str:
        """A token for the administrator.

        :raises ApiError: 401 wrong password, 429 too many failures.
        """
        attempt = self._throttle.begin(ADMINISTRATOR, address)
        given = password.encode(errors="surrogatepass")
        if not any(hmac.compare_digest(given, one.encode()) for one in self._admin_passwords):
            attempt.failed()
            raise ApiError(401, "wrong_password", "wrong password")
        attempt.succeeded()
        return self.tokens.issue("admin", ADMIN_UID, 0, Role.ADMIN)

    def named(self, name: str) -> Identity | None:
        """The user of a name, as if just logged in; ``None`` where there is none."""
        user = self._find(name)
        return Identity(name, user.uid, Role.USER, user.generation, NEVER_S) if user is not None else None

    def uid_of(self, name: str) -> str:
        """The uid of a user, as known here; empty where there is none of that name."""
        user = self._find(name)
        return user.uid if user is not None else ""

    def page(self, after: str, limit: int) -> list[tuple[str, User]]:
        """Some users in order, as known here.

        :param after: only names behind this one.
        """
        return self._agreed.page(after, limit)


def require_strong(secret: str, min_chars: int = MIN_SECRET_CHARS) -> None:
    """400 for a new secret that is guessed too soon; those of before stay good."""
    if len(secret) < min_chars:
        raise ApiError(400, "weak_secret", f"a secret has at least {min_chars} characters; choose a longer one")
