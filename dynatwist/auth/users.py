"""Users: registered by vote, known on every node, their tokens revocable within a moment.

A uid is a name and the dot of its registration, so a name that is registered again is another user, who owns nothing
of the former one's. Which uid a name gets is decided by agreement among the members, so that two registrations on two
sides of a partition cannot both count.
"""

from __future__ import annotations

import hmac

import msgspec

from dynatwist.agreement.agreement import Acceptors, Agreement, NoAgreement
from dynatwist.cluster.cluster import Cluster
from dynatwist.errors import ApiError
from dynatwist.model.dots import actor_text
from dynatwist.model.records import Packed
from dynatwist.model.registry import majority
from dynatwist.model.ring import SYSTEM_PARTITION
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Kind, Operation, Result
from dynatwist.requests.coordinator import Coordinator

from .passwords import Passwords
from .throttle import ADMINISTRATOR, Attempt, Throttle
from .tickets import Tickets
from .tokens import Identity, Role, TokenKeys, Tokens

USERS_TABLE = "_users"
ADMIN_UID = "admin"
MIN_SECRET_CHARS = 8
"""NIST SP 800-63B, section 5.1.1."""


class User(msgspec.Struct, frozen=True):
    """What is kept of a user.

    :ivar hash: argon2id, encoded.
    :ivar generation: tokens of a lower one are refused.
    """

    uid: str
    hash: str
    generation: int = 0


_DECODER = msgspec.json.Decoder(User)


def owner_name(uid: str) -> str:
    """The name in a uid, as clients see it."""
    return uid.partition("#")[0]


