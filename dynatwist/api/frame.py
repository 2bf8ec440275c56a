"""What a client sends on a websocket."""

from __future__ import annotations

from typing import Any

import msgspec

from dynatwist.errors import ApiError
from dynatwist.model.flaws import NOT_DECODED

from .limits import Limits, check_depth


class Frame(msgspec.Struct):
    """What a client sends; other members are looked at, and made nothing of.

    :ivar value: stays as it was sent.
    """

    op: Any = None
    id: Any = None
    table: Any = None
    key: Any = None
    prefix: Any = None
    sub: Any = None
    token: Any = None
    value: msgspec.Raw = msgspec.Raw(b"")
    r: Any = None
    w: Any = None
    ttl: Any = None
    idempotency_key: Any = None
    ephemeral: Any = False
    initial: Any = False
    from_: Any = msgspec.field(default=None, name="from")


_FRAME = msgspec.json.Decoder(Frame)


def parsed(payload: bytes, limits: Limits) -> Frame:
    """A text frame.

    :raises ApiError: when it is no JSON object.
    """
    check_depth(payload, limits)
    try:
        payload.decode()
        return _FRAME.decode(payload)
    except msgspec.ValidationError:
        raise ApiError(400, "not_an_object", 'a frame is a JSON object with a member "op"') from None
    except NOT_DECODED:
        raise ApiError(400, "malformed_json", "the frame is not valid JSON") from None
