"""Sphinx configuration."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "DynaTwist"
author = "The DynaTwist developers"
release = "0.1.0"
extensions = ["sphinx.ext.autodoc", "sphinx_click", "api_page"]
autodoc_typehints = "description"
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "DynaTwist"
