"""Users, tokens, tables and routes at random, against a model of who owns what.

The model is written from what is promised to users, not from the code: an account ends with its name's deletion, and
whoever registers the name again is somebody else; a token ends with a logout, another secret, its account, and its
time; a record is its creator's until it is deleted or over; and nobody but its owner and the administrator reads,
changes, lists or hears of it. The shipped handlers of one simulated node answer.
"""

from __future__ import annotations

import time

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test

from .accounts import Accounts
from .listeners import Listeners


class Ownership(Accounts, Listeners):
    """See the module."""


def check(examples: int, steps: int, seed: int, *, shrinks: bool = True) -> None:
    """Some examples; raises what is found.

    :param shrinks: whether it looks for the shortest way to what is found.
    """
    plan = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink) if shrinks else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seeded(seed)(Ownership), settings=plan)


def campaign(limit_s: float, seed: int) -> int:
    """Examples for a while; answers the exit status."""
    until_s, examples = time.monotonic() + limit_s, 0
    while time.monotonic() < until_s:
        check(100, 50, seed + examples)
        examples += 100
    print(f"ownership: {examples} examples of 50 steps in {limit_s / 60:g} minutes, nothing found")
    return 0
