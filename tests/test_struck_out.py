"""A node that is down while it is struck out hears of that when it is started on its old folder, whatever its id."""

from __future__ import annotations

import json

import pytest

from .real import RealCluster, wait_until

pytestmark = pytest.mark.processes


def is_told(node, token):
    try:
        return b'"removed"' in node.request("GET", "/t/key/k", token=token).body
    except OSError:
        return False


@pytest.mark.parametrize("place", [0, -1])
def test_regression_who_is_down_while_it_is_struck_out_is_told(tmp_path, place):
    """The one with the highest id served its clients alone: whoever had dialled it did so no more."""
    cluster = RealCluster.start(4, folder=tmp_path)
    try:
        token = cluster.admin_token()
        listed = json.loads(cluster.nodes[0].request("GET", "/admin/members", token=token).body)["members"]
        address = sorted((member["id"], member["address"]) for member in listed)[place][1]
        gone = next(node for node in cluster.nodes if address.endswith(f":{node.port}"))
        other = next(node for node in cluster.nodes if node is not gone)
        gone.kill()
        assert other.request("POST", f"/admin/members/{address}/forget", token=token).status == 202

        def is_struck_out():
            found = json.loads(other.request("GET", "/admin/members", token=token).body)
            return not found["changing"] and all(member["address"] != address for member in found["members"])

        wait_until(is_struck_out, 60, "it is struck out")
        gone.start()
        wait_until(lambda: is_told(gone, token), 30, "it is told")
    finally:
        cluster.close()
