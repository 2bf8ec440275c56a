"""``python -m fuzz TARGET [--minutes M]``: run one target for a while, or one input again."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import sys
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from twisted.logger import globalLogBeginner

if TYPE_CHECKING:
    from .target import Target

FOUND = Path("build") / "fuzz"
SLOWEST_INPUT_S = 20
"""After so long an input counts as one that never ends."""


def main(arguments: list[str]) -> int:
    """The command; answers the exit status, 1 when something was found."""
    given = _parsed(arguments)
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)  # else it keeps all, and nodes
    if given.target == "ownership":
        from .ownership import campaign

        return campaign(given.minutes * 60, given.seed)
    guided = not given.blind and given.input is None and importlib.util.find_spec("atheris") is not None
    if guided:
        import atheris

        with atheris.instrument_imports(include=["dynatwist"], enable_loader_override=False):
            from .targets import TARGETS
    else:
        from .targets import TARGETS
    if given.target not in TARGETS:
        print(f"there is no target {given.target}; there are: ownership, {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    target = TARGETS[given.target]
    if given.input is not None:
        target.check(given.input.read_bytes())
        return 0
    return _guided(target, given) if guided else _blind(target, given)


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m fuzz", description=__doc__)
    parser.add_argument("target", help="see fuzz/README.rst; any other name lists them")
    parser.add_argument("input", nargs="?", type=Path, help="a file: run this input only")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--blind", action="store_true", help="without atheris, also where it is installed")
    return parser.parse_args(arguments)


def _guided(target: Target, given: argparse.Namespace) -> int:
    """With coverage: libFuzzer ends the process by itself."""
    import atheris

    from .target import MOST_BYTES

    folder = FOUND / target.name
    seeds, kept = folder / "seeds", folder / "corpus"
    for one in (seeds, kept):
        one.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (seeds / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    words = folder / "words"
    words.write_text("".join(f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word)}"\n' for word in target.words))
    options = [
        sys.argv[0], f"-max_total_time={int(given.minutes * 60)}", f"-max_len={MOST_BYTES}", "-rss_limit_mb=4096",
        f"-artifact_prefix={folder}/", f"-timeout={SLOWEST_INPUT_S}", "-print_final_stats=1",
        f"-seed={given.seed}", str(kept), str(seeds),
    ]  # fmt: skip
    if target.words:
        options.insert(1, f"-dict={words}")  # libFuzzer takes no empty one
    atheris.Setup(options, target.check)
    atheris.Fuzz()
    return 0


def _blind(target: Target, given: argparse.Namespace) -> int:
    from .mutate import mutations

    until_s, count = time.monotonic() + given.minutes * 60, 0
    for data in mutations(target.seeds(), target.words, Random(given.seed)):
        try:
            target.check(data)
        except BaseException:
            folder = FOUND / target.name
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"crash-{hashlib.sha256(data).hexdigest()[:16]}"
            path.write_bytes(data)
            print(f"{target.name}: after {count} inputs, found {path}", file=sys.stderr)
            raise
        count += 1
        if time.monotonic() >= until_s:
            break
    print(f"{target.name}: {count} inputs in {given.minutes:g} minutes, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
