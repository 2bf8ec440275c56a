"""The doors of `fuzz`, for some seconds each: the seeds, what was found before, and what is near them.

``python -m fuzz TARGET --minutes M`` goes on for longer, and with coverage where atheris is installed.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzz.mutate import mutations
from fuzz.target import CORPUS
from fuzz.targets import TARGETS
from fuzz.world import forget_logged

COSTLY = {"lane": 150, "websocket": 200, "recovery": 100, "messages": 300}
"""Examples of those that take milliseconds each."""
IN_CI = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def nothing_of_others():
    forget_logged()


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_was_found_before(name):
    target = TARGETS[name]
    seeds = target.seeds()
    assert seeds
    for data in seeds:
        target.check(data)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_near_them(name):
    target, left = TARGETS[name], 2 * COSTLY.get(name, 500)
    for data in mutations(target.seeds(), target.words, Random(7)):
        target.check(data)
        left -= 1
        if not left:
            break


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_put_together(name):
    target = TARGETS[name]
    pieces = st.one_of(st.binary(max_size=8), st.sampled_from([*target.words, *target.seeds()]))

    @seed(1)
    @settings(IN_CI, max_examples=COSTLY.get(name, 500))
    @given(st.lists(pieces, max_size=5))
    def check(some):
        target.check(b"".join(some))

    check()


def test_every_corpus_is_of_a_target():
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)
    assert sum(len(path.read_bytes()) for path in CORPUS.rglob("*") if path.is_file()) < 256 << 10
