"""What clients may have of a node: shares, charges, the frames of one socket, what counts as one address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist.api.limits import Limits
from dynatwist.api.pipeline import FIRST_AT_ONCE, LEAST_AT_ONCE, LONG_ANSWER_BYTES, MOST_WAITING_BYTES, Pipeline
from dynatwist.api.source import Proxies, source_of
from dynatwist.budget import Allowance, Charge
from dynatwist.errors import ApiError


class TestAllowance:
    def test_a_holder_has_its_share_and_leaves_the_rest_to_others(self):
        allowance = Allowance(name="max-things", what="things", most=10, share=4, share_name="max-own-things")
        for _ in range(4):
            allowance.take("alice")
        with pytest.raises(
            ApiError, match=r"you have 4 things; the limit is 4 for each \(--max-own-things\)"
        ) as refused:
            allowance.take("alice")
        assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
        allowance.take("bob", 4)
        allowance.take("carol", 2)
        with pytest.raises(ApiError, match=r"10 things; the limit is 10 in all \(--max-things\)") as refused:
            allowance.take("dave")
        assert refused.value.status == 503
        assert allowance.refused == 2

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.booleans())))
    def test_what_is_spent_is_the_sum_of_what_is_held_and_within_both_bounds(self, steps):
        allowance = Allowance(name="n", what="things", most=12, share=7)
        held: dict[str, int] = {}
        for holder, amount, gives in steps:
            had = held.get(holder, 0)
            if gives and had >= amount:
                allowance.give_back(holder, amount)
                held[holder] = had - amount
            elif not gives:
                fits = had + amount <= 7 and sum(held.values()) + amount <= 12
                assert allowance.has_room(holder, amount) is fits
                if fits:
                    allowance.take(holder, amount)
                    held[holder] = had + amount
            assert allowance.spent == sum(held.values())
            assert all(allowance.held_by(one) == amount for one, amount in held.items())

    def test_a_charge_is_paid_back_once(self):
        allowance = Allowance(name="n", what="things", most=10, share=10)
        with Charge(allowance, "alice") as charge:
            charge.take(3)
            charge.add(4)
            charge.give_back(2)
            assert allowance.held_by("alice") == 5
            charge.give_back()
        assert allowance.spent == 0


@given(
    st.integers(1, 16 << 20),
    st.integers(1 << 16, 1 << 40),
    st.integers(1 << 16, 1 << 40),
    st.none() | st.integers(1, 500),
)
def test_every_budget_has_room_for_the_longest_body_and_a_connection(value_bytes, receiving, unread, connections):
    limits = Limits(value_bytes, receiving_bytes=receiving, unread_bytes=unread, connections=connections)
    budget = limits.budget(300)
    assert budget.receiving.share >= limits.body_bytes
    assert budget.unread.share >= limits.body_bytes
    assert 1 <= budget.connections.share <= budget.connections.most <= 300


class TestPipeline:
    def pipeline(self):
        begun: list[bytes] = []
        reading: list[bool] = []
        return Pipeline(begun.append, reading.append), begun, reading

    def test_frames_are_begun_in_order_and_few_at_first(self):
        pipeline, begun, _ = self.pipeline()
        frames = [b"%d" % number for number in range(100)]
        for frame in frames:
            pipeline.offer(frame)
        assert begun == frames[:FIRST_AT_ONCE]
        while len(begun) < 100:
            pipeline.over(10)
        assert begun == frames

    def test_after_a_long_answer_hardly_any_are_begun_at_once(self):
        pipeline, begun, _ = self.pipeline()
        for _ in range(FIRST_AT_ONCE + 10):
            pipeline.offer(b"x")
        for _ in range(FIRST_AT_ONCE - 1):
            pipeline.over(LONG_ANSWER_BYTES + 1)
        assert len(begun) <= FIRST_AT_ONCE + LEAST_AT_ONCE

    def test_nothing_is_begun_or_read_while_answers_wait_to_be_read(self):
        pipeline, begun, reading = self.pipeline()
        pipeline.unread(True)
        pipeline.offer(b"x")
        assert (begun, reading) == ([], [False])
        pipeline.unread(False)
        assert (begun, reading) == ([b"x"], [False, True])

    def test_no_more_is_read_while_much_waits(self):
        pipeline, _, reading = self.pipeline()
        for _ in range(FIRST_AT_ONCE):
            pipeline.offer(b"x")
        pipeline.offer(bytes(MOST_WAITING_BYTES + 1))
        assert reading == [False]
        pipeline.over(10)
        assert reading == [False, True]


class TestSource:
    @pytest.mark.parametrize(
        ("host", "source"),
        [
            ("10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
            ("client", "client"),
        ],
    )
    def test_a_network_of_ipv6_counts_as_one(self, host, source):
        assert source_of(host) == source

    @pytest.mark.parametrize(
        ("headers", "client"),
        [
            ({}, "10.0.0.1"),
            ({"x-forwarded-for": "9.9.9.9, 8.8.8.8"}, "8.8.8.8"),
            ({"x-forwarded-for": "9.9.9.9, 10.0.0.7"}, "9.9.9.9"),
            ({"x-forwarded-for": "nonsense"}, "10.0.0.1"),
            ({"x-forwarded-for": "10.0.0.3"}, "10.0.0.1"),
            ({"forwarded": 'for=9.9.9.9;proto=https, for="[2001:db8::1]:4711"'}, "2001:db8::1"),
            ({"forwarded": "for=_hidden"}, "10.0.0.1"),
        ],
    )
    def test_only_what_trusted_proxies_say_counts(self, headers, client):
        proxies = Proxies((ipaddress.ip_network("10.0.0.0/8"),))
        assert proxies.client_of("10.0.0.1", headers) == client
        assert proxies.client_of("192.0.2.1", headers) == "192.0.2.1"
        assert Proxies().client_of("10.0.0.1", headers) == "10.0.0.1"
