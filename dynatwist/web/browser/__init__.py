"""The client for pages: an ES module and its types, served by every node under ``/client/``."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha384
from importlib.resources import files

import msgspec

MODULE, TYPES, HASHES = "dynakv.js", "dynakv.d.ts", "integrity.json"
_TYPES = {
    MODULE: "text/javascript; charset=utf-8",
    TYPES: "text/plain; charset=utf-8",
    HASHES: "application/json",
}
NAMES = tuple(_TYPES)
CACHE = "public, max-age=300"
"""Five minutes: a new release of a node reaches pages soon, and a page that is loaded often asks seldom."""


def integrity(name: str) -> str:
    """What a page may demand of a file (W3C, Subresource Integrity)."""
    return "sha384-" + b64encode(sha384(client_file(name)[0]).digest()).decode()


@cache
def client_file(name: str) -> tuple[bytes, str]:
    """One of `NAMES`, and its content type."""
    if name == HASHES:
        return msgspec.json.encode({one: integrity(one) for one in (MODULE, TYPES)}), _TYPES[name]
    return files(__name__).joinpath(name).read_bytes(), _TYPES[name]
