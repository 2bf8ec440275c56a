"""The page that shows the document of the API to people: three files, no external assets."""

from __future__ import annotations

from dynatwist.web.static import CSS, HTML, SCRIPT, Folder

DOCS = Folder(__name__, {"index.html": HTML, "docs.js": SCRIPT, "docs.css": CSS})
