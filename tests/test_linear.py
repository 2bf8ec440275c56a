"""The checker of linearizability: what it lets pass, and what it finds."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from dynatwist.sim.linear import ABSENT, Does, Request, is_linearizable, step

NEVER = float("inf")


def read(start_s, end_s, number=ABSENT):
    return Request(Does.READ, start_s, end_s, number)


def put(start_s, end_s, number):
    return Request(Does.PUT, start_s, end_s, number)


def create(start_s, end_s, number, done=True):
    return Request(Does.CREATE, start_s, end_s, number, is_done=done)


def swap(start_s, end_s, number, named, done=True):
    return Request(Does.SWAP, start_s, end_s, number, named, done)


def delete(start_s, end_s, done=True):
    return Request(Does.DELETE, start_s, end_s, is_done=done)


GOOD = {
    "nothing": [],
    "one after another": [put(0, 1, 1), read(2, 3, 1), delete(4, 5), read(6, 7)],
    "a read during a write sees either": [put(0, 1, 1), put(2, 9, 2), read(3, 4, 1), read(5, 6, 2)],
    "a write that nobody has heard of took effect late": [put(0, NEVER, 1), read(2, 3), read(4, 5, 1)],
    "or never": [put(0, NEVER, 1), read(2, 3), put(4, 5, 2), read(6, 7, 2)],
    "one of two creations": [create(0, 5, 1), create(0, 5, 2, done=False), read(6, 7, 1)],
    "a swap of what is there": [put(0, 1, 1), swap(2, 3, 2, 1), swap(4, 5, 3, 1, done=False), read(6, 7, 2)],
    "a creation that nobody has heard of, and one that was refused for it": [
        create(0, NEVER, 1),
        create(2, 3, 2, done=False),
        read(4, 5, 1),
    ],
    "a creation that nobody has heard of was refused": [put(0, 1, 5), create(2, NEVER, 1), read(3, 4, 5)],
}
BAD = {
    "a read of what was overwritten": [put(0, 1, 1), put(2, 3, 2), read(4, 5, 1)],
    "back and forth": [put(0, 1, 1), put(2, 9, 2), read(3, 4, 2), read(5, 6, 1)],
    "nothing after a write": [put(0, 1, 1), read(2, 3)],
    "two creations": [create(0, 5, 1), create(0, 5, 2)],
    "two swaps of one": [put(0, 1, 1), swap(2, 9, 2, 1), swap(2, 9, 3, 1)],
    "a refusal for what is gone": [put(0, 1, 1), delete(2, 3), create(4, 5, 2, done=False)],
    "a refused write is read": [put(0, 1, 1), create(2, 3, 2, done=False), read(4, 5, 2)],
    "a delete of nothing": [delete(0, 1)],
    "a write that nobody has heard of takes effect twice": [
        put(0, NEVER, 1),
        read(1, 2, 1),
        put(3, 4, 2),
        read(5, 6, 1),
    ],
    "before it began": [read(0, 1, 7), put(2, 3, 7)],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_can_have_happened_passes(name):
    assert is_linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_have_happened_is_found(name):
    assert not is_linearizable(BAD[name])


def by_trying_all_orders(requests):
    """The definition, for a few requests."""
    known = [one for one in requests if one.is_known]
    vague = [one for one in requests if not one.is_known]
    for count in range(len(vague) + 1):
        for some in itertools.combinations(vague, count):
            for order in itertools.permutations([*known, *some]):
                if all(not b.end_s < a.start_s for a, b in itertools.combinations(order, 2)):
                    state = ABSENT
                    for one in order:
                        state = step(state, one) if state is not None else None
                    if state is not None:
                        return True
    return False


@pytest.mark.parametrize("seed", range(300))
def test_it_says_what_the_definition_says(seed):
    random = Random(seed)
    requests = []
    for number in range(1, random.randint(2, 6)):
        start_s = random.uniform(0, 10)
        end_s = start_s + random.uniform(0, 5)
        does = random.choice(list(Does))
        is_vague = does is not Does.READ and random.random() < 0.2
        if does is Does.READ:
            requests.append(read(start_s, end_s, random.choice((ABSENT, *range(1, 5)))))
        else:
            done = is_vague or random.random() < 0.7
            named = random.randint(1, 4) if does is Does.SWAP else ABSENT
            written = ABSENT if does is Does.DELETE else number
            requests.append(Request(does, start_s, NEVER if is_vague else end_s, written, named, done))
    assert is_linearizable(requests) == by_trying_all_orders(requests)
