"""Listeners at nodes that own nothing of what they listen to, in the moments in which they may miss something."""

from __future__ import annotations

from dynatwist.replication.request import Kind

from .stage import Stage

MOST_WRITES = 80


def a_listener_whose_node_is_cut_off(stage: Stage) -> None:
    """Something is written last of all to its key meanwhile, and much else after it; or nothing else."""
    key = stage.new_key()
    node = stage.random.choice(stage.strangers(key) or stage.members())
    others = [one for one in stage.owners(key) if one is not node]
    stage.listen(node)
    if stage.maybe(0.5):
        stage.put(others[0], key)
    stage.rest(0.0, 0.5, 2.0)
    stage.cut_off(node)
    stage.rest(0.0, 0.01, 1.0, 6.0)
    stage.put(others[0], key, "quorum")
    for _ in range(stage.random.choice((0, 0, 20, 40))):
        stage.ask(stage.random.choice(others), Kind.PUT, stage.new_key(), "quorum")
        stage.rest(0.0, 0.001)
    stage.rest(0.0, 1.0, 8.0)
    stage.cut_off()
    stage.rest(0.1, 1.0)


def somebody_who_begins_to_listen(stage: Stage) -> None:
    """Owners hear of it late, and something is written last of all before they do."""
    key = stage.new_key()
    node = stage.random.choice(stage.strangers(key) or stage.members())
    others = [one for one in stage.owners(key) if one is not node]
    stage.slow_from(node, stage.random.choice((0.0, 0.1, 0.4)))
    stage.listen(node)
    stage.rest(0.0, 0.01, 0.1)
    stage.put(others[0], key, "quorum")
    stage.rest(0.5)
    stage.slow_from(node, 0.0)


def owners_that_change_under_a_listener(stage: Stage) -> None:
    """A node joins, and keys are written last of all at the moment in which they get other owners."""
    members = stage.members()
    if stage.is_full:
        return
    for node in members[:3]:
        stage.listen(node)
    stage.join(0.0)
    stage.wait(lambda: stage.is_changing, 10.0)
    for _ in range(MOST_WRITES):
        stage.ask(stage.random.choice(members), Kind.PUT, stage.new_key(), "quorum")
        stage.rest(0.002, 0.005, 0.02)
        if stage.maybe(0.1) and not stage.is_changing:
            break
    stage.wait_until_settled()


def listeners_that_leave_and_return(stage: Stage) -> None:
    """With their cursors, to the same process or the next one, after none, one, or more events than are kept."""
    key = stage.new_key()
    node = stage.random.choice(stage.strangers(key) or stage.members())
    owner = next(one for one in stage.owners(key) if one is not node)
    stage.listen(node)
    for _ in range(stage.random.randint(2, 5)):
        stage.rest(0.0, 0.3)
        stage.stop_listening(node)
        stage.rest(0.0, 0.7, 2.0)
        what = stage.random.choice(("restart", "cut off", "nothing", "nothing"))
        if what == "restart":
            stage.kill(node)
            stage.start(node)
            stage.wait_until_settled()
        elif what == "cut off":
            stage.cut_off(node)
            stage.rest(0.5, 6.0)
        for _ in range(stage.random.choice((0, 1, 1, 11, 12, 13, 13, 14))):
            stage.ask(owner, Kind.PUT, stage.new_key(), "quorum")
            stage.rest(0.001)
        if stage.maybe(0.7):
            stage.put(owner, key, "quorum")
        stage.cut_off()
        stage.rest(0.0, 0.2, 3.0)
        stage.listen_again(node)
    stage.rest(0.5)


SCENES = (
    a_listener_whose_node_is_cut_off,
    somebody_who_begins_to_listen,
    owners_that_change_under_a_listener,
    listeners_that_leave_and_return,
)
