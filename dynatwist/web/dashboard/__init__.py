"""The dashboard: three files, no external assets."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from dynatwist.errors import ApiError

_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "dashboard.css": "text/css; charset=utf-8",
}


@cache
def _content(name: str) -> bytes:
    return files(__name__).joinpath(name).read_bytes()


def dashboard_file(name: str) -> tuple[bytes, str]:
    """One of the files, and its content type; 404 for anything else."""
    if name not in _TYPES:
        raise ApiError(404, "not_found", "there is no such path")
    return _content(name), _TYPES[name]
