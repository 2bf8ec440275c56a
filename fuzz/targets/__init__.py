"""The doors: each module has those of one kind."""

from __future__ import annotations

from ..target import Target
from . import doors, files, texts, wires

TARGETS: dict[str, Target] = {
    target.name: target for module in (texts, wires, files, doors) for target in module.TARGETS
}
