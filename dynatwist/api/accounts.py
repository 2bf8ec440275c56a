"""Users and the administrator: register, log in, change, leave."""

from __future__ import annotations

from dynatwist.auth.tokens import Identity
from dynatwist.auth.users import MIN_SECRET_CHARS, require_strong
from dynatwist.errors import ApiError

from .context import Context
from .limits import check_user, parse_object, string_of
from .request import Answer, Request, json_answer
from .source import source_of

OLD_SECRET = ("old_secret", "old")
"""Members of a body that may hold the secret so far."""


class AccountRoutes:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._users = context.users

    async def enter(self, request: Request, name: str) -> Answer:
        """201 new user, 200 login; ``new`` says which of both is wanted, if only one is."""
        check_user(name)
        fields = parse_object(request.body, self._context.limits, "secret", "new")
        secret, wanted = string_of(fields, "secret"), fields.get("new")
        if wanted is not None and not isinstance(wanted, bool):
            raise ApiError(400, "malformed", '"new" is true or false: whether the name is to be registered')
        self._context.require_ready()
        created, token = await self._users.register_or_login(
            name,
            secret,
            source_of(request.address),
            is_new=wanted,
            may_register=self._context.registration,
            min_chars=MIN_SECRET_CHARS,
        )
        status = "created" if created else "ok"
        return json_answer(201 if created else 200, {"status": status, "token": token})

    async def change_secret(self, request: Request, name: str) -> Answer:
        """200 and a new token."""
        fields = parse_object(request.body, self._context.limits, "secret", *OLD_SECRET)
        secret = string_of(fields, "secret")
        require_strong(secret)
        await self._require_secret(request, name, fields)
        token = await self._users.change_secret(name, secret, source_of(request.address))
        return json_answer(200, {"status": "changed", "token": token})

    async def delete(self, request: Request, name: str) -> Answer:
        """200; what the user owns stays, out of reach of whoever registers the name again."""
        fields = parse_object(request.body, self._context.limits, *OLD_SECRET) if request.body else {}
        await self._require_user(request, name, fields)
        await self._users.delete(name)
        return json_answer(200, {"status": "deleted"})

    async def logout(self, request: Request, name: str) -> Answer:
        """200; all tokens of the user stop working."""
        fields = parse_object(request.body, self._context.limits, *OLD_SECRET) if request.body else {}
        await self._require_user(request, name, fields)
        await self._users.logout(name)
        return json_answer(200, {"status": "logged out"})

    async def _require_secret(self, request: Request, name: str, fields: dict[str, object]) -> None:
        """Whoever knows the secret so far, or the administrator: a token may have been stolen."""
        check_user(name)
        self._context.require_ready()
        if request.token is not None:
            identity = self._context.identify(request)
            if self._context.rights.is_admin(identity):
                return
            if identity.name != name:
                raise ApiError(403, "forbidden", "this is another user's account")
        member = next((one for one in OLD_SECRET if one in fields), None)
        if member is None:
            raise ApiError(400, "old_secret_missing", 'to change a secret, send the one so far as "old_secret"')
        await self._users.check_secret(name, string_of(fields, member), source_of(request.address))

    async def _require_user(self, request: Request, name: str, fields: dict[str, object]) -> None:
        """The user itself by token, the administrator, or whoever knows the old secret."""
        check_user(name)
        self._context.require_ready()
        for member in OLD_SECRET:
            if request.token is None and member in fields:
                await self._users.check_secret(name, string_of(fields, member), source_of(request.address))
                return
        identity: Identity = self._context.identify(request)
        if identity.name != name and not self._context.rights.is_admin(identity):
            raise ApiError(403, "forbidden", "this is another user's account")

    async def ticket(self, request: Request) -> Answer:
        """A ticket of 30 s for one subscription or websocket."""
        self._context.require_ready()
        ticket = self._users.tokens.issue_ticket(self._context.identify(request))
        return json_answer(200, {"ticket": ticket, "expires_in": 30})

    async def admin_login(self, request: Request) -> Answer:
        """200 and a token."""
        password = string_of(parse_object(request.body, self._context.limits, "password"), "password")
        return json_answer(
            200, {"status": "ok", "token": self._users.admin_login(password, source_of(request.address))}
        )
