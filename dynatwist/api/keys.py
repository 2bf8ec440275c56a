"""The administrator's routes for changing the cluster's secrets."""

from __future__ import annotations

from dynatwist.coordinator.rotation import Rotation, RotationRefused
from dynatwist.errors import ApiError

from .context import Context
from .limits import parse_object, string_of
from .request import Answer, Request, json_answer


class KeyRoutes:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context, rotation: Rotation) -> None:
        self._context = context
        self._rotation = rotation

    async def show(self, request: Request) -> Answer:
        """By member, the names of the secrets that it accepts, the one in use first."""
        self._enter(request)
        return json_answer(200, {"nodes": await self._rotation.names()})

    async def install(self, request: Request) -> Answer:
        """Have all members accept a new secret; answers its name."""
        self._enter(request)
        try:
            return json_answer(200, {"status": "installed", "key": await self._rotation.install()})
        except RotationRefused as error:
            raise _conflict(error) from None

    async def use(self, request: Request) -> Answer:
        """Have all members use the secret that ``key`` names."""
        self._enter(request)
        name = string_of(parse_object(request.body, self._context.limits), "key")
        try:
            await self._rotation.use(name)
        except RotationRefused as error:
            raise _conflict(error) from None
        return json_answer(200, {"status": "in use", "key": name})

    async def retire(self, request: Request) -> Answer:
        """Have all members accept only the secret in use; with ``{"keep_tokens": false}``, no older tokens either."""
        keep_tokens = self._enter(request)
        try:
            return json_answer(200, {"status": "retired all others", "key": await self._rotation.retire(keep_tokens)})
        except RotationRefused as error:
            raise _conflict(error) from None

    async def rotate(self, request: Request) -> Answer:
        """All three steps."""
        keep_tokens = self._enter(request)
        try:
            return json_answer(200, {"status": "rotated", "key": await self._rotation.rotate(keep_tokens)})
        except RotationRefused as error:
            raise _conflict(error) from None

    def _enter(self, request: Request) -> bool:
        """Let only the administrator in; answers what the body says of tokens."""
        self._context.require_ready()
        self._context.require_admin(request)
        fields = parse_object(request.body, self._context.limits) if request.body else {}
        return fields.get("keep_tokens") is not False


def _conflict(error: RotationRefused) -> ApiError:
    return ApiError(409, "not_all_members", str(error))
