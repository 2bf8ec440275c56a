"""Pages and files: the front page, the dashboard, the browser's client, the document of the API and what shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dynatwist.api.openapi.described import Described, Media, Who
from dynatwist.api.request import JSON, Answer, Request, json_answer

from .client import CLIENT, client_list
from .dashboard import DASHBOARD
from .docs import DOCS
from .static import CSS, HTML, OWN_PAGE, SCRIPT, TEXT, Static, own_page

ROUTES = (
    ("GET", "/", "front"),
    ("GET", "/admin", "dashboard"),
    ("GET", "/admin/assets/<a>", "dashboard_asset"),
    ("GET", "/client/", "client"),
    ("GET", "/client/dynakv.js", "client_module"),
    ("GET", "/client/dynakv.d.ts", "client_types"),
    ("GET", "/openapi.json", "openapi"),
    ("GET", "/docs", "docs"),
    ("GET", "/docs/assets/<a>", "docs_asset"),
)
MOST_MEMBERS = 32
"""Of those that the dashboard may ask besides its own node: a header of two kilobytes."""
_HTML = Media(HTML, "A page.")
_MODULE = Media(SCRIPT, "JavaScript.")
_ASSET = Media(SCRIPT, "A file of a page.", or_else=(CSS, HTML))


class Pages:
    """Pages and files, for anybody.

    :param members: the origins of the members' pages, where the dashboard goes on when its node dies.
    """

    def __init__(self, members: Callable[[], Sequence[str]]) -> None:
        self._members = members
        self._document = Static.of(b"{}", JSON)

    def publish(self, document: bytes) -> None:
        """From now on this is the document of the API, in JSON."""
        self._document = Static.of(document, JSON)

    @Described(who=Who.ANYBODY, gives={200: dict[str, str], 302: None})
    def front(self, request: Request) -> Answer:
        """Send people to the dashboard, and tell programs where to ask."""
        if "text/html" in request.headers.get("accept", ""):
            return Answer(302, b"", TEXT, {"Location": "/admin"})
        where = {
            "store": "DynaTwist", "dashboard": "/admin", "health": "/heartbeat", "members": "/membership",
            "api": "/openapi.json", "docs": "/docs",
        }  # fmt: skip
        return json_answer(200, where)

    @Described(who=Who.ANYBODY, gives={200: _HTML, 304: None})
    def dashboard(self, request: Request) -> Answer:
        """Show the dashboard."""
        return DASHBOARD.file("index.html").answer(request, own_page(self._members()[:MOST_MEMBERS]))

    @Described(who=Who.ANYBODY, gives={200: _ASSET, 304: None}, refuses=("not_found",))
    def dashboard_asset(self, request: Request, file: str) -> Answer:
        """Get a file of the dashboard."""
        return DASHBOARD.file(file).answer(request, OWN_PAGE)

    @Described(who=Who.ANYBODY, gives={200: dict[str, str]})
    def client(self, request: Request) -> Answer:
        """List the files of the browser's client, with their integrity hashes."""
        return client_list()

    @Described(who=Who.ANYBODY, gives={200: _MODULE, 304: None})
    def client_module(self, request: Request) -> Answer:
        """Get the browser's client, an ES module."""
        return CLIENT.file("dynakv.js").answer(request)

    @Described(who=Who.ANYBODY, gives={200: Media(TEXT, "TypeScript."), 304: None})
    def client_types(self, request: Request) -> Answer:
        """Get the types of the browser's client."""
        return CLIENT.file("dynakv.d.ts").answer(request)

    @Described(who=Who.ANYBODY, gives={200: dict[str, Any], 304: None})
    def openapi(self, request: Request) -> Answer:
        """Get this document."""
        return self._document.answer(request)

    @Described(who=Who.ANYBODY, gives={200: _HTML, 304: None})
    def docs(self, request: Request) -> Answer:
        """Show this document to people."""
        return DOCS.file("index.html").answer(request, OWN_PAGE)

    @Described(who=Who.ANYBODY, gives={200: _ASSET, 304: None}, refuses=("not_found",))
    def docs_asset(self, request: Request, file: str) -> Answer:
        """Get a file of that page."""
        return DOCS.file(file).answer(request, OWN_PAGE)
