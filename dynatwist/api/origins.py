"""Pages of other origins: a browser sends what any page on the web wants it to send, from inside a user's network.

Browsers say where a request comes from: ``Origin``, and ``Sec-Fetch-Site`` (W3C, Fetch Metadata). A page that is
neither the node's own nor named by ``--cors-origin`` gets 403 before anything else is looked at. A name that a
stranger's server resolves to this node's address ("DNS rebinding") makes its pages look like the node's own: so
browsers have to use a name that this node goes by. Programs that are no browser send none of that, and are asked
nothing.

The pages of another member are as the node's own: the dashboard goes on at another node when its own one dies. So an
origin counts as long as the registry names its address.

An origin that ``--cors-origin`` names may do what its users may do with records, and nothing under ``/admin``: one page
with a hole in it, which an administrator opens, would otherwise be enough to change rules, users and the cluster's
secrets. It is told so in an answer that it may read.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Mapping
from urllib.parse import unquote_to_bytes, urlsplit

from dynatwist.errors import ApiError

METHODS = "GET, PUT, PATCH, POST, DELETE"
REQUEST_HEADERS = (
    "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, Last-Event-ID, Prefer, "
    "X-Causal-Token, X-Request-Id"
)
SHOWN_HEADERS = (
    "Allow, ETag, Preference-Applied, Retry-After, WWW-Authenticate, "
    "X-Causal-Token, X-Next-After, X-Partial, X-Replicas, X-Request-Id"
)
PREFLIGHT_S = 600
"""For so long a browser need not ask again; the longest that all of them allow."""
_PORTS = {"http": 80, "https": 443}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": METHODS,
    "Access-Control-Allow-Headers": REQUEST_HEADERS,
    "Access-Control-Max-Age": str(PREFLIGHT_S),
}


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
    :param is_tls: whether the node's own pages come by HTTPS only.
    :param members: the addresses of the members, as HOST:PORT.
    """

    def __init__(
        self,
        allowed: tuple[str, ...] = (),
        names: tuple[str, ...] = (),
        *,
        is_tls: bool = False,
        members: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._is_tls = is_tls
        self._members = members
        self._allowed = frozenset(allowed)
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    def of_members(self) -> list[str]:
        """The origins of the members' own pages."""
        return [f"{self._scheme}://{address}" for address in self._members()]

    @property
    def _scheme(self) -> str:
        return "https" if self._is_tls else "http"

    def _is_of_member(self, origin: str) -> bool:
        scheme, _, rest = origin.partition("://")
        if scheme != self._scheme or any(mark in rest for mark in "/@?#, "):
            return False
        found = _netloc(scheme, rest.replace("localhost", "127.0.0.1", 1))
        return found is not None and any(found == _netloc(scheme, address) for address in self._members())

    def is_named(self, origin: str) -> bool:
        """Whether ``--cors-origin`` names it: that holds as long as this process lives."""
        return origin in self._allowed

    def _may_read(self, origin: str) -> bool:
        return origin in self._allowed or self._is_of_member(origin)

    def shown_to(self, origin: str) -> dict[str, str]:
        """Headers by which a page of this origin may read an answer, an error too; none where it may not."""
        if not self._may_read(origin):
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": SHOWN_HEADERS,
            "Vary": "Origin",
        }

    def is_preflight(self, method: str, origin: str) -> bool:
        """Whether a browser asks for a page that may read answers what that page may send."""
        return method == "OPTIONS" and self._may_read(origin)

    def check(self, method: str, headers: Mapping[str, str], path: bytes = b"/") -> dict[str, str]:
        """Refuse what a foreign page sent.

        :param path: as it was sent.
        :returns: headers of the answer, for a page that may read it.
        :raises ApiError: 403 for a foreign page, 421 for a name that is not this node's.
        """
        origin = headers.get("origin")
        if origin is not None and self._may_read(origin):
            if self.is_preflight(method, origin):
                return self.shown_to(origin) | _PREFLIGHT
            if _is_for_administrators(path) and not self._is_of_member(origin):
                raise _foreign(origin, "may not administrate: --cors-origin opens records; use the node's own address")
            return self.shown_to(origin)
        if origin is None:
            if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not _is_visit(method, headers):
                raise _foreign("the page that sent this")
        elif not self._is_own(origin, headers):
            raise _foreign(origin[:100])
        if self.is_browser(headers) and not self._goes_by(headers.get("host", "")):
            name = headers.get("host", "")[:100]
            text = f"this node does not go by the name '{name}'; start it with --host-name, or use its address"
            raise ApiError(421, "wrong_host", text)
        return {}

    def _is_own(self, origin: str, headers: Mapping[str, str]) -> bool:
        """Whether a page is the node's. One that came by HTTP from where the node speaks HTTPS may be anybody's."""
        scheme, _, rest = origin.partition("://")
        found, host = _netloc(scheme, rest), headers.get("host", "")
        is_same = bool(host) and found is not None and found == _netloc(scheme, host)
        is_said = headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
        return is_same and is_said and (scheme == "https" or not self._is_tls)

    @staticmethod
    def is_browser(headers: Mapping[str, str]) -> bool:
        """Whether a browser sent a request, for whatever page."""
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


def _is_for_administrators(path: bytes) -> bool:
    first = path.partition(b"?")[0].lstrip(b"/").partition(b"/")[0]
    return unquote_to_bytes(first) == b"admin"


def _foreign(who: str, what: str = "is no page of this node's, and no origin that --cors-origin names") -> ApiError:
    return ApiError(403, "foreign_origin", f"{who} {what}", {"Vary": "Origin"})
