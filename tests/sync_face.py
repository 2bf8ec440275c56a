"""Writes ``dynatwist/sync/requests.py``, the blocking form of ``sansio/requests.py``: ``python -m tests.sync_face``.

Names, arguments, types and docstrings are those of the original; what is done is to have it awaited by the portal.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent / "dynatwist"
HEAD = '''"""What `dynatwist.sansio.requests` does, carried out in another thread and waited for.

Made by ``python -m tests.sync_face``: change the original, and make it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from dynatwist.aio.client import Client as AsyncClient
from dynatwist.sansio.conflicts import Conflicts
from dynatwist.sansio.contention import UPDATE_TIMEOUT_S
from dynatwist.sansio.failover import REQUEST_TIMEOUT_S
from dynatwist.sansio.record import AnyRecord, Record

from .portal import Portal

T = TypeVar("T")


class Requests:
    """See the module.

    :param inner: what is carried out in the portal's thread.
    """

    def __init__(self, portal: Portal, inner: AsyncClient) -> None:
        self._portal = portal
        self._inner = inner
'''


def written() -> str:
    """The module, as it has to be."""
    source = (ROOT / "sansio" / "requests.py").read_text()
    lines = source.splitlines()
    tree = ast.parse(source)
    (requests,) = (one for one in tree.body if isinstance(one, ast.ClassDef))
    methods = [one for one in requests.body if isinstance(one, ast.AsyncFunctionDef) and not one.name.startswith("_")]
    text = HEAD + "".join("\n" + _method(one, lines) for one in methods)
    made = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(ROOT / "sync" / "requests.py"), "-"],
        input=text, capture_output=True, text=True, check=True, cwd=ROOT.parent,
    )  # fmt: skip
    return made.stdout


def _method(method: ast.AsyncFunctionDef, lines: list[str]) -> str:
    decorators = "".join(f"    @{ast.unparse(one)}\n" for one in method.decorator_list)
    if decorators:  # an overload has no more than its line
        head = "\n".join(lines[method.lineno - 1 : method.end_lineno])
        return decorators + _blocking(head) + "\n"
    docstring = method.body[0]
    head = "\n".join(lines[method.lineno - 1 : docstring.end_lineno])
    arguments = method.args
    given = [one.arg for one in arguments.args[1:]] + [f"{one.arg}={one.arg}" for one in arguments.kwonlyargs]
    call = f"self._inner.{method.name}({', '.join(given)})"
    runs = "iterate" if "AsyncIterator" in head else "run"
    return f"{_blocking(head)}\n        return self._portal.{runs}({call})\n"


def _blocking(head: str) -> str:
    return re.sub(r"\basync def\b", "def", head).replace("AsyncIterator[", "Iterator[")


if __name__ == "__main__":
    (ROOT / "sync" / "requests.py").write_text(written())
