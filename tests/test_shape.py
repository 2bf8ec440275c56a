"""The shape of the code: modules, functions and classes that can be read alone, and why some are larger."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "dynatwist"
MOST_LINES, MOST_ATTRIBUTES, USUAL_FUNCTION_LINES = 350, 14, 16

A_VALUE = "a frozen value: one attribute for each thing that can be set, or that a record or an answer says"
WIRING = "wires parts in one place that reads top to bottom; each attribute is a part, or what all of them go by"
REASONS = {
    "Faults": A_VALUE,
    "Plan": A_VALUE,
    "Call": A_VALUE,
    "Operation": A_VALUE,
    "NodeConfig": A_VALUE,
    "Stats": A_VALUE,
    "SwimSettings": A_VALUE,
    "Limits": A_VALUE,
    "Recovered": A_VALUE,
    "MemberShown": A_VALUE,
    "Core": WIRING,
    "Context": WIRING,
    "Cluster": WIRING,
    "Handlers": WIRING + " of routes",
    "Peers": WIRING,
    "PeerLinks": WIRING,
    "Registrar": WIRING + "; beside them what it is about to propose",
    "Swim": WIRING + " of membership",
    "Times": WIRING + "; beside them the estimates that every frame looks at",
    "MembersWorld": "a simulated network of membership alone: its world, and what it has seen so far",
    "Wal": "every write passes through, and would pay for one hop more; what could be divided off is: groups, "
    "segment_writer, durability, room",
    "PeerLink": "the connection, and the parts that it drives (pulse, heard, outgoing, calls, reader); frames come by "
    "the ten thousand, so what each of them looks at is here",
    "Store": "log, state, clock and what follows their effects; each write touches most of them in one turn",
    "ColdSaver": "what a save goes by, and its bounds",
    "_Save": "one save under way: a position in each of the things that are written in slices",
    "PacketCodec": "three kinds of counters and two tables of boots, looked at for each packet",
    "SimStream": "both ways of a simulated connection",
    "Repair": WIRING + " of what keeps owners equal",
    "Run": "one request to a register under way: whose it is, by which registry it goes, and what it has come to",
    "Proposal": "one request to a register: what it was given, and all that it has heard",
    "Frame": "a value: one attribute for each member that a client may send",
    "Session": "one websocket: whose it is, what it is charged, its subscriptions, ephemeral records, transport",
    "BoundedSite": "twisted.web.server.Site with its bounds",
}
"""Why a class has more than `MOST_ATTRIBUTES`."""


def trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text())) for path in sorted(ROOT.rglob("*.py"))]


def attributes(found: ast.ClassDef) -> set[str]:
    """What instances of a class hold, as far as it says so itself."""
    names = {one.target.id for one in found.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    for node in ast.walk(found):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        for target in targets:
            names |= {
                one.attr
                for one in ast.walk(target)
                if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == "self"
            }
    return names


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_fits_a_few_screens(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_a_class_holds_few_things_or_has_a_reason():
    large = {
        node.name
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and len(attributes(node)) > MOST_ATTRIBUTES
    }
    assert large == REASONS.keys(), "say why, or take back the reason of one that became small"


def test_nine_functions_of_ten_fit_half_a_screen():
    lengths = sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[len(lengths) * 9 // 10] <= USUAL_FUNCTION_LINES
