"""The administrator's routes for changing the cluster's secrets."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from dynatwist.agreement.rotation import Rotation, RotationRefused
from dynatwist.errors import ApiError
from dynatwist.storage.renewal import Renewal, RenewalRefused

from .context import Context
from .limits import parse_object, string_of
from .openapi.codes import AGREEING
from .openapi.described import Described, Who
from .request import Answer, Request, json_answer
from .shapes.backups import StorageSecret, StorageSecrets
from .shapes.cluster import Retire, SecretNames, Status, Step, Use


class KeyRoutes:
    """The cluster's secrets, changed on all members. Every method may raise `ApiError`."""

    def __init__(self, context: Context, rotation: Rotation, renewal: Renewal) -> None:
        self._context = context
        self.rotation = rotation
        self._renewal = renewal

    @Described(who=Who.ADMIN, gives={200: SecretNames})
    async def show(self, request: Request) -> Answer:
        """Show, by member, the names of the secrets that it accepts, the one in use first."""
        self._enter(request)
        return json_answer(200, SecretNames(nodes=await self.rotation.names()))

    @Described(who=Who.ADMIN, gives={200: Step}, refuses=("not_all_members", *AGREEING))
    async def install(self, request: Request) -> Answer:
        """Have all members accept a new secret; answers its name."""
        self._enter(request)
        return await _answer("installed", self.rotation.install())

    @Described(
        who=Who.ADMIN, takes=Use, example={"key": "a1b2c3d4"}, gives={200: Step}, refuses=("not_all_members", *AGREEING)
    )
    async def use(self, request: Request) -> Answer:
        """Have all members use the secret that ``key`` names."""
        name = string_of(self._enter(request), "key")
        return await _answer("in use", self.rotation.use(name))

    @Described(who=Who.ADMIN, takes=Retire, is_optional=True, gives={200: Step}, refuses=("not_all_members", *AGREEING))
    async def retire(self, request: Request) -> Answer:
        """Have all members accept only the secret in use; with ``{"keep_tokens": false}``, no older tokens either."""
        return await _answer("retired all others", self.rotation.retire(_keeps_tokens(self._enter(request))))

    @Described(who=Who.ADMIN, takes=Retire, is_optional=True, gives={200: Step}, refuses=("not_all_members", *AGREEING))
    async def rotate(self, request: Request) -> Answer:
        """Install a new secret, use it, and retire all others."""
        return await _answer("rotated", self.rotation.rotate(_keeps_tokens(self._enter(request))))

    # This node's storage secret

    @Described(who=Who.ADMIN, gives={200: StorageSecrets}, refuses=("disk",))
    async def storage(self, request: Request) -> Answer:
        """Show which storage secrets and data keys this node has, by name, and how many files need which."""
        self._context.require_admin(request)
        renewal = self._renewal
        try:
            files = await renewal.files()
        except OSError as error:
            raise ApiError(507, "disk", f"the data folder cannot be listed: {error.strerror}") from None
        used, *others = renewal.secrets
        return json_answer(
            200,
            {
                "node": self._context.cluster.me.address,
                "uses": used,
                "accepts": others,
                "to_erase": renewal.retiring,
                "under_way": renewal.is_under_way,
                "data_keys": renewal.data_keys,
                "files": files,
            },
        )

    @Described(who=Who.ADMIN, gives={202: StorageSecret}, refuses=("not_now",))
    async def renew_storage(self, request: Request) -> Answer:
        """Have this node use another storage secret, and seal its data folder anew."""
        self._context.require_admin(request)
        try:
            return json_answer(
                202, {"status": "in use; the data folder is being sealed anew", "key": self._renewal.renew()}
            )
        except RenewalRefused as error:
            raise ApiError(409, "not_now", str(error)) from None

    def _enter(self, request: Request) -> dict[str, Any]:
        """Let only the administrator in; answers what the body says."""
        self._context.require_ready()
        self._context.require_admin(request)
        names = (*Use.__struct_fields__, *Retire.__struct_fields__)
        return parse_object(request.body, self._context.limits, *names) if request.body else {}


def _keeps_tokens(fields: dict[str, Any]) -> bool:
    keeps = fields.get("keep_tokens", True)
    if not isinstance(keeps, bool):
        raise ApiError(400, "malformed", '"keep_tokens" is true or false: whether older tokens stay good')
    return keeps


async def _answer(status: Status, step: Awaitable[str]) -> Answer:
    """What became of a step, with the name of the secret that it was about."""
    try:
        return json_answer(200, Step(status=status, key=await step))
    except RotationRefused as error:
        raise ApiError(409, "not_all_members", str(error)) from None
