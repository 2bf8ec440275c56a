"""Guesses are slowed down by name and address as they begin; where a user is at home no stranger locks it out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist.auth.throttle import (
    ADDRESS_FREE_FAILURES,
    ADMINISTRATOR,
    FREE_FAILURES,
    MAX_TRACKED,
    STRANGERS_PERIOD_S,
    STRANGERS_TRIES,
    Throttle,
)
from dynatwist.errors import ApiError


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return Throttle(clock)


def may(throttle, name="alice", address="home"):
    try:
        return throttle.begin(name, address)
    except ApiError as error:
        return None if (error.status, error.code) == (429, "slow_down") and error.headers["Retry-After"] else error


def settle_in(throttle, name="alice", address="home"):
    throttle.begin(name, address).succeeded()


def test_tries_count_when_they_begin(throttle):
    settle_in(throttle)
    begun = [may(throttle) for _ in range(60)]
    assert sum(one is not None for one in begun) == FREE_FAILURES
    begun[0].succeeded()
    assert may(throttle)


def test_what_is_given_up_was_no_try(throttle):
    for _ in range(3 * FREE_FAILURES):
        attempt = throttle.begin("alice", "home")
        attempt.give_up()
        attempt.give_up()
    assert may(throttle)


def test_waits_grow_and_end(throttle, clock):
    settle_in(throttle)
    for _ in range(FREE_FAILURES):
        may(throttle).failed()
    waits = []
    for _ in range(4):
        begun_s = clock.now_s
        while may(throttle) is None:
            clock.now_s += 0.5
        waits.append(clock.now_s - begun_s)
    assert waits == sorted(waits)
    assert waits[0] <= 1.5
    clock.now_s += 400
    assert may(throttle)


def test_a_hundred_addresses_together_have_so_many_tries_at_one_name(clock):
    nodes = [Throttle(clock, lambda: 3) for _ in range(3)]
    settle_in(nodes[0])
    checked = 0
    for number in range(10_000):
        attempt = may(nodes[number % 3], "alice", f"address {number % 100}")
        if attempt is not None:
            attempt.failed()
            checked += 1
        clock.now_s += 3600 / 10_000
    assert checked <= 20
    assert may(nodes[0])


def test_tries_of_strangers_come_back_in_time(throttle, clock):
    for number in range(STRANGERS_TRIES):
        may(throttle, "alice", f"a{number}").failed()
    assert may(throttle, "alice", "another") is None
    clock.now_s += STRANGERS_PERIOD_S / STRANGERS_TRIES + 1
    assert may(throttle, "alice", "another")
    assert may(throttle, "alice", "yet another") is None


def test_whoever_tries_many_names_is_slowed_down(throttle):
    begun = 0
    for number in range(2 * ADDRESS_FREE_FAILURES):
        attempt = may(throttle, f"name {number}", "busy")
        if attempt is not None:
            attempt.failed()
            begun += 1
    assert begun == ADDRESS_FREE_FAILURES


def test_strangers_do_not_lock_out_an_administrator_on_the_machine(throttle):
    for number in range(2 * STRANGERS_TRIES):
        attempt = may(throttle, ADMINISTRATOR, f"a{number}")
        if attempt is not None:
            attempt.failed()
    assert may(throttle, ADMINISTRATOR, "far away") is None
    assert may(throttle, ADMINISTRATOR, "127.0.0.1")


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["fail", "succeed", "give up", "none"])))
)
def test_no_order_of_events_makes_tries_out_of_nothing(steps):
    clock = Clock()
    throttle = Throttle(clock)
    failed: dict[tuple[int, int], int] = {}
    for name, address, how in steps:
        attempt = may(throttle, str(name), str(address))
        if attempt is None:
            continue
        {"fail": attempt.failed, "succeed": attempt.succeeded, "give up": attempt.give_up}.get(how, lambda: None)()
        pair = name, address
        failed[pair] = 0 if how == "succeed" else failed.get(pair, 0) + (how in ("fail", "none"))
        assert failed[pair] <= FREE_FAILURES


def test_what_is_remembered_is_bounded(throttle):
    for number in range(MAX_TRACKED + 100):
        may(throttle, f"n{number}", f"a{number}").failed()
    assert len(throttle._pairs) == len(throttle._addresses) == len(throttle._strangers) == MAX_TRACKED
