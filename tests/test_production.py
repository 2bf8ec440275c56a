"""The page for whoever has three machines is run line by line, and shows what it says."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from .hosts import Hosts

PAGE = (Path(__file__).parents[1] / "docs" / "production.rst").read_text()
SETTINGS = textwrap.dedent(re.search(r":name: node.toml\n\n((?:   .*\n)+)", PAGE)[1])


@pytest.mark.processes
def test_three_machines_step_by_step(tmp_path):
    assert tomllib.loads(SETTINGS)["port"] == 6660
    hosts = Hosts(tmp_path, 3)
    try:
        hosts.written("kv1", "/etc/dynakv/node.toml", SETTINGS)
        lines = 0
        for name, line, shown, printed in hosts.type(PAGE):
            lines += 1
            if shown:
                assert printed.replace(hosts.prefix, "10.0.0.").strip() == shown, (name, line)
        assert lines > 40
        for name in hosts.names:
            assert "Traceback" not in (hosts.folder(name) / "var/log/dynakv.log").read_text()
    finally:
        hosts.close()
