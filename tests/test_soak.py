"""Real processes whose clocks jump, and the soak itself for some seconds."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from .real import Node, RealCluster, free_port, wait_until
from .soak.__main__ import main
from .soak.circumstances import Circumstances
from .soak.hosts import under

pytestmark = pytest.mark.processes


def test_timers_do_not_go_by_the_wall_clock(tmp_path):
    """Twisted's do: a clock set back by a day stopped rounds, probes, deadlines and saves of a node for a day."""
    cluster = RealCluster(tmp_path)
    node = Node(tmp_path, free_port(), "--snapshot-interval", "0.5")
    cluster.nodes.append(node)
    circumstances = Circumstances(tmp_path / "circumstances")
    under(circumstances, node)
    try:
        node.start()
        wait_until(node.is_ready)
        token = node.register("alice")
        assert node.put("t", "k", {"n": 1}, token).status == 201
        circumstances.change(wall_offset_s=-86_400)
        before = node.request("GET", "/stats").json["cold_saves"]
        wait_until(lambda: node.request("GET", "/stats").json["cold_saves"] >= before + 2, 10, "cold saves")
    finally:
        cluster.close()


def test_the_soak_for_some_seconds():
    options = ["--minutes", "0.05", "--nodes", "3", "--loopback", "--rate", "60", "--faults", "kill,drift"]
    found = CliRunner().invoke(main, options)
    assert found.exit_code == 0, found.output
    assert "0 wrong" in found.output
