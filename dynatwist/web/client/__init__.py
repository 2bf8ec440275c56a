"""The browser's client: an ES module, its types, and a list of both with their integrity hashes."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha384
from importlib.resources import files

from dynatwist.api.request import Answer, json_answer

_TYPES = {
    "dynakv.js": "text/javascript; charset=utf-8",
    "dynakv.d.ts": "text/plain; charset=utf-8",
}
NAMES = tuple(_TYPES)
KEPT_S = 300
"""For so long a browser uses the module without asking whether there is another one: after an upgrade of the nodes,
pages have the new one soon."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": f"public, max-age={KEPT_S}",
    "Vary": "Origin",
}


@dataclass(frozen=True, slots=True)
class _File:
    """One file as it is served.

    :ivar integrity: what ``<script integrity=...>`` expects (W3C, Subresource Integrity).
    """

    body: bytes
    integrity: str

    @property
    def etag(self) -> str:
        return f'"{self.integrity}"'


@cache
def _file(name: str) -> _File:
    body = files(__name__).joinpath(name).read_bytes()
    return _File(body, f"sha384-{b64encode(sha384(body).digest()).decode()}")


def client_file(name: str, known_etags: str) -> Answer:
    """One of the files; 304 without it where its reader has it.

    :param name: one of `NAMES`.
    :param known_etags: the request's ``If-None-Match``.
    """
    file = _file(name)
    headers = {**_HEADERS, "ETag": file.etag}
    if file.etag in known_etags or known_etags.strip() == "*":
        return Answer(304, b"", _TYPES[name], headers)
    return Answer(200, file.body, _TYPES[name], headers)


def client_list() -> Answer:
    """Path and integrity hash of each file."""
    return json_answer(200, {f"/client/{name}": _file(name).integrity for name in NAMES}, _HEADERS)
