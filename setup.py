"""Packaging: all metadata is in pyproject.toml; what it cannot say is here.

A flat-layout editable install hides twistd plugins, because setuptools then maps only the ``dynatwist`` package and
never puts this folder on ``sys.path``, where Twisted looks for ``twisted/plugins``. The "compat" mode does; where
setuptools no longer has it, "strict" links every file, the plugin too.
"""

import warnings

from setuptools import setup
from setuptools.command.editable_wheel import _EditableMode, editable_wheel

warnings.filterwarnings("ignore", r"\s*Compat editable installs")


class PluginVisibleEditable(editable_wheel):
    """``pip install -e .`` that leaves the plugin where Twisted finds it."""

    def initialize_options(self) -> None:
        """Choose the mode that adds the checkout to ``sys.path``; ``--config-settings`` may still override it."""
        super().initialize_options()
        self.mode = "compat" if hasattr(_EditableMode, "COMPAT") else "strict"


setup(
    py_modules=["twisted.plugins.dynakv_plugin"],
    cmdclass={"editable_wheel": PluginVisibleEditable},
)
