"""What is in deploy/ goes with the program: the unit of systemd starts a node with settings that twistd takes."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from .real import TWISTD

SYSTEMD = Path(__file__).parent.parent / "deploy" / "systemd"
UNIT = SYSTEMD / "dynakv.service"
LIMIT_S = 20
"""Of each program here; they take a second."""


def options() -> list[str]:
    """What the unit gives to ``twistd dynakv``."""
    [line] = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(line.removeprefix("ExecStart="))
    return words[words.index("dynakv") + 1 :]


def settings() -> dict[str, str]:
    """The environment file."""
    lines = (SYSTEMD / "dynakv.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_twistd_takes_what_the_unit_and_its_environment_file_say(tmp_path: Path) -> None:
    given = [word.replace("/var/lib/dynakv", str(tmp_path)) for word in options()]
    seen = subprocess.run(
        [TWISTD, "-n", "--pidfile=", "dynakv", *given, "--check-config"],
        env={**{name: text for name, text in os.environ.items() if not name.startswith("DYNAKV_")}, **settings()},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert seen.returncode == 0, seen.stderr
    assert f"{tmp_path}/data" in seen.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_the_unit() -> None:
    seen = subprocess.run(["systemd-analyze", "verify", UNIT], capture_output=True, text=True, timeout=LIMIT_S)
    assert (seen.returncode, seen.stderr) == (0, "")
