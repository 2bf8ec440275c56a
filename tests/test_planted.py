"""Deliberate defects are seen: what the simulated world would say if the shipped code had them."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from .planted import first_catch, plants

SEEDS = range(100)

MASKED = {
    "answers_of_any_length": "whoever asks for records of a listing asks for no more than fit into a page, by what the "
    "scan said of their sizes; the answer's own bound is for older releases and for rounds",
    "hints_that_carry_records": "a record that a hint brings late is one that the sender's clock covers; nothing is "
    "dropped before all owners cover it, and what is covered wins nothing",
    "covered_dots_that_still_win": "records travel on the connection on which collection asks for clocks, so none can "
    "arrive after what buried it was dropped",
    "numbers_taken_from_the_clock": "a replica that was reset issues nothing until it is whole, and then it has its "
    "own numbers back from the other owners",
}
"""Not seen, since another rule prevents what this one prevents; see docs/simulation."""

UNSEEN = {
    "this_nodes_clock_stamps_whatever_it_says": "only the stamp of that one write shows it, since nobody follows it; "
    "the judge looks at stamps in fair weather. Not in 60 seeds. tests/test_ends.py looks at once",
    "an_answer_that_does_not_ask_again": "two nodes have to know different times at the very end of a record, and be "
    "read one after the other; not in 40 seeds. tests/test_ends.py does, with the rule and without",
    "an_end_that_was_not_asked_for_does_not_count": "the same; tests/test_ends.py",
    "a_lapse_that_is_not_kept": "a majority's clocks have to be ahead, and all nodes killed, within the last seconds "
    "of a record, and nobody left who remembers; tests/test_ends.py",
    "a_partition_dropped_before_its_handoff": "the last copy of an acknowledged write has to be at a node that was cut "
    "off while it lost the partition; the simulator does not get there in 120 seeds",
    "a_feed_that_is_not_resumed": "a write has to fall into the seconds for which a listener's node is cut off from "
    "all owners of its key, and be the last one; one of about a hundred histories gets there. tests/test_relays does",
    "votes_that_are_not_kept": "two proposers have to race for one slot, and divide the votes; one of 150 histories "
    "got there once. tests/test_sim and the properties in tests/test_replication look at votes themselves",
}
"""Blind spots."""


@pytest.fixture(scope="module")
def found():
    """For each defect the first seed that sees it, looked for on all cores."""
    with ProcessPoolExecutor() as pool:
        names = [name for name in plants() if name not in MASKED | UNSEEN]
        return dict(pool.map(partial(first_catch, seeds=SEEDS), names))


@pytest.mark.parametrize("name", [name for name in plants() if name not in MASKED | UNSEEN])
def test_is_seen(found, name):
    assert found[name] is not None, f"not in {len(SEEDS)} seeds: {plants()[name].__doc__}"


def test_there_are_enough_of_them():
    assert len(plants()) - len(MASKED) - len(UNSEEN) >= 50
