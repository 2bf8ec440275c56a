"""Presence on real processes: a record is there as long as its client, and not much longer, whatever ends it."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from .real import RealCluster, check_logs, wait_until
from .test_initial import Stream
from .test_live import connect

pytestmark = pytest.mark.processes
RULE = {"prefix": "", "read": ["*"], "create": ["*"], "update": ["owner"], "delete": ["owner"]}
ENDED_S = 20.0
"""Within which an end is heard of: 15 s, and something for finding out and telling."""
SECRET = "a long secret"


def start(count):
    cluster = RealCluster.start(count)
    admin = cluster.admin_token()
    assert cluster.nodes[0].request("PUT", "/admin/tables/here", {"access": [RULE]}, admin).status == 200
    return cluster


@pytest.fixture(scope="module")
def four():
    """Four nodes and three copies, and a table for presence; nobody kills these."""
    made = start(4)
    yield made
    check_logs(made)
    made.close()


@pytest.fixture
def three():
    """Three nodes that may be killed."""
    made = start(3)
    yield made
    check_logs(made)
    made.close()


@pytest.fixture(scope="module")
def ann(four):
    return four.nodes[0].register("ann", SECRET)


@pytest.fixture(scope="module")
def bea(four):
    return four.nodes[0].register("bea", SECRET)


async def later(condition, limit_s=10.0, what=""):
    """Wait until a condition holds, while the reactor runs."""
    return await deferToThread(wait_until, condition, limit_s, what)


def listen(node, token, key):
    """What a node tells of a key of the table."""
    stream = Stream(node, f"/here/subscribe?prefix={key}", token)
    assert stream.status == 200
    return stream


def told(stream):
    """The value of each change, and the reason of each end."""
    return [data["Deleted"] if "Deleted" in data else data["Updated"]["value"] for _, _, data in stream.heard]


async def socket_of(node, token):
    ws = await connect(node)
    assert (await ws.ask(op="auth", id=1, token=token))["ok"]
    return ws


async def put(ws, key, value, **more):
    return await ws.ask(op="put", id=2, table="here", key=key, value=value, ephemeral=True, **more)


@pytest_twisted.ensureDeferred
async def test_it_is_seen_at_every_node_and_gone_when_its_socket_says_goodbye(four, ann, bea):
    streams = [await deferToThread(listen, node, bea, "door") for node in four.nodes]
    ws = await socket_of(four.nodes[0], ann)
    record = (await put(ws, "door", {"at": "the door"}))["record"]
    assert record["ephemeral"] is True
    assert (await deferToThread(four.nodes[3].get, "here", "door", bea)).json["ephemeral"] is True
    ws.sendClose()
    await later(lambda: all(told(one) == [{"at": "the door"}, "deleted"] for one in streams), 3)
    assert (await deferToThread(four.nodes[1].get, "here", "door", bea)).status == 404
