"""``python -m bench.alarms``: what Lifeguard is worth, simulated: false alarms and detection with it and without it.

The same members are disturbed at the same times for as long, 0.1 to 30 s: cut off while their timers go on (as in
Dadgar et al., 2018, section V), or frozen. Counted are healthy members that a healthy one took for dead. Then all is
repeated with one part of Lifeguard switched off at a time.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median

from dynatwist.membership.settings import PARTS
from dynatwist.sim.survey import Scenario, Survey, survey

DISTURBED = (1, 2, 4, 8, 16, 32)
Task = tuple[Scenario, int]


def look(task: Task) -> Survey:
    """One run."""
    *_, (_, seen) = survey(*task)
    return seen


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m bench.alarms", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quiet", type=float, default=120.0, help="simulated seconds of each run, before the crashes")
    parser.add_argument("--crashes", type=int, default=10, help="of each run")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a file for the table")
    options = parser.parse_args()
    without: dict[str, frozenset[str]] = {"all on": frozenset(), "all off": frozenset(PARTS)}
    without |= {f"no {part}": frozenset([part]) for part in PARTS}
    lines = [f"{'':22}{'members that are cut off':>44}{'members that freeze':>44}", f"{'Lifeguard':22}" + 2 * (
        f"{'suspicions':>14}{'false alarms':>16}{'all know, s':>14}"
    )]  # fmt: skip
    with ProcessPoolExecutor(options.jobs) as pool:
        print("\n".join(lines), flush=True)
        for name, parts in without.items():
            line = f"{name:22}"
            for blocked in (True, False):
                base = Scenario(options.nodes, 0.0, options.quiet, options.crashes, 0, blocked, without=parts)
                tasks = [(replace(base, disturbed=n), seed) for n in DISTURBED for seed in range(options.seeds)]
                found = list(pool.map(look, tasks))
                broken = {text for seen in found for text in seen.violations}
                assert not broken, broken
                known = median(one for seen in found for one in seen.everywhere_s)
                line += f"{sum(seen.suspected for seen in found):14,}{sum(seen.false_alarms for seen in found):16,}"
                line += f"{known:14.2f}"
            print(line, flush=True)
            lines.append(line)
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
