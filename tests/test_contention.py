"""Many change one record at once: `Client.update` loses no change, and does not drown in its own tries."""

from __future__ import annotations

from random import Random

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults

from dynatwist.client import Client, PreconditionFailed
from dynatwist.client.contention import MOST_DOUBLINGS, Contention


def test_who_fails_waits_up_to_twice_as_long_each_time_and_no_longer_than_that():
    waits = [[(contention := Contention(Random(seed))).failed(0.01)] for seed in range(200)]
    assert 0 < max(waits)[0] <= 0.02
    for seed in range(200):
        contention = Contention(Random(seed))
        for failures in range(1, 20):
            assert 0 <= contention.failed(0.01) <= 0.01 * 2 ** min(failures, MOST_DOUBLINGS)


@pytest.fixture(scope="module", autouse=True)
def strong_table(cluster):
    answer = cluster.nodes[0].request("PUT", "/admin/tables/counters", {"consistency": "strong"}, cluster.admin_token())
    assert answer.status == 200


async def client(cluster, number=0):
    node = cluster.nodes[number % len(cluster.nodes)]
    kv = await Client.connect(reactor, [f"http://{node.address}"])
    await kv.login("alice", "a long secret")
    return kv


@pytest.mark.processes
class TestUpdate:
    @pytest_twisted.ensureDeferred
    async def test_no_change_of_many_at_once_is_lost(self, cluster):
        clients = [await client(cluster, number) for number in range(6)]

        async def raise_it(kv):
            return [await kv.update("counters", "c", raised) for _ in range(10)]

        def raised(value):
            return {"n": (value or {"n": 0})["n"] + 1}

        made = await gatherResults([ensureDeferred(raise_it(kv)) for kv in clients])
        assert sorted(one.value["n"] for some in made for one in some) == list(range(1, 61))
        for kv in clients:
            await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_a_change_may_leave_all_as_it_is(self, cluster):
        kv = await client(cluster)
        assert await kv.update("counters", "none", lambda value: None) is None
        written = await kv.update("counters", "one", lambda value: {"n": 1})
        assert await kv.update("counters", "one", lambda value: None) == written
        await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_who_is_always_late_is_told(self, cluster):
        kv, quick = await client(cluster), cluster.nodes[0]
        numbers = iter(range(10_000))

        def after_others(value):
            quick.put("counters", "late", {"n": next(numbers)}, kv.token)
            return {"n": -1}

        with pytest.raises(PreconditionFailed):
            await kv.update("counters", "late", after_others, timeout_s=0.3)
        await kv.close()
