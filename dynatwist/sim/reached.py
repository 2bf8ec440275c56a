"""All the rare states that the code names with `dynatwist.sometimes.sometimes`, found in its source."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent


@cache
def named_states() -> frozenset[str]:
    """The literal names of all probes in the shipped code.

    :raises ValueError: for a name that is no literal, or stands in two places.
    """
    found: list[str] = []
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "sometimes(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sometimes":
                found.append(_name_of(node, path))
    twice = {name for name in found if found.count(name) > 1}
    if twice:
        raise ValueError(f"named in two places: {sorted(twice)}")
    return frozenset(found)


def _name_of(call: ast.Call, path: Path) -> str:
    if len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
        return call.args[0].value
    raise ValueError(f"{path}:{call.lineno}: the name of a rare state has to be a literal")
