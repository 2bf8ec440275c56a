"""The dashboard: three files, no external assets."""

from __future__ import annotations

from dynatwist.web.static import CSS, HTML, SCRIPT, Folder

DASHBOARD = Folder(__name__, {"index.html": HTML, "dashboard.js": SCRIPT, "dashboard.css": CSS})
