"""Scenes hold, and see what storms do not: each with a planted defect that only a test of its own saw before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dynatwist.sim.alone import alone
from dynatwist.sim.plan import draw
from dynatwist.sim.run import simulate
from dynatwist.sim.scenes import ALWAYS, SCENES

from .planted import plants

TIMES = 4
SEES = {
    "a_condition_is_decided_by_one_replica": ("a_condition_at_an_owner_that_missed_a_write", 7),
    "a_full_owner_keeps_its_place": ("conditions_at_an_owner_that_is_not_well", 7),
    "a_listing_without_the_keys_on_which_owners_differ": ("a_table_that_is_listed_in_pages", 2),
    "a_prefix_that_is_a_key_is_not_listed": ("a_table_that_is_listed_in_pages", 0),
    "a_source_does_not_say_that_it_is_not_whole": ("a_joiner_that_finds_only_those_who_missed_something", 1),
    "who_is_struck_out_and_away_is_lost_at_once": ("members_that_are_struck_out_while_they_are_away", 3),
    "an_amended_change_forgets_the_members_before_it": ("a_change_that_is_amended", 0),
    "a_save_that_failed_counts_as_done": ("saves_that_fail", 1),
    "the_generation_of_the_first_that_is_dropped": ("generations_that_are_collected_together", 5),
    "an_answer_that_does_not_ask_again": ("an_end_that_clocks_do_not_agree_on", 0),
    "a_prefix_that_is_compared_the_other_way_round": ("a_listener_whose_node_is_cut_off", 0),
    "a_retry_forgets_when_it_may_have_created": ("a_creation_between_two_attempts", 9),
    "a_minority_takes_the_moment_of_the_first_attempt": ("a_creation_between_two_attempts", 2),
    "a_ticket_is_remembered_by_one_node": ("somebody_at_every_counter", 3),
}
"""By defect: the scene that sees it, and a seed; histories move, so the two seeds behind it may do as well."""


def played(scene: str, seed: int) -> list[str]:
    """What is found where one scene is played some times, after hardly a storm."""
    return alone(simulate, seed, plan=replace(draw(seed), scene=scene, scenes=TIMES, storm_s=0.3)).violations


@pytest.mark.parametrize("scene", sorted({scene.__name__ for scene in (*SCENES, *ALWAYS)}))
def test_it_holds(scene):
    assert played(scene, 100) == []


@pytest.mark.parametrize("defect", SEES)
def test_it_sees(monkeypatch, defect):
    plants()[defect](monkeypatch)
    scene, seed = SEES[defect]
    assert any(played(scene, one) for one in range(seed, seed + 3))
