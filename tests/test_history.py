"""A node's history: rings against a plain list of all samples, and samples against what was counted."""

from __future__ import annotations

from math import isnan, nan

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred

from dynatwist.history.history import SPANS, TICK_S, History, end_ms, tick_at
from dynatwist.history.ring import Blend, Ring
from dynatwist.history.series import BLENDS, GAUGES, QUANTILES, RATES, Buckets, Counted, quantile_s, sample_of
from dynatwist.metrics import Metrics
from dynatwist.net.messages import AskCondition, AskHistory, ConditionIs, HistoryIs
from dynatwist.requests.everybody import AN_OLDER_RELEASE, TIMEOUT_S
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World

BOTH = {"mean": Blend.MEAN, "max": Blend.MAX}
NUMBERS = st.floats(-1000, 1000)
SAMPLES = st.lists(st.tuples(st.integers(0, 40), st.one_of(st.just(nan), NUMBERS)), max_size=40)


def plain(samples, step):
    """What a step comes to, of all samples there ever were."""
    those = [value for at, value in samples if at == step and not isnan(value)]
    return (sum(those) / len(those), max(those)) if those else (nan, nan)


@given(SAMPLES, st.integers(1, 5), st.integers(1, 6), st.integers(0, 30))
@example([(0, 1.0), (20, 2.0)], 4, 1, 0)
def test_a_ring_tells_what_a_list_of_all_samples_tells(gaps, slots, ticks, later):
    """Over gaps, over more steps than there are slots, and however long after the last sample it is asked."""
    ring, samples, tick = Ring(BOTH, slots, ticks), [], 0
    for gap, value in gaps:
        tick += gap
        ring.add(tick, {"mean": value, "max": value})
        samples.append((tick // ticks, value))
        last = (tick + later) // ticks
        view = ring.view(tick + later)
        for back in range(slots):
            mean, most = plain(samples, last - back)
            assert view["mean"][-1 - back] == pytest.approx(mean, abs=1e-6, nan_ok=True)
            assert view["max"][-1 - back] == pytest.approx(most, nan_ok=True)
        assert {len(one) for one in view.values()} == {slots}


def test_a_ring_tells_of_an_earlier_moment_too():
    ring = Ring(BOTH, 3)
    for tick in range(5):
        ring.add(tick, {"mean": tick})
    assert ring.view(3)["mean"][1:] == [2, 3]
    assert isnan(ring.view(3)["mean"][0]), "written over"
    assert all(map(isnan, ring.view(99)["mean"]))


def test_coarse_rings_are_made_of_fine_samples():
    """Rates and what is there: the mean; quantiles: the greatest one."""
    history, first = History(BLENDS), 120 * 7
    for tick in range(first, first + 120):
        history.add(tick, {"requests_get": float(tick - first), "p99_ms": float(tick - first)})
    last = first + 119
    fine, middle, coarse = (history.view(span, last) for span in SPANS)
    assert fine["requests_get"][-6:] == [114, 115, 116, 117, 118, 119]
    assert middle["requests_get"][-2:] == [110.5, 116.5]
    assert middle["p99_ms"][-2:] == [113, 119]
    assert coarse["requests_get"][-1] == pytest.approx(59.5)
    assert coarse["p99_ms"][-1] == 119
    assert isnan(coarse["p99_ms"][-2])


def test_how_much_memory_a_history_takes():
    assert len(BLENDS) == len(RATES) + len(GAUGES) + len(QUANTILES) == 28
    assert History(BLENDS).size_bytes == 28 * (120 + 120 + 144) * 8 == 86_016


def test_steps_end_at_the_same_moments_on_all_nodes():
    now_ms = 1_795_874_977_418
    tick = tick_at(now_ms)
    for name, span in SPANS.items():
        end = end_ms(name, tick)
        assert 0 < end - now_ms <= 1000 * span.step_s
        assert end % (1000 * span.step_s) == 0
    assert {span.step_s % TICK_S for span in SPANS.values()} == {0}


def counted(at_s=0.0, *, requests=(), events=0, cpu_s=0.0, counts=None):
    durations = {"requests": Buckets((0.001, 0.01, 0.1), counts)} if counts is not None else {}
    return Counted(at_s, dict(requests), events, cpu_s, durations, {"keys": 7.0})


class TestSamples:
    def test_rates_are_of_the_time_that_passed(self):
        before = counted(10.0, requests={("GET", 200): 5, ("PUT", 201): 1}, events=3, cpu_s=1.0)
        requests = {("GET", 200): 15, ("GET", 404): 2, ("PUT", 201): 1, ("HEAD", 503): 4, ("WS", 200): 8}
        found = sample_of(before, counted(14.0, requests=requests, events=5, cpu_s=1.5))
        assert {name: found[name] for name in RATES} == {
            "requests_get": 3.0, "requests_put": 0.0, "requests_patch": 0.0, "requests_delete": 0.0,
            "websocket_operations": 2.0, "requests_other": 1.0, "answers_2xx": 4.5, "answers_4xx": 0.5,
            "answers_5xx": 1.0, "events": 0.5, "cpu": 0.125,
        }  # fmt: skip
        assert found["keys"] == 7.0

    def test_quantiles_are_of_what_came_in_the_step(self):
        before, after = counted(counts=(1000, 0, 0, 0)), counted(5.0, counts=(1000, 90, 10, 0))
        found = sample_of(before, after)
        assert found["p50_ms"] == pytest.approx(1 + 9 * 50 / 90)
        assert found["p99_ms"] == pytest.approx(10 + 90 * 9 / 10)
        assert isnan(found["fsync_p99_ms"]), "nothing was written"

    def test_no_time_has_passed(self):
        assert isnan(sample_of(counted(1.0), counted(1.0, events=1))["events"])

    @given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.lists(st.integers(0, 50), min_size=4, max_size=4))
    def test_a_quantile_is_in_the_bucket_of_its_rank(self, first, more):
        bounds = (0.001, 0.01, 0.1)
        before = Buckets(bounds, tuple(first))
        after = Buckets(bounds, tuple(a + b for a, b in zip(first, more, strict=True)))
        for quantile in (0.5, 0.99):
            found = quantile_s(before, after, quantile)
            if not sum(more):
                assert isnan(found)
                continue
            in_order = [at for at, count in enumerate(more) for _ in range(count)]
            rank = next(at for at in range(len(in_order)) if at + 1 >= quantile * len(in_order))
            bucket = in_order[rank]
            low, high = (0.0, *bounds)[min(bucket, 3)], (*bounds, bounds[-1])[bucket]
            assert low <= found <= high + 1e-12

    def test_what_metrics_count_is_what_samples_are_made_of(self):
        metrics = Metrics()
        assert sum(metrics.took()) == 0
        metrics.observe("GET", 200, 0.002, "data.get", "one")
        metrics.observe("GET", 200, 0.3, "data.get", "quorum")
        metrics.observe("BAD", 400, 0.0)
        assert metrics.counts() == {("GET", 200): 2, ("BAD", 400): 1}
        assert sum(metrics.took()) == 2, "what was no request took no time"


@pytest.fixture(scope="module")
def cluster():
    cluster = SimCluster(World(7), 3)
    for node in cluster.nodes:
        node.start()
    assert cluster.world.run_until(cluster.is_settled, 60)
    cluster.world.run(cluster.world.now_s + 61)
    return cluster


class TestMembers:
    """Three simulated nodes: each samples by its own clock, and all answer for the same moments."""

    def ask(self, cluster, message, kind):
        one, told = cluster.nodes[0], []
        everybody = one.core.handlers.insight.everybody
        one.process.run(lambda: ensureDeferred(everybody.ask(message, kind)).addCallback(told.append))
        began_s = cluster.world.now_s
        assert cluster.world.run_until(lambda: bool(told), 3, step_s=0.05)
        assert cluster.world.now_s - began_s <= TIMEOUT_S + 0.1
        return told[0]

    def test_samples_lie_side_by_side(self, cluster):
        tick = cluster.nodes[0].core.handlers.insight.sampler.last_tick
        told = self.ask(cluster, AskHistory("10m", tick), HistoryIs)
        assert [one.series["members_alive"][-8:] for one in told.values()] == [[3.0] * 8] * 3

    def test_a_member_that_was_paused_has_a_gap(self, cluster):
        paused = cluster.nodes[2]
        paused.process.pause()
        cluster.world.run(cluster.world.now_s + 0.1)
        assert self.ask(cluster, AskCondition(), ConditionIs)[paused.node_id] == "no answer within 1 s"
        cluster.world.run(cluster.world.now_s + 20)
        assert self.ask(cluster, AskCondition(), ConditionIs)[paused.node_id] == "cannot be reached"
        paused.process.thaw()
        cluster.world.run(cluster.world.now_s + 15)
        tick = cluster.nodes[0].core.handlers.insight.sampler.last_tick
        samples = self.ask(cluster, AskHistory("10m", tick), HistoryIs)[paused.node_id].series["keys"]
        assert 3 <= sum(map(isnan, samples[-9:])) <= 4, samples[-9:]
        assert not isnan(samples[-1])

    def test_a_member_of_an_older_release_is_not_asked(self, cluster):
        old = cluster.nodes[1]
        status = old.core.cluster._status
        old.core.cluster._status = lambda: msgspec.structs.replace(status(), has_insight=False)
        old.process.run(old.core.cluster.publish)
        cluster.world.run(cluster.world.now_s + 1)
        assert self.ask(cluster, AskCondition(), ConditionIs)[old.node_id] == AN_OLDER_RELEASE
