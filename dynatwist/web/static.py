"""What is the same for everybody until the node is upgraded: files and the document, with ETag and integrity hash."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha384
from importlib.resources import files

from dynatwist.api.request import Answer, Request
from dynatwist.errors import ApiError

HTML, CSS = "text/html; charset=utf-8", "text/css; charset=utf-8"
SCRIPT, TEXT = "text/javascript; charset=utf-8", "text/plain; charset=utf-8"
KEPT_S = 300
"""For so long a browser uses the file without asking whether there is another one: after an upgrade of the nodes,
pages have the new one soon."""
KEPT = {"X-Content-Type-Options": "nosniff", "Cache-Control": f"public, max-age={KEPT_S}", "Vary": "Origin"}
"""Headers of what pages of other origins may use, too."""


def own_page(others: Sequence[str] = ()) -> dict[str, str]:
    """Headers of the node's own pages: they load nothing from elsewhere, and send nothing elsewhere.

    :param others: origins to which they may send all the same.
    """
    sockets = (origin.replace("http", "ws", 1) for origin in others)
    connects = " ".join(("'self'", *others, *sockets))
    return {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"connect-src {connects}; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


OWN_PAGE = own_page()


@dataclass(frozen=True, slots=True)
class Static:
    """See the module.

    :ivar integrity: what ``<script integrity=...>`` expects (W3C, Subresource Integrity).
    """

    body: bytes
    content_type: str
    integrity: str

    @classmethod
    def of(cls, body: bytes, content_type: str) -> Static:
        """Of a file."""
        return cls(body, content_type, f"sha384-{b64encode(sha384(body).digest()).decode()}")

    def answer(self, request: Request, headers: Mapping[str, str] = KEPT) -> Answer:
        """The file; 304 without it where its reader has it."""
        etag, known = f'"{self.integrity}"', request.headers.get("if-none-match", "")
        headers = {**headers, "ETag": etag}
        if etag in known or known.strip() == "*":
            return Answer(304, b"", self.content_type, headers)
        return Answer(200, self.body, self.content_type, headers)


@cache
def _read(package: str, name: str, content_type: str) -> Static:
    return Static.of(files(package).joinpath(name).read_bytes(), content_type)


class Folder:
    """Files beside a module, each read when it is asked for first.

    :param package: the module's name.
    :param types: of content, by the file's name.
    """

    def __init__(self, package: str, types: Mapping[str, str]) -> None:
        self._package = package
        self._types = types

    @property
    def names(self) -> list[str]:
        """Of the files."""
        return list(self._types)

    def file(self, name: str) -> Static:
        """One of them.

        :raises ApiError: 404 for anything else.
        """
        if name not in self._types:
            raise ApiError(404, "not_found", "there is no such path")
        return _read(self._package, name, self._types[name])
