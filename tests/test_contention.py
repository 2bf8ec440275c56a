"""Many change one record at once: `Client.update` loses no change, and does not drown in its own tries."""

from __future__ import annotations

from random import Random

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults

from dynatwist.client import Client, PreconditionFailed
from dynatwist.sansio.contention import GROWTH, MOST_GROWTHS, Contention


def test_who_fails_tries_once_more_at_once_and_then_waits_longer_each_time_up_to_a_bound():
    longest = [0.0] * 20
    for seed in range(200):
        contention = Contention(Random(seed))
        assert contention.failed(0.01) == 0.0
        longest = [max(before, contention.failed(0.01)) for before in longest]
    bounds = [0.01 * GROWTH ** min(failures, MOST_GROWTHS) for failures in range(1, 21)]
    assert all(0.9 * bound < most <= bound for most, bound in zip(longest, bounds, strict=True))


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
    @pytest.mark.parametrize("table", ["counters", "ordinary"])
    async def test_who_is_refused_is_shown_what_is_held(self, cluster, table):
        kv = await client(cluster, 1)
        with pytest.raises(PreconditionFailed) as nothing:
            await kv.put(table, "shown", {}, if_match="00" * 12)
        assert nothing.value.is_shown
        assert nothing.value.held is None
        held = await kv.put(table, "shown", {"n": 1}, if_none_match=True)
        with pytest.raises(PreconditionFailed) as refused:
            await kv.put(table, "shown", {"n": 2}, if_none_match=True)
        assert refused.value.held == held
        written = await kv.put(table, "shown", {"n": 2}, if_match=refused.value.held.etag)
        assert written.version == held.version + 1
        await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_what_is_long_is_not_shown(self, cluster):
        kv = await client(cluster)
        await kv.put("counters", "long", {"v": "x" * 100_000})
        with pytest.raises(PreconditionFailed) as refused:
            await kv.put("counters", "long", {}, if_none_match=True)
        assert not refused.value.is_shown
        assert (await kv.update("counters", "long", lambda value: {"v": len(value["v"])})).value == {"v": 100_000}
        await kv.close()

    def test_nobody_is_shown_what_was_not_asked_for_or_belongs_to_others(self, cluster):
        node = cluster.nodes[0]
        mine, others = node.register("alice", "a long secret"), node.register("mallory", "a long secret")
        assert node.put("counters", "mine", {"n": 1}, mine).status == 201
        plain = node.request("PUT", "/counters/key/mine", {}, mine, If_None_Match="*")
        assert plain.status == 412
        assert "record" not in plain.json
        answer = node.request(
            "PUT", "/counters/key/mine", {}, others, If_None_Match="*", Prefer="return=representation"
        )
        assert answer.status == 403
        assert "record" not in answer.json

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
