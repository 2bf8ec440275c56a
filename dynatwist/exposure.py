"""What others on the machine can get at: told in one line each when a node starts, with what to do about it.

A key file that others can read is refused, since whoever has it is a member (see `dynatwist.storage.keyfile`). All else
may be meant so, and is only told; nothing is changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from dynatwist.config.node import NodeConfig

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""What the group, and everybody, may do."""


def exposures(config: NodeConfig) -> Iterator[str]:
    """A line for each; the data folder has to exist."""
    if os.geteuid() == 0:
        yield "this node runs as root, so whoever breaks in owns the machine; start it as a user of its own"
    mode = _mode(config.actual_data_dir)
    if mode & OTHERS:
        folder = config.actual_data_dir
        yield f"the data folder {folder} has mode {mode:04o}, open to others; run: chmod 700 {folder}"
    file = config.password_file
    if file is not None and (mode := _mode(file)) & OTHERS:
        yield f"{file} has a password in it and mode {mode:04o}, open to others; run: chmod 600 {file}"
    file = config.tls_key
    if file is not None and (mode := _mode(file)) & stat.S_IRWXO:  # a group of its own may read it, as many have it
        yield f"the private key {file} has mode {mode:04o}, open to everybody; run: chmod o= {file}"


def _mode(path: str) -> int:
    """The permissions of a file or folder; 0, as if it were closed, where they cannot be read."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return 0
