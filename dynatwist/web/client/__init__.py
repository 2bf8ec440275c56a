"""The browser's client: an ES module, its types, and a list of both with their integrity hashes."""

from __future__ import annotations

from dynatwist.api.request import Answer, json_answer
from dynatwist.web.static import KEPT, SCRIPT, TEXT, Folder

CLIENT = Folder(__name__, {"dynakv.js": SCRIPT, "dynakv.d.ts": TEXT})


def client_list() -> Answer:
    """Path and integrity hash of each file."""
    return json_answer(200, {f"/client/{name}": CLIENT.file(name).integrity for name in CLIENT.names}, KEPT)
