"""Agreement on a slot by majorities that have one member in common, which loses its votes or heard only some."""

from __future__ import annotations

from dynatwist.model.registry import majority

from .stage import Stage


def a_voter_that_loses_its_votes(stage: Stage) -> None:
    """A majority agrees; the one member that the next majority has in common with it has lost its log meanwhile."""
    members = stage.members()
    if len(members) % 2 == 0:
        return
    late = members[majority(len(members)) :]
    first, *others = members[: majority(len(members))]
    loser = others[-1]
    for node in late:
        stage.kill(node)
    stage.rest(0.0, 1.0)
    propose = stage.new_slot()
    propose(first)
    stage.rest(0.1, 1.0)
    stage.lose_log(loser)
    for node in (loser, *late):
        stage.start(node)
    stage.wait_until_ready(loser, *late)
    if stage.maybe(0.4):
        stage.kill(loser)
        stage.start(loser)
        stage.wait_until_ready(loser)
    stage.cut_off(first, *others[:-1])
    for _ in range(3):
        propose(stage.random.choice(late))
        stage.rest(0.2, 0.7)
    stage.cut_off()
    stage.rest(0.5)
    propose(first)
    stage.rest(0.5)


def proposers_that_come_back_to_a_slot(stage: Stage) -> None:
    """Races of which some hear only in part, since somebody is cut off; the winner is asked for again and again."""
    members = stage.members()
    propose = stage.new_slot()
    for _ in range(6):
        stage.cut_off(*stage.random.sample(members, stage.random.randint(0, (len(members) - 1) // 2)))
        for node in stage.random.sample(members, stage.random.randint(1, 3)):
            propose(node)
            stage.rest(0.0, 0.0005, 0.002, 0.01)
        if stage.maybe(0.3):
            node = stage.random.choice(members)
            stage.kill(node, power=stage.maybe(0.5))
            stage.start(node)
        stage.rest(0.0, 0.05, 0.6)
    stage.cut_off()
    stage.wait_until_settled()
    for node in members:
        propose(node)
    stage.rest(0.5)


SCENES = (a_voter_that_loses_its_votes, proposers_that_come_back_to_a_slot)
