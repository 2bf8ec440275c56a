"""Much at once, and as large as it may be, for one node: what it missed, lacks, or is listed by."""

from __future__ import annotations

from dynatwist.model.ring import partition_of
from dynatwist.replication.request import Kind

from .stage import Stage

KEYS = 30


def much_that_an_owner_missed(stage: Stage) -> None:
    """All of it in one partition, so that hints, rounds and pages are of one; or it has lost its log."""
    first = stage.new_key()
    away, *others = stage.shuffled_owners(first)
    has_lost = stage.maybe(0.3)
    stage.cut_off(away)
    stage.rest(0.0, 0.5)
    keys = [first, *(stage.new_key(partition_of(*first)) for _ in range(KEYS - 1))]
    for key in keys:
        node, kind = stage.random.choice(others), stage.random.choice((Kind.PUT, Kind.PUT, Kind.PUT, Kind.PATCH))
        stage.ask(node, kind, key, is_large=True)
        stage.rest(0.0, 0.002)
    stage.rest(0.5)
    for key in stage.random.sample(keys, 5):
        stage.ask(stage.random.choice(others), Kind.PATCH, key, is_large=True)
    if has_lost:
        stage.lose_log(away)
        stage.start(away)
    stage.cut_off()
    stage.wait_until_settled()
    stage.list_at(stage.members())
    for key in keys:
        stage.ask(away, stage.random.choice((Kind.GET, Kind.PATCH, Kind.DELETE)), key, is_large=True)
    stage.rest(1.0)
    stage.list_at(stage.members())
    for key in keys:  # where memory is short, others want it too
        stage.ask(stage.random.choice(others), Kind.DELETE, key)
    stage.rest(1.0)


SCENES = (much_that_an_owner_missed,)
