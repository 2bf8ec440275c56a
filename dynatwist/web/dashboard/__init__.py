"""The dashboard: a page, its style, and ES modules, a view each; no external assets, no build step."""

from __future__ import annotations

from dynatwist.web.static import CSS, HTML, SCRIPT, Folder

_MODULES = (
    "app", "conflicts", "data", "dom", "format", "live", "locks", "members", "overview", "partitions", "people", "plot",
    "secrets", "session",
)  # fmt: skip
_OF_DATA = (
    "batch", "creation", "diff", "editor", "json", "keys", "layout", "meeting", "order", "progress", "record", "rules",
    "store", "sweep", "tables", "tail", "transfer",
)  # fmt: skip
_SCRIPTS = (f"{name}.js" for name in (*_MODULES, *_OF_DATA))
DASHBOARD = Folder(__name__, {"index.html": HTML, "dashboard.css": CSS} | dict.fromkeys(_SCRIPTS, SCRIPT))
