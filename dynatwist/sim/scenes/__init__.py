"""Scenes: what storms reach too seldom, brought about step by step, with everything around it left to chance.

A storm of random faults gets into a state that needs four things in a row once in thousands of seeds. A scene does
these four things, in the cluster that has just come through its storm, with the bounds, sizes and pages of that seed.
What it draws (who, when, how, in which order) comes from the seed. It judges nothing itself: witness, oracle and the
checker of registers do, as in a storm, and at the end all has to come to rest once more.
"""

from __future__ import annotations

from collections.abc import Callable

from . import bulks, changes, desk, disks, forwarded, listening, majorities, removals, votes
from .stage import Stage

Scene = Callable[[Stage], None]

SCENES: tuple[Scene, ...] = (
    *majorities.SCENES,
    *changes.SCENES,
    *disks.SCENES,
    *forwarded.SCENES,
    *listening.SCENES,
    *removals.SCENES,
    *bulks.SCENES,
    *votes.SCENES,
)
ALWAYS: tuple[Scene, ...] = desk.SCENES
"""Played in each seed besides: routes that nothing else uses."""


def play(stage: Stage, count: int, rest: Callable[[], bool], only: str = "") -> bool:
    """Play some scenes, one after the other.

    :param rest: has everything come right again, and says whether it did.
    :param only: the name of one that is played each time; empty for different ones.
    """
    named = [scene for scene in (*SCENES, *ALWAYS) if scene.__name__ == only][:1]
    some = [*stage.random.sample(SCENES, min(count, len(SCENES))), *ALWAYS] if count else []
    for scene in named * count if only else some:
        stage.begin(scene.__name__)
        scene(stage)
        stage.end()
        if not rest():
            return False
    return True
