"""One node dies again and again, while what it wrote last is torn, not synced, or not saved."""

from __future__ import annotations

from dynatwist.replication.request import Kind

from .stage import Stage

DEATHS = 5


def a_node_that_dies_again_and_again(stage: Stage) -> None:
    """Killed, or without power, in the middle of a burst or of a save; started, and killed before its next save."""
    node, *others = stage.members()
    keys = [stage.new_key() for _ in range(3)]
    for _ in range(DEATHS):
        for _ in range(stage.random.randint(0, 4)):
            stage.ask(stage.random.choice((node, others[0])), stage.random.choice((Kind.PUT, Kind.DELETE)), keys[0])
            stage.ask(stage.random.choice((node, others[0])), Kind.PUT, stage.random.choice(keys), "quorum")
        stage.rest(0.0, 0.0005, 0.002, 0.005, 0.05)
        if stage.power_may_fail and stage.maybe(0.3):
            node.disk.crash_after = stage.random.randint(1, 4)
            stage.wait(lambda: not node.running, 1.0)
            node.disk.crash_after = 0
        stage.kill(node, power=stage.maybe(0.5))
        stage.rest(0.0, 0.2)
        if stage.power_may_fail and stage.maybe(0.4):  # in the middle of a start
            node.disk.crash_after = stage.random.randint(1, 8)
            stage.start(node)
            stage.wait(lambda: not node.running, 1.0)
            node.disk.crash_after = 0
        stage.start(node)
        if stage.maybe(0.6):
            stage.wait_until_ready(node)
            stage.rest(0.0, 0.05, 1.0, 4.0)
        else:
            stage.rest(0.001, 0.01, 0.1)
    stage.start(node)
    stage.wait_until_settled()
    for key in keys:
        stage.read_at([node], key)


def saves_that_fail(stage: Stage) -> None:
    """A disk fails while a node saves; what had changed changes no more, and the node dies after its next saves."""
    node, other, *_ = stage.members()
    keys = [stage.new_key() for _ in range(3)]
    for key in keys:
        stage.put(node, key)
    saver = node.core.folder.saver if node.core is not None else None
    if saver is None:
        return
    for _ in range(stage.random.randint(1, 3)):
        stage.random.choice(
            (
                lambda: setattr(node.disk, "fails_sync", stage.power_may_fail),
                lambda: node.disk.cramp(stage.random.choice((0, 200, 2_000))),
                lambda: node.disk.cramp(None),
            )
        )()
        stage.rest(0.3, 1.0, 4.0)
        node.disk.fails_sync = False
        node.disk.relieve(stage.world.now_s)
        stage.start(node)
        stage.rest(0.1, 1.5)
    before = saver.saves
    stage.wait(lambda: not node.running or saver.saves > before + stage.random.choice((0, 1, 1)), 20.0)
    stage.kill(node, power=stage.maybe(0.5))
    stage.start(node)
    stage.wait_until_settled()
    for key in keys:
        stage.read_at([node, other], key)


SCENES = (a_node_that_dies_again_and_again, saves_that_fail)
