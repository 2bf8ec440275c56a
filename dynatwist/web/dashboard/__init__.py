"""The dashboard: a page, its style, and ES modules, a view or a part of one each; no external assets, no build step."""

from __future__ import annotations

from importlib.resources import files

from dynatwist.web.static import CSS, HTML, SCRIPT, Folder

_SCRIPTS = sorted(file.name for file in files(__name__).iterdir() if file.name.endswith(".js"))
DASHBOARD = Folder(__name__, {"index.html": HTML, "dashboard.css": CSS} | dict.fromkeys(_SCRIPTS, SCRIPT))
