"""The dashboard: three files, no external assets."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from dynatwist.errors import ApiError
from dynatwist.web.static import Static

_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "dashboard.css": "text/css; charset=utf-8",
}


@cache
def _file(name: str) -> Static:
    return Static.of(files(__name__).joinpath(name).read_bytes(), _TYPES[name])


def dashboard_file(name: str) -> Static:
    """One of the files; 404 for anything else."""
    if name not in _TYPES:
        raise ApiError(404, "not_found", "there is no such path")
    return _file(name)
