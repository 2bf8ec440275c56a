"""Draws what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

AXES = {
    "connections": ("connections", True),
    "value_size": ("bytes of a value", True),
    "nodes": ("nodes", False),
    "records": ("records held", True),
    "safety": ("durability: 0 fsync, 1 interval, 2 none", False),
    "tls": ("0 HTTP, 1 HTTPS", False),
    "listeners": ("listeners", True),
}


def draw(results: dict[str, Any], folder: Path) -> None:
    """One SVG a section; nothing without matplotlib."""
    try:
        from matplotlib import pyplot
    except ImportError:
        print("bench: no plots without matplotlib; try: pip install -e .[bench]")
        return
    for name, (label, is_log) in AXES.items():
        if name not in results:
            continue
        points = results[name]
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
        for line in dict.fromkeys(point[0] for point in points):
            mine = [point for point in points if point[0] == line]
            xs = [point[1] for point in mine]
            if any(point[2] for point in mine):
                left.plot(xs, [point[2] for point in mine], "o-", label=line)
            (drawn,) = right.plot(xs, [point[3] for point in mine], "o-", label=f"{line} p50")
            right.plot(xs, [point[4] for point in mine], "o:", color=drawn.get_color(), label=f"{line} p99")
        left.set_ylabel("requests a second")
        right.set_ylabel("milliseconds")
        for axes in (left, right):
            axes.set_xlabel(label)
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            if is_log:
                axes.set_xscale("log", base=2 if name in ("connections", "value_size") else 10)
        right.legend(fontsize="x-small")
        if left.has_data():
            left.legend(fontsize="x-small")
        else:
            left.remove()
        figure.savefig(folder / f"{name}.svg")
        pyplot.close(figure)
