"""How long until a dead member is first suspected: what the model says. Derived in ``docs/membership.rst``.

All durations are in probe periods.
"""

from __future__ import annotations

from itertools import pairwise

SUSPECTED_AFTER = 0.95
"""From a ping without an answer to the suspicion."""
STEPS = 64


def round_robin_tail(members: int) -> list[float]:
    """P(N > j), j = 0, 1, ...: a prober that knows `members` others, in shuffled rounds, comes to a given one in its
    N-th period from now."""
    m = members
    chances = [0.0] * (2 * m + 1)
    for elapsed in range(m):
        for j in range(1, m - elapsed):
            chances[j] += 1 / m / m
        for j in range(m - elapsed, 2 * m - elapsed):
            chances[j] += (elapsed + 1) / m / m / m
    return _tail(chances)


def random_tail(members: int) -> list[float]:
    """The same for a prober that chooses any member each period."""
    return [(1 - 1 / members) ** j for j in range(60 * members)]


def _tail(chances: list[float]) -> list[float]:
    left, tail = 1.0, []
    for chance in chances:
        left = max(0.0, left - chance)
        tail.append(left)
    return tail


def mean_detection(tail: list[float], probers: int) -> float:
    """Mean time from a crash to the first suspicion, by probers whose periods begin independently of each other.

    A prober's next probe is N periods away, less how much of the present one is over; so the chance that it takes
    longer than t is P(N > t) drawn with straight lines. The first of all is the least of `probers` such times.
    """
    mean = 0.0
    for here, there in pairwise(tail):
        if here**probers < 1e-12:
            break
        steps = [((STEPS - n) * here + n * there) / STEPS for n in range(STEPS + 1)]
        heights = [step**probers for step in steps]
        mean += sum((one + two) / 2 for one, two in pairwise(heights)) / STEPS
    return mean + SUSPECTED_AFTER


def mean_detection_in_step(tail: list[float], probers: int) -> float:
    """The same where all periods begin at once, at a random time after the crash: SWIM's e/(e - 1) periods for random
    choice, counted from the beginning of the first whole one."""
    return 0.5 + sum(chance**probers for chance in tail[1:]) + SUSPECTED_AFTER
