"""Mistakes of one line: a function of the shipped code, compiled anew with a few words changed."""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from typing import Any

import pytest


def edit(patch: pytest.MonkeyPatch, owner: Any, name: str, old: str, new: str) -> None:
    """Change some words of a function.

    :param owner: its class or module.
    :param old: words that are there exactly once.
    """
    found = inspect.getattr_static(owner, name)
    function: Any = getattr(found, "fget", None) or getattr(found, "__func__", found)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{name} has {old!r} {source.count(old)} times"
    code = compile(source.replace(old, new), f"<{name}>", "exec", __future__.annotations.compiler_flag, True)
    names: dict[str, Any] = {}
    exec(code, vars(sys.modules[function.__module__]), names)
    patch.setattr(owner, name, names[name])
