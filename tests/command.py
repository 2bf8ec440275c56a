"""Runs ``dynakv`` in the process of the tests: most of what a command takes is the start of Python."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass

import pytest

from dynatwist.cli.main import commands
from dynatwist.cli.one_line import run_command


@dataclass
class Done:
    """What has come of a command."""

    status: int
    out: str
    err: str


def run_here(env, *words, stdin=""):
    """Run the command with an environment of its own; answers what it printed."""
    out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patched:
        for name, text in env.items():
            patched.setenv(name, text)
        patched.setattr(sys, "argv", ["dynakv", *map(str, words)])
        patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            run_command(commands)
    status = ended.value.code
    assert isinstance(status, int)
    return Done(status, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())
