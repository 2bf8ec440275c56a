"""Pages of other origins: a browser sends what any page on the web wants it to send, from inside a user's network.

Browsers say where a request comes from: ``Origin``, and ``Sec-Fetch-Site`` (W3C, Fetch Metadata). A page that is
neither the node's own nor named by ``--cors-origin`` gets 403 before anything else is looked at. A name that a
stranger's server resolves to this node's address ("DNS rebinding") makes its pages look like the node's own: so
browsers have to use a name that this node goes by. Programs that are no browser send none of that, and are asked
nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from dynatwist.errors import ApiError

METHODS = "GET, PUT, PATCH, POST, DELETE"
REQUEST_HEADERS = (
    "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, Last-Event-ID, Prefer, X-Causal-Token"
)
SHOWN_HEADERS = "ETag, Preference-Applied, Retry-After, X-Causal-Token, X-Partial, X-Replicas"
PREFLIGHT_S = 600
"""For so long a browser need not ask again; the longest that all of them allow."""
_PORTS = {"http": 80, "https": 443}


def _netloc(scheme: str, text: str) -> tuple[str, int] | None:
    """Name and port of a ``Host`` or of what is behind ``://`` in an origin."""
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        return None
    return (parts.hostname or "").rstrip("."), port or _PORTS.get(scheme, 0)


class Origins:
    """See the module.

    :param allowed: other origins whose pages may send anything, such as ``https://app.example.org``.
    :param names: host names that this node goes by; addresses and ``localhost`` need not be named.
    """

    def __init__(self, allowed: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> None:
        self._allowed = frozenset(allowed)
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    def check(self, method: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Refuse what a foreign page sent.

        :returns: headers of the answer, for a page that may read it.
        :raises ApiError: 403 for a foreign page, 421 for a name that is not this node's.
        """
        origin = headers.get("origin")
        if origin in self._allowed:
            return _shared(origin, is_preflight=method == "OPTIONS")
        if origin is None:
            if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not _is_visit(method, headers):
                raise _foreign("the page that sent this")
        elif not _is_own(origin, headers.get("host", "")):
            raise _foreign(origin[:100])
        if self._is_browser(headers) and not self._goes_by(headers.get("host", "")):
            name = headers.get("host", "")[:100]
            text = f"this node does not go by the name '{name}'; start it with --host-name, or use its address"
            raise ApiError(421, "wrong_host", text)
        return {}

    @staticmethod
    def _is_browser(headers: Mapping[str, str]) -> bool:
        return (
            "origin" in headers or "sec-fetch-site" in headers or headers.get("user-agent", "").startswith("Mozilla/")
        )

    def _goes_by(self, host: str) -> bool:
        found = _netloc("http", host)
        if found is None:
            return False
        name = found[0].lower()
        if name in self._names or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _is_visit(method: str, headers: Mapping[str, str]) -> bool:
    """Whether somebody follows a link to a page of this node."""
    return (
        method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _is_own(origin: str, host: str) -> bool:
    scheme, _, rest = origin.partition("://")
    found = _netloc(scheme, rest)
    return bool(host) and found is not None and found == _netloc(scheme, host)


def _foreign(who: str) -> ApiError:
    text = f"{who} is no page of this node's, and no origin that --cors-origin names"
    return ApiError(403, "foreign_origin", text, {"Vary": "Origin"})


def _shared(origin: str, is_preflight: bool) -> dict[str, str]:
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": SHOWN_HEADERS,
        "Vary": "Origin",
    }
    if is_preflight:
        headers |= {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        }
    return headers
