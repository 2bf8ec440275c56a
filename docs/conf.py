"""Sphinx configuration."""

project = "DynaTwist"
author = "The DynaTwist developers"
release = "0.1.0"
extensions = ["sphinx.ext.autodoc", "sphinx_click"]
autodoc_typehints = "description"
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "DynaTwist"
