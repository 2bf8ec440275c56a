"""Presence on real processes: a record is there as long as its client, and not much longer, whatever ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from dynatwist.client import Client, Forbidden, KvError

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
    """The value of each change, and the reason of each end; words such as ``reset``, when a node restarts, left out."""
    changes = [data for event, _, data in stream.heard if event is None]
    return [data["Deleted"] if "Deleted" in data else data["Updated"]["value"] for data in changes]


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


PROGRAM = """
    import sys
    from twisted.internet.defer import Deferred, ensureDeferred
    from twisted.internet.task import react
    from dynatwist.client import Client

    async def main(reactor):
        kv = await Client.connect(reactor, sys.argv[2:])
        kv.token = sys.argv[1]
        async with kv.presence("here", "program", {"at": "work"}):
            print("there", flush=True)
            await Deferred()

    react(lambda reactor: ensureDeferred(main(reactor)))
"""


def run_program(token, *nodes):
    """A program that is present, until it is killed."""
    urls = [f"http://{node.address}" for node in nodes]
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), token, *urls]
    program = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == b"there\n"
    return program


@pytest_twisted.ensureDeferred
async def test_it_stays_while_nothing_happens_and_nobody_hears_of_it_again(four, ann, bea):
    streams = [await deferToThread(listen, node, bea, "quiet") for node in four.nodes]
    sockets = [await socket_of(node, ann) for node in four.nodes]
    for number, ws in enumerate(sockets):
        assert (await put(ws, f"quiet-{number}", {"n": number}, ttl=3))["ok"]
    await deferLater(reactor, 12.0)  # four times as long as they may be silent
    assert [sorted(one["n"] for one in told(stream)) for stream in streams] == [[0, 1, 2, 3]] * 4
    for number in range(4):
        found = await deferToThread(four.nodes[0].get, "here", f"quiet-{number}", bea)
        assert found.json["version"] == 1
    for ws in sockets:
        ws.sendClose()
    await later(lambda: all(told(stream).count("deleted") == 4 for stream in streams), 3)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
@pytest_twisted.ensureDeferred
async def test_it_ends_when_its_program_is_killed_or_answers_no_more(four, ann, bea, how):
    stream = await deferToThread(listen, four.nodes[3], bea, "program")
    program = await deferToThread(run_program, ann, four.nodes[1])
    program.send_signal(how)
    await later(lambda: told(stream) == [{"at": "work"}])  # it might come back
    await later(lambda: told(stream) == [{"at": "work"}, "expired"], ENDED_S)
    program.kill()
    program.wait()


@pytest_twisted.ensureDeferred
async def test_a_client_that_comes_back_in_time_is_never_gone(four, ann, bea):
    stream = await deferToThread(listen, four.nodes[0], bea, "phone")
    lost = await socket_of(four.nodes[1], ann)
    await put(lost, "phone", {"n": 1}, ttl=4)
    lost.transport.abortConnection()
    back = await socket_of(four.nodes[2], ann)
    await put(back, "phone", {"n": 2}, ttl=4)
    await deferLater(reactor, 6.0)
    assert told(stream) == [{"n": 1}, {"n": 2}]
    back.sendClose()
    await later(lambda: told(stream)[2:] == ["deleted"], 3)


@pytest_twisted.ensureDeferred
async def test_what_a_user_deletes_or_writes_over_is_nobodys_presence_any_more(four, ann, bea):
    stream = await deferToThread(listen, four.nodes[0], bea, "let-go")
    ws = await socket_of(four.nodes[1], ann)
    await put(ws, "let-go-1", {"n": 1})
    await put(ws, "let-go-2", {"n": 2})
    assert (await deferToThread(four.nodes[2].delete, "here", "let-go-1", ann)).status == 200
    patched = await deferToThread(four.nodes[3].request, "PATCH", "/here/key/let-go-2", {"more": True}, ann)
    assert "ephemeral" not in patched.json
    ws.sendClose()
    await ws.closed
    expected = [{"n": 1}, {"n": 2}, "deleted", {"n": 2, "more": True}]
    await later(lambda: told(stream) == expected, 3)
    await deferLater(reactor, 2.0)
    assert told(stream) == expected
    assert (await deferToThread(four.nodes[1].get, "here", "let-go-2", bea)).status == 200


@pytest_twisted.ensureDeferred
async def test_it_ends_with_its_users_token(four, bea):
    eve = await deferToThread(four.nodes[0].register, "eve", SECRET)
    stream = await deferToThread(listen, four.nodes[3], bea, "eve")
    ws = await socket_of(four.nodes[1], eve)
    await put(ws, "eve", {"n": 1})
    assert (await deferToThread(four.nodes[2].request, "POST", "/auth/eve/logout", {}, eve)).status == 200
    await later(lambda: told(stream) == [{"n": 1}, "deleted"], 5, "eve")


@pytest_twisted.ensureDeferred
async def test_rights_and_bounds_are_said_in_a_line(four, ann, bea):
    ws = await socket_of(four.nodes[0], ann)
    await put(ws, "anns", {"n": 1})
    other = await socket_of(four.nodes[1], bea)
    assert (await put(other, "anns", {"n": 2}))["code"] == "forbidden"
    for wrong in ({"ttl": 0}, {"ttl": 86401}, {"ttl": "soon"}, {"ttl": True}):
        assert (await put(other, "mine", {}, **wrong))["code"] == "bad_ttl", wrong
    assert (await other.ask(op="put", id=3, table="here", key="x", value={}, ephemeral=1))["code"] == "bad_ephemeral"
    assert (await other.ask(op="delete", id=3, table="here", key="x", ephemeral=True))["code"] == "bad_ephemeral"
    assert (await put(other, "mine", {}, idempotency_key="k"))["code"] == "bad_ephemeral"
    assert (await put(other, "mine", {"n": 1}, ttl=86400))["ok"]
    for number in range(1023):
        assert (await put(other, f"many-{number}", {}))["ok"]
    refused = await put(other, "one-more", {})
    assert (refused["code"], "1024" in refused["error"]) == ("too_many", True)
    assert (await put(other, "mine", {"n": 2}))["ok"]  # what is there already may change
    other.sendClose()
    ws.sendClose()
    await later(lambda: all("many" not in key for key in keys_of(four.nodes[1], bea)), 10)


def keys_of(node, token):
    return node.request("GET", "/here/keys", None, token).json


@pytest_twisted.ensureDeferred
async def test_a_strong_table_has_none(four, ann):
    admin = await deferToThread(four.admin_token)
    made = await deferToThread(
        four.nodes[0].request, "PUT", "/admin/tables/strict", {"consistency": "strong"}, admin, 20.0
    )
    assert made.status == 200
    ws = await socket_of(four.nodes[0], ann)
    refused = await ws.ask(op="put", id=1, table="strict", key="k", value={}, ephemeral=True)
    assert (refused["code"], "strong" in refused["error"]) == ("bad_ephemeral", True)
    ws.sendClose()


@pytest_twisted.ensureDeferred
async def test_the_client_is_seen_changes_and_goes(four, ann, bea):
    assert (await deferToThread(four.nodes[0].put, "here", "deans", {}, ann)).status == 201
    kv = await Client.connect(reactor, [f"http://{node.address}" for node in four.nodes])
    await kv.login("cleo", SECRET)
    stream = await deferToThread(listen, four.nodes[3], bea, "cleo")
    async with kv.presence("here", "cleo", {"n": 1}) as here:
        await here.update({"n": 2})
        with pytest.raises(KvError, match="limit"):
            await here.update({"n": "x" * (2 << 20)})
        await here.update({"n": 3})
        assert (await kv.get("here", "cleo")).ephemeral
    await later(lambda: told(stream) == [{"n": 1}, {"n": 2}, {"n": 3}, "deleted"], 3)
    with pytest.raises(Forbidden):
        async with kv.presence("here", "deans", {}):
            pass
    await kv.close()


@pytest_twisted.ensureDeferred
async def test_it_ends_with_its_node_and_moves_with_its_client(three):
    """kill -9 of the node: whoever was connected to it alone is gone; a client that knows others never is."""
    one, two, other = three.nodes
    ann, bea = [await deferToThread(other.register, name, SECRET) for name in ("ann", "bea")]
    alone, moving = [await deferToThread(listen, other, bea, key) for key in ("alone", "program")]
    ws = await socket_of(one, ann)
    await put(ws, "alone", {"n": 1})
    program = await deferToThread(run_program, ann, one, two)
    one.kill()
    await later(lambda: told(alone) == [{"n": 1}, "expired"], ENDED_S)
    await later(lambda: told(moving) == [{"at": "work"}] * 2, ENDED_S)
    found = await deferToThread(two.get, "here", "program", bea)
    assert found.json["ephemeral"]
    program.kill()
    program.wait()
    one.start()
    await deferToThread(three.wait_ready)


@pytest_twisted.ensureDeferred
async def test_a_frozen_node_is_taken_for_gone_and_puts_again_what_is_there_when_it_thaws(three):
    frozen, _, other = three.nodes
    ann, bea = [await deferToThread(other.register, name, SECRET) for name in ("ann", "bea")]
    stream = await deferToThread(listen, other, bea, "alone")
    ws = await socket_of(frozen, ann)
    await put(ws, "alone", {"n": 1})
    frozen.freeze()
    await later(lambda: told(stream) == [{"n": 1}, "expired"], ENDED_S + 2)
    frozen.thaw()
    await later(lambda: told(stream) == [{"n": 1}, "expired", {"n": 1}], 10)
    ws.sendClose()
    await later(lambda: told(stream)[3:] == ["deleted"], 5)


@pytest_twisted.ensureDeferred
async def test_a_stop_in_order_leaves_time_to_connect_elsewhere(three):
    stopping, two, other = three.nodes
    ann, bea = [await deferToThread(other.register, name, SECRET) for name in ("ann", "bea")]
    stream = await deferToThread(listen, other, bea, "a")
    ws = await socket_of(stopping, ann)
    await put(ws, "a-moves", {"n": 1})
    await put(ws, "a-stays", {"n": 2})
    await deferToThread(stopping.stop)
    again = await socket_of(two, ann)
    await put(again, "a-moves", {"n": 3})
    stopping.start()  # as another process: what the one before had ends in time
    await later(lambda: told(stream) == [{"n": 1}, {"n": 2}, {"n": 3}, "expired"], ENDED_S)
    await deferToThread(three.wait_ready)
    assert (await deferToThread(other.get, "here", "a-moves", bea)).status == 200


@pytest_twisted.ensureDeferred
async def test_after_a_restart_of_all_nodes_who_does_not_come_back_is_gone(three):
    one = three.nodes[0]
    ann = await deferToThread(one.register, "ann", SECRET)
    ws = await socket_of(one, ann)
    await put(ws, "all", {"n": 1})
    for node in three.nodes:
        node.kill()
    for node in three.nodes:
        node.start()
    await deferToThread(three.wait_ready)
    stream = await deferToThread(listen, one, ann, "all")
    assert (await deferToThread(one.get, "here", "all", ann)).status == 200
    await later(lambda: told(stream) == ["expired"], ENDED_S)
    assert (await deferToThread(one.get, "here", "all", ann)).status == 404
