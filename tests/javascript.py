"""Expressions in JavaScript, by Node.js where that is installed."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


def evaluated(before, expression):
    """What an expression comes to, as JSON.

    :param before: lines before it, imports among them.
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-"],
        input=f"{before}\nconsole.log(JSON.stringify({expression}))",
        capture_output=True,
        text=True,
        timeout=20,
        cwd="/tmp",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
