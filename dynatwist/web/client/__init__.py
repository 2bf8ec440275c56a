"""The browser's client: an ES module, its types, and a list of both with their integrity hashes."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from dynatwist.api.request import Answer, json_answer
from dynatwist.web.static import KEPT, Static

_TYPES = {
    "dynakv.js": "text/javascript; charset=utf-8",
    "dynakv.d.ts": "text/plain; charset=utf-8",
}


@cache
def client_file(name: str) -> Static:
    """One of the files."""
    return Static.of(files(__name__).joinpath(name).read_bytes(), _TYPES[name])


def client_list() -> Answer:
    """Path and integrity hash of each file."""
    return json_answer(200, {f"/client/{name}": client_file(name).integrity for name in _TYPES}, KEPT)
