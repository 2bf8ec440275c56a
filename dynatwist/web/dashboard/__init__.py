"""The dashboard: a page, its style, and ES modules, a view each; no external assets, no build step."""

from __future__ import annotations

from dynatwist.web.static import CSS, HTML, SCRIPT, Folder

_MODULES = (
    "app", "audit", "conflict", "conflicts", "data", "difference", "dom", "format", "groups", "listed", "live", "locks",
    "members", "overview", "people", "plot", "progress", "rights", "rotation", "rules", "secrets", "session", "storage",
    "telling", "tokens", "users",
)  # fmt: skip
DASHBOARD = Folder(
    __name__, {"index.html": HTML, "dashboard.css": CSS} | dict.fromkeys((f"{name}.js" for name in _MODULES), SCRIPT)
)
