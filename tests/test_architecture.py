"""The dependency rule: imports point one way, the pure packages are pure, only tap.py uses the global reactor."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "dynatwist"
LAYERS = [
    {"errors", "figures", "sometimes", "calls", "once"},
    {"heart"},
    {"metrics", "tracing"},
    {"budget", "backups"},
    {"model"},
    {"membership", "replication", "feed"},
    {"health", "history"},
    {"storage"},
    {"runtime"},
    {"twisted_inside"},
    {"net"},
    {"cluster"},
    {"repair", "agreement", "relays"},
    {"requests"},
    {"auth"},
    {"api"},
    {"config"},
    {"timed"},
    {"housekeeping", "audit_log", "data_folder"},
    {"scheduled"},
    {"counters"},
    {"core"},
    {"process", "exposure", "network", "supervised", "logs", "ports"},
    {"web"},
    {"node", "checking"},
    {"tap"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
PURE = {"model", "membership", "replication", "feed", "importing", "backups", "health", "history"}
IMPURE = {"twisted", "time", "random", "os", "socket", "asyncio", "threading", "datetime", "secrets"}
BESIDE = {"sim", "sansio", "client", "aio", "sync", "local", "adapters", "testing", "importing", "cli", "doctor"}
"""Not part of a node: sim drives core and what is below it; importing reads what other stores tell; the others speak
HTTP."""

FILES = sorted(ROOT.rglob("*.py"))


def unit(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path, top_level_only: bool = False) -> list[str]:
    """The absolute names of the modules that a file imports."""
    package = ["dynatwist", *path.relative_to(ROOT).parts[:-1]]
    tree = ast.parse(path.read_text())
    found: list[str] = []
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            found.append(".".join([*base, *([node.module] if node.module else [])]))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    mine = unit(path)
    if mine in BESIDE or mine == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "dynatwist" and len(parts) > 1:
            assert parts[1] not in BESIDE, f"{path} imports {name}"
            assert parts[1] == mine or RANK[parts[1]] < RANK[mine], f"{path} imports {name}, which is above it"


@pytest.mark.parametrize("path", [path for path in FILES if unit(path) in PURE], ids=lambda p: str(p.relative_to(ROOT)))
def test_pure_packages_import_no_world(path):
    assert not {name.split(".")[0] for name in imports(path)} & IMPURE


def test_sim_drives_what_is_below_the_web():
    for path in FILES:
        if unit(path) == "sim":
            assert not [name for name in imports(path) if name.startswith(("dynatwist.web", "dynatwist.node", "klein"))]


FACES = {"client", "aio", "sync"}
"""Of `sansio`, each for one world; the blocking one is made of asyncio's."""


def test_the_client_loads_no_server():
    for path in FILES:
        ours = {name.split(".")[1] for name in imports(path) if name.startswith("dynatwist.")}
        if unit(path) == "sansio":
            assert ours <= {"sansio"}, path
            assert not {name.split(".")[0] for name in imports(path)} & (IMPURE - {"random"}), path
        if unit(path) in FACES:
            assert ours <= {"sansio", unit(path), *(["aio"] if unit(path) == "sync" else [])} | (
                {"twisted_inside"} if unit(path) == "client" else set()
            ), path
        if unit(path) == "cli":
            server = ("dynatwist.core", "dynatwist.node", "dynatwist.web", "dynatwist.requests", "twisted")
            assert not [name for name in imports(path, top_level_only=True) if name.startswith(server)], path


def test_only_tap_uses_the_global_reactor():
    for path in FILES:
        if unit(path) == "tap":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "twisted.internet":
                assert "reactor" not in {alias.name for alias in node.names}, path


def test_klein_is_imported_by_web_alone():
    assert {unit(path) for path in FILES if any(name.split(".")[0] == "klein" for name in imports(path))} == {"web"}


def test_the_plugin_imports_nothing_of_ours():
    plugin = ROOT.parent / "twisted" / "plugins" / "dynakv_plugin.py"
    assert "import dynatwist" not in plugin.read_text()
    assert "from dynatwist" not in plugin.read_text()
    assert not (plugin.parent / "__init__.py").exists()
    assert not (plugin.parent.parent / "__init__.py").exists()