class Users:
    """See the module."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        coordinator: Coordinator,
        acceptors: Acceptors,
        passwords: Passwords,
        tokens: Tokens,
        admin_passwords: tuple[str, ...],
    ) -> None:
        self._cluster = cluster
        self._coordinator = coordinator
        self._acceptors = acceptors
        self._passwords = passwords
        self.tokens = tokens
        self.tickets = Tickets(cluster, coordinator, tokens, self.is_current)
        self._admin_passwords = admin_passwords
        self._throttle = Throttle(cluster.runtime.monotonic_s, self._members)
        self._known: dict[str, tuple[Packed, User]] = {}

    @property
    def admin_passwords(self) -> tuple[str, ...]:
        """Any of these is the administrator's."""
        return self._admin_passwords

    def go_by(self, keys: TokenKeys, admin_passwords: tuple[str, ...]) -> None:
        """Other secrets, from now on: what tokens are signed with, and what the administrator logs in with."""
        self.tokens.use(keys)
        self._admin_passwords = admin_passwords

    def _members(self) -> int:
        registry = self._cluster.registry
        return len(registry.members) if registry is not None else 1

    # Who a token belongs to

    def authenticate(self, token: str) -> Identity:
        """Whose token it is; 401 when it is nobody's, or not any more."""
        identity = self.tokens.verify(token)
        if identity is None or not self.is_current(identity):
            raise ApiError(401, "bad_token", "the token is not valid, or not any more; log in again")
        return identity

    def is_current(self, identity: Identity) -> bool:
        """Whether an identity that was verified once still counts."""
        if identity.is_admin:
            return True
        user = self._find(identity.name)
        return user is not None and (user.uid, user.generation) == (identity.uid, identity.generation)

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
        user = _DECODER.decode(record.value)
        self._known[name] = packed, user
        return user

    # Registering and logging in

    async def register_or_login(
        self, name: str, secret: str, address: str, *, may_register: bool = True, min_chars: int = 1
    ) -> tuple[bool, str]:
        """A token, and whether the user is new.

        :param may_register: whether a new name becomes a user's.
        :param min_chars: of a new user's secret.
        :raises ApiError: 401 wrong secret, 403 for a new name, 400 for a secret that is too short for one, 503 no
            majority, 429 too many failures.
        """
        attempt = self._throttle.begin(name, address)
        try:
            user = await self._read(name)
            if user is not None:
                return False, await self._login(name, user, secret, attempt)
            if not may_register:
                raise ApiError(
                    403, "registration_closed", "there is no such user, and only the administrator makes users"
                )
            require_strong(secret, min_chars)
            registered, is_new = await self._register(name, secret, address)
            if not is_new:
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
        self._require_majority()
        mine = User(self._new_uid(name), await self._passwords.hash(secret, address, is_new=True))
        decided = self._find(name) or await self._agree(name, mine)  # somebody may have been quicker meanwhile
        await self._keep_first(name, decided)
        registered = await self._read(name) or decided
        return registered, registered.uid == mine.uid

    def _new_uid(self, name: str) -> str:
        dot = self._cluster.store.burn_dot(SYSTEM_PARTITION)
        return f"{name}#{actor_text(dot.actor)}-{dot.seq}"

    def _require_majority(self) -> None:
        registry = self._cluster.registry
        assert registry is not None
        for group in registry.groups(SYSTEM_PARTITION):
            if sum(1 for node in group if self._cluster.peers.is_reachable(node)) < majority(len(group)):
                raise ApiError(503, "no_majority", "a new name needs a majority of the members, which is not reachable")

    async def _agree(self, name: str, mine: User) -> User:
        held = self._cluster.store.held((USERS_TABLE, name))
        former = f"{actor_text(held.dot.actor)}-{held.dot.seq}" if held is not None else ""
        agreement = Agreement(self._cluster, self._acceptors, f"user {former} {name}", msgspec.json.encode(mine))
        try:
            return _DECODER.decode(await agreement.result)
        except NoAgreement:
            raise ApiError(503, "no_majority", "the members did not agree in time; try again") from None

    async def _keep_first(self, name: str, user: User) -> None:
        """Write what was decided, unless the name has a user already."""
        key = (USERS_TABLE, name)
        value = msgspec.json.encode(user)
        write = Operation(Kind.PUT, key, Level.MAJORITY, value, ADMIN_UID, True, if_none_match=True)
        result = await self._coordinator.execute(write)
        if result.code not in (Code.OK, Code.PRECONDITION):
            raise ApiError(503, "unavailable", result.text or "the user could not be written to a majority; try again")

    async def _login(self, name: str, user: User, secret: str, attempt: Attempt) -> str:
        if not await self._passwords.verify(user.hash, secret, attempt.address):
            attempt.failed()
            raise ApiError(401, "wrong_secret", "wrong secret")
        attempt.succeeded()
        return self.tokens.issue(name, user.uid, user.generation)

    async def _read(self, name: str) -> User | None:
        result = await self._coordinator.execute(Operation(Kind.GET, (USERS_TABLE, name)))
        if result.code is Code.ABSENT:
            return None
        if result.record is None or result.record.value is None:
            raise ApiError(503, "unavailable", result.text or "the users cannot be read now")
        return _DECODER.decode(result.record.value)

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
        user = await self._read(name)
        if user is None:
            raise ApiError(404, "no_such_user", "there is no such user")
        changed = User(user.uid, encoded or user.hash, user.generation + 1)
        await self._write(
            Operation(Kind.PUT, (USERS_TABLE, name), Level.QUORUM, msgspec.json.encode(changed), "", True)
        )
        return changed

    async def delete(self, name: str) -> None:
        """Remove a user. What it owns stays; the name may be registered again, as another user."""
        await self._write(Operation(Kind.DELETE, (USERS_TABLE, name), Level.QUORUM, any_owner=True))

    async def _write(self, operation: Operation) -> None:
        result: Result = await self._coordinator.execute(operation)
        if result.code is Code.ABSENT:
            raise ApiError(404, "no_such_user", "there is no such user")
        if result.code is not Code.OK:
            raise ApiError(503, "unavailable", result.text)

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

    def page(self, after: str, limit: int) -> list[tuple[str, User]]:
        """Some users in order, as known here.

        :param after: only names behind this one.
        """
        found: list[tuple[str, User]] = []
        for name in self._cluster.store.keys(USERS_TABLE, after=after):
            user = self._find(name)
            if user is not None:
                found.append((name, user))
                if len(found) == limit:
                    break
        return found


def require_strong(secret: str, min_chars: int = MIN_SECRET_CHARS) -> None:
    """400 for a new secret that is guessed too soon; those of before stay good."""
    if len(secret) < min_chars:
        raise ApiError(400, "weak_secret", f"a secret has at least {min_chars} characters; choose a longer one")
