"""The client gives its writes names, so that each is made once though its answer is lost; on real nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from dynatwist.client import Client, Unavailable
from dynatwist.sansio.naming import named

from .cut import Cut
from .real import RealCluster

DYNAKV = str(Path(sys.executable).with_name("dynakv"))


class TestNames:
    def test_each_operation_of_a_batch_has_its_own_and_those_of_its_caller_stay(self):
        ops = [{"op": "delete", "key": "k"}] * 2 + [{"op": "delete", "key": "k", "idempotency_key": "mine"}]
        first, second, third = (op["idempotency_key"] for op in named(ops, Random(1)))
        assert len({first, second, third}) == 3
        assert third == "mine"
        assert named(ops, Random(2))[0]["idempotency_key"] != first, "another call, other names"
        assert "idempotency_key" not in ops[0], "what the caller holds stays as it is"

    def test_an_empty_one_is_none(self):
        assert named([{"op": "delete", "key": "k", "idempotency_key": ""}], Random(1)) == [{"op": "delete", "key": "k"}]


@pytest.fixture(scope="module")
def cluster():
    made = RealCluster.start(3)
    for table in ("strong", "jobs"):
        answer = made.nodes[0].request("PUT", f"/admin/tables/{table}", {"consistency": "strong"}, made.admin_token())
        assert answer.status == 200
    made.nodes[0].register("alice", "a long secret")
    yield made
    made.close()


@pytest.fixture(params=["strong", "usual"])
def table(request):
    return request.param


@pytest.fixture
def losing(cluster):
    """Makes a client whose first node's answers are lost, of requests that begin so: ``(client, the proxy)``."""
    cuts = []

    async def make(*begin, left=1):
        cuts.append(Cut(cluster.nodes[0].port, *begin, left=left))
        kv = Client(reactor, [cuts[-1].url, *(f"http://{node.address}" for node in cluster.nodes[1:])])
        await kv.login("alice", "a long secret")
        return kv, cuts[-1]

    yield make
    for cut in cuts:
        cut.close()


@pytest.mark.processes
class TestLostAnswers:
    @pytest_twisted.ensureDeferred
    async def test_a_counter_counts_each_change_once(self, losing, table):
        kv, cut = await losing("PUT", left=5)
        await kv.put(table, "counter", {"n": 0})
        for _ in range(8):
            await kv.update(table, "counter", lambda held: {"n": held["n"] + 1})
            while kv._nodes.urls[0] != cut.url:  # else it would stay with a node that loses nothing
                kv._nodes.leave(kv._nodes.urls[0])
        assert len(cut.lost) == 5, "answers were lost"
        record = await kv.get(table, "counter")
        assert (record.value, record.version) == ({"n": 8}, 9)
        await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_a_whole_put_does_not_undo_what_another_wrote_meanwhile(self, cluster, losing, table):
        kv, cut = await losing("PUT")
        node, token = cluster.nodes[1], kv.token
        sent = kv._nodes.once

        async def interrupted(request):
            if cut.lost:  # the answer was lost, and the write is about to be sent again: somebody else is quicker
                answer = await deferToThread(node.put, table, "whole", {"by": "another"}, token)
                assert answer.status == 201
            return await sent(request)

        kv._nodes.once = interrupted
        record = await kv.put(table, "whole", {"by": "me"})
        kv._nodes.once = sent
        assert (record.value, record.version, record.superseded) == ({"by": "me"}, 1, True)
        assert (await kv.get(table, "whole")).value == {"by": "another"}
        await kv.close()

    @pytest.mark.parametrize("verb", ["PUT", "PATCH", "DELETE"])
    @pytest_twisted.ensureDeferred
    async def test_a_create_a_patch_and_a_delete_are_made_and_told(self, losing, table, verb):
        kv, cut = await losing(verb)
        made = await kv.put(table, verb, {"n": 1}, if_none_match=True)  # the second time it would be 412
        assert (made.value, made.version) == ({"n": 1}, 1)
        patched = await kv.patch(table, verb, {"m": 2})
        assert (patched.value, patched.version) == ({"n": 1, "m": 2}, 2)
        await kv.delete(table, verb)  # the second time it would be 404
        assert len(cut.lost) == 1
        await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_a_batch(self, losing, table):
        kv, cut = await losing(f"POST /{table}/batch")
        await kv.put(table, "old", {})
        puts = [{"op": "put", "key": f"b{number}", "value": {"n": number}} for number in range(50)]
        puts = [{**op, "if_none_match": True} for op in puts]  # the second time it would be 412
        results = await kv.batch(table, [*puts, {"op": "delete", "key": "old"}])
        assert cut.lost
        assert [one["status"] for one in results] == [201] * 50 + [200]
        assert {record.version for record in (await kv.get_many(table, [op["key"] for op in puts])).values()} == {1}
        await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_without_a_name_nobody_knows(self, losing, table):
        kv, cut = await losing("PUT")
        with pytest.raises(Unavailable) as raised:
            await kv.put(table, "nameless", {"n": 1}, idempotency_key="")
        assert (raised.value.code, len(cut.lost)) == ("uncertain", 1)
        assert (await kv.get(table, "nameless")).version == 1, "it was made"
        await kv.close()

    @pytest.mark.parametrize("step", ["", "/renew", "/release"])
    @pytest_twisted.ensureDeferred
    async def test_a_lock_is_held_renewed_and_released(self, losing, step):
        kv, cut = await losing(f"POST /jobs/lock/{step.strip('/') or 'take'}{step}")
        key = step.strip("/") or "take"
        lock = kv.lock("jobs", key, ttl_s=3, wait_s=0)
        await lock.acquire()
        if step == "/renew":
            await _until(lambda: cut.lost)
            lost_at_s = lock._until_s
            await _until(lambda: lock._until_s > lost_at_s)
        assert lock.is_held
        await lock.release()
        assert len(cut.lost) == 1
        other, _ = await losing()
        async with other.lock("jobs", key, wait_s=0) as after:
            assert after.fence > lock.fence
        for client in (kv, other):
            await client.close()

    @pytest_twisted.ensureDeferred
    async def test_the_command(self, losing, tmp_path):
        kv, cut = await losing("PUT", "PATCH", "DELETE", left=9)
        urls = kv._nodes.urls
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "DYNAKV_TOKEN": kv.token}

        def run(*arguments):
            command = [DYNAKV, *(part for url in urls for part in ("--url", url)), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=env)
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert json.loads(await deferToThread(run, "put", "usual", "cli", '{"n": 1}'))["version"] == 1
        assert json.loads(await deferToThread(run, "patch", "usual", "cli", '{"m": 1}'))["version"] == 2
        await deferToThread(run, "del", "usual", "cli")
        assert [line.split()[0] for line in cut.lost] == ["PUT", "PATCH", "DELETE"]
        await kv.close()


async def _until(condition, limit_s=10.0):
    from twisted.internet.task import deferLater

    end_s = reactor.seconds() + limit_s
    while not condition():
        assert reactor.seconds() < end_s
        await deferLater(reactor, 0.02)
