"""Users and the administrator: register, log in, change, leave."""

from __future__ import annotations

from dynatwist.auth.tokens import Identity
from dynatwist.auth.users import MIN_SECRET_CHARS, require_strong
from dynatwist.errors import ApiError

from .context import Context
from .limits import check_user, parse_object, string_of
from .openapi.codes import AGREEING
from .openapi.described import Described, Who
from .request import Answer, Request, json_answer
from .shapes.accounts import Account, Done, Entered, Entering, NewSecretOf, OldSecret, Password, Ticket
from .source import source_of

OLD_SECRET = OldSecret.__struct_fields__
"""Members of a body that may hold the secret so far."""


class AccountRoutes:
    """Users and the administrator: register, log in, change, leave. Every method may raise `ApiError`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._users = context.users

    @Described(
        who=Who.ANYBODY,
        takes=Entering,
        example={"secret": "a long secret"},
        gives={200: Entered, 201: Entered},
        refuses=(
            "weak_secret", "wrong_secret", "registration_closed", "not_registered", "user_exists", "slow_down",
            "starting", "removed", *AGREEING,
        ),
    )  # fmt: skip
    async def enter(self, request: Request, user: str) -> Answer:
        """Register, or log in: 201 for a new user, 200 for a login.

        With ``"new": true`` a name is registered or refused, with ``"new": false`` a user logs in or is refused.
        """
        check_user(user)
        fields = parse_object(request.body, self._context.limits, *Entering.__struct_fields__)
        secret, wanted = string_of(fields, "secret"), fields.get("new")
        if wanted is not None and not isinstance(wanted, bool):
            raise ApiError(400, "malformed", '"new" is true or false: whether the name is to be registered')
        self._context.require_ready()
        created, token = await self._users.register_or_login(
            user,
            secret,
            source_of(request.address),
            is_new=wanted,
            may_register=self._context.registration,
            min_chars=MIN_SECRET_CHARS,
        )
        return json_answer(201 if created else 200, Entered(status="created" if created else "ok", token=token))

    @Described(who=Who.USER, gives={200: Account}, refuses=("forbidden", "no_such_user"))
    def show(self, request: Request, user: str) -> Answer:
        """Show which groups a user is in, and whether that makes the user an administrator.

        For the user, and for administrators.
        """
        context = self._context
        check_user(user)
        context.require_ready()
        caller = context.identify(request)
        if caller.name != user and not context.rights.is_admin(caller):
            raise ApiError(403, "forbidden", "this is another user's account")
        shown = context.users.named(user)
        if shown is None:
            raise ApiError(404, "no_such_user", f"there is no user {user!r}")
        groups = sorted(context.groups.of(shown))
        return json_answer(200, Account(name=user, groups=groups, is_admin=context.rights.is_admin(shown)))

    @Described(
        who=Who.ACCOUNT,
        takes=NewSecretOf,
        example={"secret": "another long secret", "old_secret": "a long secret"},
        gives={200: Entered},
        refuses=("weak_secret", "old_secret_missing", "no_such_user", *AGREEING),
    )
    async def change_secret(self, request: Request, user: str) -> Answer:
        """Change a secret: 200 and a new token; old ones stop working, everywhere.

        The secret so far is asked for, token or not; only an administrator needs none.
        """
        fields = parse_object(request.body, self._context.limits, *NewSecretOf.__struct_fields__)
        secret = string_of(fields, "secret")
        require_strong(secret)
        await self._require_secret(request, user, fields)
        token = await self._users.change_secret(user, secret, source_of(request.address))
        return json_answer(200, Entered(status="changed", token=token))

    @Described(
        who=Who.ACCOUNT, takes=OldSecret, is_optional=True, gives={200: Done}, refuses=("no_such_user", *AGREEING)
    )
    async def delete(self, request: Request, user: str) -> Answer:
        """End a user.

        What the user owns stays, out of reach of whoever registers the name again.
        """
        fields = parse_object(request.body, self._context.limits, *OLD_SECRET) if request.body else {}
        await self._require_user(request, user, fields)
        await self._users.delete(user)
        return json_answer(200, Done(status="deleted"))

    @Described(
        who=Who.ACCOUNT, takes=OldSecret, is_optional=True, gives={200: Done}, refuses=("no_such_user", *AGREEING)
    )
    async def logout(self, request: Request, user: str) -> Answer:
        """Log a user out: all tokens of the user stop working, everywhere."""
        fields = parse_object(request.body, self._context.limits, *OLD_SECRET) if request.body else {}
        await self._require_user(request, user, fields)
        await self._users.logout(user)
        return json_answer(200, Done(status="logged out"))

    async def _require_secret(self, request: Request, name: str, fields: dict[str, object]) -> None:
        """Whoever knows the secret so far, or the administrator: a token may have been stolen."""
        check_user(name)
        old_secret = _old_secret(fields)
        self._context.require_ready()
        if request.token is not None:
            identity = self._context.identify(request)
            if self._context.rights.is_admin(identity):
                return
            if identity.name != name:
                raise ApiError(403, "forbidden", "this is another user's account")
        if old_secret is None:
            raise ApiError(400, "old_secret_missing", 'to change a secret, send the one so far as "old_secret"')
        await self._users.check_secret(name, old_secret, source_of(request.address))

    async def _require_user(self, request: Request, name: str, fields: dict[str, object]) -> None:
        """The user itself by token, the administrator, or whoever knows the old secret."""
        check_user(name)
        old_secret = _old_secret(fields)
        self._context.require_ready()
        if request.token is None and old_secret is not None:
            await self._users.check_secret(name, old_secret, source_of(request.address))
            return
        identity: Identity = self._context.identify(request)
        if identity.name != name and not self._context.rights.is_admin(identity):
            raise ApiError(403, "forbidden", "this is another user's account")

    @Described(who=Who.USER, gives={200: Ticket})
    async def ticket(self, request: Request) -> Answer:
        """Get a ticket of 30 s for one subscription or websocket, as ``?ticket=``.

        What it opens ends when the token does. A user may use 256 in 40 s.
        """
        self._context.require_ready()
        ticket = self._users.tokens.issue_ticket(self._context.identify(request))
        return json_answer(200, Ticket(ticket=ticket, expires_in=30))

    @Described(
        who=Who.ANYBODY,
        takes=Password,
        example={"password": "what dynakv admin-password prints"},
        gives={200: Entered},
        refuses=("wrong_password", "slow_down"),
    )
    async def admin_login(self, request: Request) -> Answer:
        """Log in as the administrator."""
        fields = parse_object(request.body, self._context.limits, *Password.__struct_fields__)
        token = self._users.admin_login(string_of(fields, "password"), source_of(request.address))
        return json_answer(200, Entered(status="ok", token=token))


def _old_secret(fields: dict[str, object]) -> str | None:
    """The secret so far, if it was sent.

    :raises ApiError: 400 for one that is none, needed or not.
    """
    given = [string_of(fields, member) for member in OLD_SECRET if member in fields]
    return given[0] if given else None
