"""``python -m bench.membership``: the membership by the thousand, as a table and a plot for ``docs/membership``."""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from dynatwist.sim.survey import Scenario, Survey, first_suspicions, survey

SIZES = (10, 30, 100, 300, 1000, 2000, 5000)
LOSSES = (0.0, 0.1)
BIG = 1000
"""From here on most crashes are watched in worlds of their own, only until they are suspected."""
HEAD = (
    " nodes  loss  crashes  first suspicion, s    model  all know, s  joiner known  packets  bytes  suspicions\n"
    "                       mean ± SE                    (median)     to 99 %, s    /period  /s     of live, /min"
)


def look(scenario: Scenario, seed: int) -> tuple[Scenario, Survey, float]:
    """One line's figures, and how long it took."""
    began_s = time.monotonic()
    if scenario.nodes < BIG:
        *_, (_, seen) = survey(scenario, seed)
    else:
        *_, (_, seen) = survey(replace(scenario, crashes=scenario.crashes // 25), seed)
        seen.first_s = first_suspicions(scenario, range(scenario.crashes))
    return scenario, seen, time.monotonic() - began_s


def line(scenario: Scenario, seen: Survey) -> str:
    """As text."""
    mean_s, error_s = seen.mean_first_s
    return (
        f"{scenario.nodes:6}  {scenario.loss:4.1f}  {len(seen.first_s):7}  {mean_s:8.3f} ± {error_s:.3f}  "
        f"{scenario.expected_first_s():8.3f}  {seen.median_everywhere_s:11.2f}  {seen.known_to_most_s:12.2f}  "
        f"{seen.packets:7.3f}  {seen.bytes_s:5.0f}  {seen.suspected * 60 / scenario.quiet_s:13.1f}"
    )


def draw(seen: list[tuple[Scenario, Survey]], path: Path) -> None:
    """Detection and load against the number of nodes."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for loss in LOSSES:
        mine = [(one, found) for one, found in seen if one.loss == loss]
        sizes = [one.nodes for one, _ in mine]
        name = f"{loss:.0%} lost"
        (drawn,) = left.plot(sizes, [found.median_everywhere_s for _, found in mine], "s-", label=f"all know, {name}")
        means = [found.mean_first_s for _, found in mine]
        left.errorbar(
            sizes,
            [m for m, _ in means],
            [e for _, e in means],
            fmt="o",
            color=drawn.get_color(),
            label=f"first, {name}",
        )
        right.plot(sizes, [found.packets for _, found in mine], "o-", label=name)
    left.plot(sizes, [one.expected_first_s() for one, _ in mine], "k:", label="first, model")
    left.set_ylabel("seconds after a crash")
    right.set_ylabel("packets a node and period")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("nodes")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    figure.savefig(path)


def main() -> None:
    """Measure all sizes, smallest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crashes", type=int, default=1000)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/bench"))
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    scenarios = [
        Scenario(size, loss, 60.0, options.crashes if size <= BIG else options.crashes // 10)
        for size in sizes
        for loss in LOSSES
    ]
    print(HEAD)
    seen = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for scenario, found, took_s in pool.map(partial(look, seed=1), scenarios):
            print(
                f"{line(scenario, found)}   ({took_s:.0f} s; {found.false_alarms} false, {found.violations[:2]})",
                flush=True,
            )
            seen.append((scenario, found))
    options.out.joinpath("membership.txt").write_text("\n".join([HEAD, *(line(*one) for one in seen)]) + "\n")
    draw(seen, options.out / "membership.svg")


if __name__ == "__main__":
    main()
