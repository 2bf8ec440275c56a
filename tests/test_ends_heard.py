"""The end of a record is heard, once, behind the record, at owners and others, over a lost connection too; touch."""

from __future__ import annotations

import time

import pytest
import pytest_twisted
from twisted.internet import reactor

from dynatwist.client import Client, NotFound

from .real import Listener, wait_until
from .test_live import connect

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def ann(four):
    return four.nodes[0].register("ann", "a long secret")


def seen(events):
    return ["Deleted" if one == "Deleted" else one["Updated"]["value"]["n"] for one in events]


def test_every_node_tells_once_within_a_second_or_so(four, ann):
    listeners = [Listener(node, "sessions", "s", ann) for node in four.nodes]
    written = four.nodes[0].put("sessions", "s", {"n": 1}, ann, "?ttl=1")
    for listener in listeners:
        wait_until(lambda listener=listener: seen(listener.events) == [1, "Deleted"], 10)
    late_ms = time.time() * 1000 - written.json["expires_at"]
    assert late_ms < 3000  # the bar is one second, and a benchmark's; this is a busy machine
    four.nodes[0].put("sessions", "s", {"n": 2}, ann)
    for listener in listeners:
        wait_until(lambda listener=listener: seen(listener.events) == [1, "Deleted", 2], 10)


def test_who_comes_back_hears_of_an_end_that_was_missed(four, ann):
    for node in four.nodes:
        listener = Listener(node, "sessions", "away", ann)
        four.nodes[0].put("sessions", "away", {"n": 1}, ann, "?ttl=2")
        wait_until(lambda listener=listener: seen(listener.events) == [1], 10)
        cursor = listener.ids[-1]  # not one of before, which a stream begins with
        listener.close()
        wait_until(lambda: four.nodes[0].get("sessions", "away", ann).status == 404, 10)
        again = Listener(node, "sessions", "away", ann, Last_Event_ID=cursor)
        wait_until(lambda again=again: seen(again.events) == ["Deleted"], 10)
        again.close()


def test_what_is_touched_ends_later_and_what_is_replaced_does_not_end(four, ann):
    listener = Listener(four.nodes[1], "sessions", "t", ann)
    four.nodes[0].put("sessions", "t", {"n": 1}, ann, "?ttl=2")
    touched = four.nodes[2].request("POST", "/sessions/key/t/touch?ttl=600", None, ann)
    assert touched.status == 200
    assert touched.json["value"] == {"n": 1}
    assert touched.json["expires_at"] - touched.json["timestamp"] > 500_000
    four.nodes[0].put("sessions", "other", {"n": 1}, ann, "?ttl=3")
    wait_until(lambda: four.nodes[0].get("sessions", "other", ann).status == 404, 10)
    assert seen(listener.events) == [1, 1]
    for path, status in (("t/touch", 400), ("t/touch?ttl=x", 400), ("none/touch?ttl=9", 404)):
        assert four.nodes[0].request("POST", f"/sessions/key/{path}", None, ann).status == status
    assert four.nodes[0].request("POST", "/sessions/key/t/touch?ttl=9", None, None).status == 401


@pytest_twisted.ensureDeferred
async def test_the_websocket_says_why(four, ann):
    ws = await connect(four.nodes[3])
    await ws.ask(op="auth", id=0, token=ann)
    await ws.ask(op="subscribe", id=1, table="why", prefix="")
    four.nodes[0].put("why", "ends", {"n": 1}, ann, "?ttl=1")
    four.nodes[0].put("why", "deleted", {"n": 1}, ann)
    four.nodes[0].delete("why", "deleted", ann)
    heard = [await ws.next() for _ in range(4)]
    reasons = {one["key"]: one["reason"] for one in heard if one["type"] == "Deleted"}
    assert reasons == {"ends": "expired", "deleted": "deleted"}
    ws.sendClose()
    await ws.closed


@pytest_twisted.ensureDeferred
async def test_the_client_touches(four, ann):
    kv = await Client.connect(reactor, [f"http://{four.nodes[0].address}"])
    kv.token = ann
    await kv.put("sessions", "c", {"n": 1}, ttl=5)
    assert (await kv.touch("sessions", "c", 100)).value == {"n": 1}
    with pytest.raises(NotFound):
        await kv.touch("sessions", "nothing", 100)
    await kv.close()
