"""Sphinx configuration; also writes what pages include from the code."""

import sys
from pathlib import Path

from dynatwist import __version__
from dynatwist.figures import FIGURES

sys.path.insert(0, str(Path(__file__).parent))

project = "DynaTwist"
author = "The DynaTwist developers"
release = __version__
extensions = ["sphinx.ext.autodoc", "sphinx_click", "api_page"]
autodoc_typehints = "description"
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "DynaTwist"

_rows = [f"``{one.full_name}``{f' by {one.label}' if one.label else ''}\n    {one.text}.\n" for one in FIGURES]
_made = Path(__file__).parent / "_build" / "made"
_made.mkdir(parents=True, exist_ok=True)
(_made / "figures.inc").write_text("\n".join(_rows))
