"""Who may send a long body: asked when the head of a request is there, before anything of the body is kept.

Up to `SHORT_BYTES` come from anybody: logins are no longer. More needs a token that is valid now, and is charged to its
user while it arrives and while it is worked on, until the request is answered.
"""

from __future__ import annotations

from collections.abc import Mapping

from dynatwist.budget import Charge
from dynatwist.errors import ApiError

from .context import Context
from .request import Certificate, Request

SHORT_BYTES = 4 << 10
"""Names and secrets have a quarter of it at most."""
_SHORT_PATHS = (b"/auth/", b"/admin/login")


class Body:
    """The body of one request, as it arrives.

    :param charge: of whoever sends it; ``None`` when nothing beyond a short one is taken.
    :param refusal: raised once there is more than `limit_bytes`.
    """

    __slots__ = ("_charge", "_limit_bytes", "_refusal", "_size_bytes")

    def __init__(self, limit_bytes: int, refusal: ApiError, charge: Charge | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._refusal = refusal
        self._charge = charge
        self._size_bytes = 0

    def arrives(self, size_bytes: int) -> None:
        """Some more of it is here.

        :raises ApiError: when it is too long, or its sender has too much under way.
        """
        self._size_bytes += size_bytes
        if self._size_bytes > self._limit_bytes:
            raise self._refusal
        if self._charge is not None and self._size_bytes > SHORT_BYTES:
            self._charge.take(self._size_bytes - self._charge.amount)

    @property
    def size_bytes(self) -> int:
        """How much has arrived."""
        return self._size_bytes

    def is_over(self) -> None:
        """The request is answered, or its connection gone."""
        if self._charge is not None:
            self._charge.give_back()


class Admission:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def admit(
        self, path: bytes, headers: Mapping[str, str], length: int | None, certificate: Certificate | None = None
    ) -> Body:
        """Begin to take in a body.

        :param path: of the request, as it was sent.
        :param length: what the head says; ``None`` for a body that comes in chunks.
        :param certificate: that the client has shown.
        :raises ApiError: 401 for a long one without a valid token, 413 for one that is too long for its route, 429 or
            503 for one that there is no room for.
        """
        limits = self._context.limits
        if path.startswith(_SHORT_PATHS):
            return self._checked(Body(SHORT_BYTES, _too_large(length, SHORT_BYTES)), SHORT_BYTES, length)
        if length is not None and length <= SHORT_BYTES:
            return Body(SHORT_BYTES, _too_large(length, SHORT_BYTES))
        try:
            identity = self._context.identify(Request(headers=headers, certificate=certificate))
        except ApiError as error:
            if length is None:
                return Body(SHORT_BYTES, error)  # a short one, perhaps: its route has to say what is wrong
            raise
        receiving = self._context.budget.receiving
        if length is not None and length <= limits.body_bytes and not receiving.has_room(identity.uid, length):
            raise receiving.refuse(identity.uid, length)
        body = Body(limits.body_bytes, _too_large(length, limits.body_bytes), Charge(receiving, identity.uid))
        return self._checked(body, limits.body_bytes, length)

    @staticmethod
    def _checked(body: Body, limit_bytes: int, length: int | None) -> Body:
        if length is not None and length > limit_bytes:
            raise _too_large(length, limit_bytes)
        return body


def _too_large(length: int | None, limit_bytes: int) -> ApiError:
    size = f"{length} bytes" if length is not None else f"more than {limit_bytes} bytes"
    return ApiError(413, "too_large", f"the body has {size}; the limit of this route is {limit_bytes}")
