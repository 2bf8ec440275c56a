"""Sphinx configuration."""

project = "DynaTwist"
author = "The DynaTwist developers"
release = "0.1.0"
extensions = []
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "A leaderless, replicated, encrypted key-value store on Twisted"}
