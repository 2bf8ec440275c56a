"""The opening handshake of a websocket (RFC 6455, section 4.2.1), checked before the connection is taken over.

Autobahn checks it again, and would answer without an error object, and with what the client sent in the status line.
"""

from __future__ import annotations

import base64
import binascii

from dynatwist.errors import ApiError
from dynatwist.twisted_inside.http import OpenRequest

VERSION = "13"
KEY_BYTES = 16
"""Of the key, in base64: as many as RFC 6455 says."""


def check_handshake(request: OpenRequest) -> None:
    """Refuse what is no opening handshake; the request asks for an upgrade to a websocket.

    :raises ApiError: says what is missing.
    """
    if request.method != b"GET" or request.clientproto != b"HTTP/1.1":
        raise _bad("a websocket begins with GET and HTTP/1.1")
    if request.content.read(1):
        raise _bad("a websocket begins without a body: wait for the answer before you send frames")
    if len(_values(request, "host")) != 1:
        raise _bad("send one Host header")
    if "upgrade" not in [text.strip().lower() for text in ",".join(_values(request, "connection")).split(",")]:
        raise _bad('send "Connection: Upgrade"; a proxy in between may have taken it out')
    if _values(request, "sec-websocket-version") != [VERSION]:
        text = f"this node speaks version {VERSION} of the websocket protocol; send Sec-WebSocket-Version: {VERSION}"
        headers = {"Sec-WebSocket-Version": VERSION, "Upgrade": "websocket"}
        raise ApiError(426, "upgrade_required", text, headers)
    keys = _values(request, "sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise _bad(f"send one Sec-WebSocket-Key: {KEY_BYTES} random bytes in base64")


def _values(request: OpenRequest, name: str) -> list[str]:
    return [value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(name.encode(), [])]


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _bad(text: str) -> ApiError:
    return ApiError(400, "bad_handshake", text)
