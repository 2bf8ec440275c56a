"""Packaging: all metadata is in pyproject.toml; what it cannot say is here.

A flat-layout editable install hides twistd plugins, because setuptools then maps only the ``dynatwist`` package and
never puts this folder on ``sys.path``, where Twisted looks for ``twisted/plugins``. The "compat" mode does; where
setuptools no longer has it, "strict" links every file, the plugin too.

The compiled heart is an extra that no installation may fail for, or wait for: see `native`.
"""

import os
import subprocess
import warnings
from pathlib import Path
from shutil import which

from setuptools import setup
from setuptools.command.editable_wheel import _EditableMode, editable_wheel

warnings.filterwarnings("ignore", r"\s*Compat editable installs")

CRATE = Path(__file__).parent / "native"
FETCH_S = 10
"""Cargo has two dozen crates, some two megabytes, within two seconds; where a network swallows what is sent, nobody is
to wait for long for what is not needed."""


class PluginVisibleEditable(editable_wheel):
    """``pip install -e .`` that leaves the plugin where Twisted finds it."""

    def initialize_options(self) -> None:
        """Choose the mode that adds the checkout to ``sys.path``; ``--config-settings`` may still override it."""
        super().initialize_options()
        self.mode = "compat" if hasattr(_EditableMode, "COMPAT") else "strict"


def can_compile() -> bool:
    """Whether the compiled heart can be built: its source is here, there is a cargo, and it has all crates.

    Cargo is asked to fetch them, since only cargo knows its proxies, mirrors and caches; and then to build from what it
    has, so that no build hangs on the network. ``DYNAKV_PURE=1`` has nothing of this tried.
    """
    cargo = which("cargo")
    if os.environ.get("DYNAKV_PURE", "0") not in ("", "0") or cargo is None or not (CRATE / "Cargo.toml").exists():
        return False
    patience = {"CARGO_NET_RETRY": "0", "CARGO_HTTP_TIMEOUT": "5"}
    try:
        subprocess.run(  # noqa: S603 # whatever cargo whoever installs this has
            [cargo, "fetch", "--quiet", "--locked", "--manifest-path", str(CRATE / "Cargo.toml")],
            env={**os.environ, **patience},
            check=True,
            capture_output=True,
            timeout=FETCH_S,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    os.environ["CARGO_NET_OFFLINE"] = "true"
    return True


def native() -> dict[str, object]:
    """What `setup` has to know of the compiled heart; nothing where it cannot be built."""
    try:
        from setuptools_rust import Binding, RustExtension
    except ImportError:
        return {}
    if not can_compile():
        return {}
    extension = RustExtension(
        "dynatwist._native",
        path=str(CRATE / "Cargo.toml"),
        args=["--locked"],
        binding=Binding.PyO3,
        debug=False,
        py_limited_api=True,
        optional=True,
    )
    return {"rust_extensions": [extension], "options": {"bdist_wheel": {"py_limited_api": "cp311"}}}


setup(
    py_modules=["twisted.plugins.dynakv_plugin"],
    cmdclass={"editable_wheel": PluginVisibleEditable},
    **native(),
)
