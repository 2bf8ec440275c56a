"""Deliberate defects are seen: what the simulated world would say if the shipped code had them."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from .planted import first_catch, plants

SEEDS = range(6)
"""Enough for those looked at here; ``python -m tests.planted`` looks for all others, in hundreds of seeds."""

MASKED = {
    "answers_of_any_length": "whoever asks for records of a listing asks for no more than fit into a page, by what the "
    "scan said of their sizes; the answer's own bound is for older releases and for rounds",
    "hints_that_carry_records": "a record that a hint brings late is one that the sender's clock covers; nothing is "
    "dropped before all owners cover it, and what is covered wins nothing",
    "covered_dots_that_still_win": "records travel on the connection on which collection asks for clocks, so none can "
    "arrive after what buried it was dropped",
    "hints_of_a_cold_save_are_not_loaded": "rounds bring whatever a hint would have brought, a little later; "
    "tests/test_recovery.py",
    "segment_numbers_do_not_leap": "peers that remember more of the log say so, and then the numbers leap; "
    "tests/test_recovery.py",
    "the_mark_of_the_hybrid_clock_is_not_loaded": "what is written over a record, or by who has seen one, gets a stamp "
    "beyond it whatever the clock says; tests/test_recovery.py",
    "the_mark_of_the_wall_clock_is_not_kept": "a clock that is far off breaks no promise, since stamps go beyond what "
    "is written over, and ends need a majority; who is told so writes elsewhere; tests/test_recovery.py",
    "a_manifest_is_whatever_has_its_name": "two saves are kept, and the log of the older one; with that it says "
    "the same as the newer one. tests/test_recovery.py",
    "the_older_identity_counts": "nobody is told of anything before both copies are written; tests/test_recovery.py",
    "what_was_merged_besides_is_not_saved": "what a writer had seen besides tells people whether two writes were "
    "concurrent, and decides nothing; tests/test_recovery.py",
    "a_missing_segment_is_not_noticed": "a segment says how long its predecessor became, too, and the one before that "
    "has another length; tests/test_recovery.py",
    "two_proposals_of_one_node_at_once": "each proposal has a ballot of its own, so they are as good as those of two "
    "nodes; tests/test_masked.py",
    "an_earlier_version_of_a_change_is_confirmed": "whoever asks by an older version is told the newer one, and on "
    "each connection a registry is told before anything is asked by it; tests/test_masked.py",
    "a_returning_owner_keeps_what_it_has": "a change does not end before a new owner has fetched from enough of the "
    "old ones, whether or not it has started over; tests/test_masked.py",
    "buckets_of_an_owner_that_is_not_whole_are_compared": "a replica that starts over does so with its clock, too: "
    "what that covers has come since; tests/test_masked.py",
    "clocks_of_the_look_before_count": "a clock goes back with damage only; what that owner had told of is covered "
    "by all clocks then, so it wins nothing when it comes back; tests/test_masked.py",
    "a_partition_is_handed_off_after_a_reset": "a partition comes back by a newer registry, by which nothing is "
    "dropped either; tests/test_masked.py",
    "promises_of_any_ballot_count": "whoever has promised a higher ballot accepts no lower one, so nothing is chosen "
    "by such a proposal; and what it takes over is what a majority has accepted all the same",
    "numbers_taken_from_the_clock": "a replica that was reset issues nothing until it is whole, and then it has its "
    "own numbers back from the other owners",
}
"""Not seen, since another rule prevents what this one prevents; see docs/simulation."""

UNSEEN = {
    "a_retry_writes_over_what_superseded_it": "another owner has to have the overwriting alone, and the one that is "
    "asked in doubt to hear of that and not of the request; not in 20 runs of the scene. tests/rare/requests.py",
    "the_process_that_was_met_last_is_the_latest": "a node has to be started twice while what its former process sent "
    "is still under way to one peer; once in 250 seeds. tests/test_lives.py",
    "a_majority_is_given_what_those_reachable_create": "an owner has to lose the others between a ping and the next, "
    "and a reader to see what it created then; not in 20 runs of a scene. tests/rare/requests.py",
    "absence_is_told_before_the_lapse_is_durable": "somebody has to read in the milliseconds between an end and the "
    "next group of any log; tests/test_ends.py looks at once",
    "clocks_of_the_new_members_alone": "members have to change so that most of the new ones' clocks are wrong; not in "
    "10 seeds. tests/test_ends.py",
    "this_nodes_clock_stamps_whatever_it_says": "only the stamp of that one write shows it, since nobody follows it; "
    "the judge looks at stamps in fair weather. Not in 60 seeds. tests/test_ends.py looks at once",
    "an_end_that_was_not_asked_for_does_not_count": "the same; tests/test_ends.py",
    "a_proposer_takes_the_first_accepted_value_it_hears_of": "two have to propose a registry at once, and votes be "
    "divided, and the older be heard of first; tests/rare/members.py",
    "a_proposer_ignores_what_was_accepted": "members change seldom, and two have to propose another registry at once; "
    "tests/test_replication.py",
    "a_proposer_counts_whatever_was_accepted": "the same; tests/test_replication.py",
    "a_proposer_counts_promises_of_any_ballot": "the same; once in 6 seeds, once not in 6. tests/test_replication.py",
    "an_acceptor_that_breaks_its_promise": "the same; tests/test_replication.py",
    "a_vote_is_told_before_it_is_durable": "power has to fail in the milliseconds between a vote and its log's group, "
    "and another proposer to be at work; tests/test_findings.py",
    "an_owner_that_may_have_forgotten_votes": "a register has to be changed by the owner that lost its log and one "
    "that missed the last change, before a round; tests/rare/members.py",
    "registers_are_not_fetched": "an owner has to lose its log between a promise and the acceptance of another "
    "ballot; tests/rare/members.py",
    "registers_of_damaged_owners_keep_the_lower_promise": "the same, with two owners that have promised other ballots; "
    "tests/test_registers.py",
    "a_register_is_forgotten_whatever_it_has_accepted": "a key has to be created in the moment in which its tombstone "
    "is collected, and nobody to hear of that; tests/test_registers.py",
    "what_is_chosen_takes_the_place_of_what_came_after": "a record has to arrive late, and what came after it to be "
    "known to one owner more; tests/test_registers.py",
    "a_refusal_by_what_this_node_knows": "a proposer has to be steady, and miss what others have chosen since; "
    "tests/test_registers.py",
    "a_floor_that_does_not_rise": "a proposal from before a collection has to arrive after it; tests/test_registers.py",
    "a_register_is_proposed_to_below_the_floor": "the same; tests/test_registers.py",
    "a_ballot_is_used_for_two_values": "a proposer's own log has to be behind for one vote, and the answer of another "
    "owner be lost; tests/rare/registers.py",
    "registers_that_become_records_during_a_save_are_left_out": "a register has to be accepted before a save, and be "
    "known to be chosen while its partition is walked; tests/rare/registers.py",
    "what_was_drafted_counts_as_made": "a change has to be refused by what its node knows, granted by what is chosen, "
    "and others of that node be chosen before its turn; tests/rare/registers.py",
    "a_creation_in_the_generation_of_a_tombstone": "a key has to be created by the owner that has not yet followed the "
    "collection of its tombstone, whose log is slower than the others; tests/rare/registers.py",
    "a_tombstone_accepted_again_stays": "a key has to be read while its tombstone is collected; "
    "tests/rare/registers.py",
    "a_steady_proposer_judges_ends_by_itself": "a lock has to be renewed within milliseconds of its end, where the "
    "news of that is slow; tests/rare/registers.py",
    "a_floor_that_rises_where_there_was_a_register": "an owner has to have a tombstone by a round alone, and something "
    "from before it arrive after its collection; tests/rare/registers.py",
    "a_read_follows_whatever_comes": "a key has to be written without pause while its owners answer nothing; "
    "tests/rare/registers.py",
    "what_is_aside_is_not_counted": "histories do not change the settings of tables; tests/rare/registers.py",
    "a_closing_table_is_read_by_the_old_rules": "the same; tests/rare/registers.py",
    "versions_begin_anew": "registers are seldom deleted, collected and created again within a history; "
    "tests/rare/members.py",
    "an_owner_s_relay_is_news_whatever_was_told_from_what_is_held": "a listener has to move, be told from what is "
    "held, and an owner to fill or start behind that; once in some hundred seeds. tests/test_cursor_scenes.py",
    "only_joiners_have_to_be_whole": "of three owners one has to burn, and of the two that stay one has to miss a "
    "write and be reached at the very moment at which the change ends; tests/rare/members.py",
    "what_was_fetched_for_an_earlier_version_counts": "a joiner has to fetch from one, miss what that one gets then, "
    "and go on with one that missed it too when the change is amended; tests/rare/members.py",
    "a_crash_after_a_new_registry_is_forgotten": "a damaged node has to lose the partition in which it alone has a "
    "write, and its power in the millisecond in which it hears of that; tests/rare/members.py",
    "a_change_ends_before_what_was_fetched_is_durable": "power has to fail in the milliseconds between a joiner's "
    "word and its log's, and a further copy has to burn before it has fetched again; tests/rare/members.py",
    "one_group_met_is_enough": "a node has to be restored from a backup, start while members change, and meet "
    "joiners alone; tests/rare/members.py",
    "an_owner_that_is_not_whole_answers_for_its_clock": "what only a damaged owner has set aside has to be deleted, "
    "and that be collected before it is whole, by one that reaches more than it does; tests/rare/members.py",
    "partitions_are_handed_off_while_members_change": "what is left of one change has to be handed off in the next "
    "one, to joiners that are struck out again; tests/rare/members.py",
    "a_walk_misses_what_comes_meanwhile": "a key has to be new between two turns of one look at digest buckets; "
    "tests/rare/requests.py",
    "a_request_forgets_how_long_it_was_under_way": "an attempt has to be late by less than it may take, and be "
    "carried out after the next one; tests/rare/requests.py",
    "a_repetition_is_carried_out_again": "owners remember requests besides; one has to be started between a record's "
    "coming and the question what became of it; tests/rare/requests.py",
    "a_read_that_goes_on_by_another_registry": "half of the answers to a read have to come before a change of "
    "members, and it has to be of a write that the new owners alone have; tests/rare/requests.py",
    "a_write_that_goes_on_by_another_registry": "members have to change between a write and the end of its turn; "
    "tests/rare/requests.py",
    "a_limit_counts_what_others_own": "somebody's keys have to be on the second page of a table that others fill; "
    "tests/rare/listings.py",
    "a_listing_that_one_group_covers": "the new owners have to answer a listing, and of the old ones too few; "
    "tests/rare/listings.py",
    "cells_that_were_taken_over_are_nobodys": "all that accepted the last write of a key have to leave before it is "
    "said to be chosen, and nobody read it; tests/rare/registers.py",
    "what_may_be_chosen_yet_is_given_up": "a request has to be over by hearing of what its change was written over, "
    "and another proposer find the change at one owner; once in 300 seeds. tests/rare/registers.py",
    "a_gap_of_a_relayed_feed_is_not_told": "a key has to be written last while a node is cut off from all its "
    "owners, and much else after it; tests/rare/feeds.py",
    "a_feed_goes_on_over_a_change_of_owners": "listeners are told to read afresh then, which is no violation; "
    "tests/rare/feeds.py",
    "a_cursor_stands_for_the_next_bookmark": "the event between has to be its key's last, and its node die in the same "
    "second; tests/rare/cursors.py",
    "a_bookmark_covers_what_is_not_durable_yet": "a node has to die in the milliseconds in which its log is written, "
    "and a listener move; tests/rare/cursors.py",
    "a_listener_from_elsewhere_begins_behind_a_bookmark": "an event has to fall between a bookmark and its log, and be "
    "its key's last; tests/rare/cursors.py",
    "deletes_that_were_missed_are_not_told": "a key has to be deleted last while a listener moves; "
    "tests/rare/cursors.py",
    "tombstones_that_are_gone_are_not_missed": "they have to be collected while a listener moves; "
    "tests/rare/cursors.py",
    "a_stream_that_is_broken_counts": "a link has to break, a key be written last, and a listener move before it is "
    "fetched; tests/rare/cursors.py",
    "an_old_value_is_told_where_owners_differ": "they have to differ while a listener moves, and what it heard be "
    "covered; tests/rare/cursors.py",
    "a_cursor_right_before_the_window_is_taken": "a listener has to come back having missed exactly one event more "
    "than is kept, and that be its key's last; tests/rare/feeds.py",
    "a_reset_that_is_not_told_on_return": "a listener has to leave in the moment before a reset reaches it, and miss "
    "the last event of a key; tests/rare/feeds.py",
    "a_return_to_a_table_that_nobody_was_interested_in": "a key has to be written last after everybody has left its "
    "table, and nobody come back before; tests/rare/feeds.py",
    "a_cursor_from_before_nobody_was_interested": "the same, and the node hear of no other table meanwhile; not in "
    "20 runs of a scene, once in 170 seeds. tests/rare/feeds.py",
    "a_full_owner_passes_conditions_on": "an owner has to have no memory for one request, and some for another a "
    "moment later; once in 50 seeds of little memory. tests/rare/requests.py",
    "an_answer_hides_that_another_attempt_has_written": "the refusal of an attempt has to be held up until its fence "
    "has fallen, and the next one not know whether it has written; tests/rare/requests.py",
    "a_replay_that_the_window_overtakes_is_not_told": "the same, of what the window lost; tests/rare/feeds.py",
}
"""Blind spots."""


QUICK = (
    "a_clock_is_joined_before_the_records_are_durable",
    "a_clock_without_gaps",
    "a_delete_that_only_clears_memory",
    "a_drop_does_not_raise_the_generation",
    "a_register_breaks_its_promise",
    "a_register_is_written_over_whatever_was_accepted",
    "a_stretch_that_does_not_grow",
    "an_unreadable_segment_is_an_empty_one",
    "another_record_at_an_owner_is_taken_for_the_same",
    "collection_asks_nobody",
    "collection_without_grace",
    "dropped_records_are_still_counted",
    "everybody_is_meant_by_the_callers_prefix",
    "half_is_a_majority",
    "hints_count_towards_w",
    "if_none_match_is_ignored",
    "listeners_hear_of_everybodys_records",
    "no_anti_entropy",
    "no_sync_before_the_acknowledgement",
    "nothing_is_ever_collected",
    "only_the_first_page_is_pulled",
    "owners_that_always_hold_the_same",
    "quorum_is_one",
    "replay_skips_drops",
    "replay_stops_one_short",
    "rules_compiled_once",
    "stamps_that_do_not_go_beyond_what_is_written_over",
    "the_middle_of_a_history_is_forgotten",
    "what_changes_during_a_save_counts_as_saved",
    "whoever_may_create_may_write_over",
)
"""Seen within a few seeds. The suite looks at these, within its quarter of an hour."""


@pytest.fixture(scope="module")
def found():
    """For each defect the first seed that sees it, looked for on all cores."""
    with ProcessPoolExecutor() as pool:
        return dict(pool.map(partial(first_catch, seeds=SEEDS), QUICK))


@pytest.mark.parametrize("name", QUICK)
def test_is_seen(found, name):
    assert found[name] is not None, f"not in {len(SEEDS)} seeds: {plants()[name].__doc__}"


@pytest.mark.parametrize("name", plants())
def test_can_be_planted(monkeypatch, name):
    """What a defect replaces is there: a name that has changed would leave it unplanted."""
    plants()[name](monkeypatch)


def test_there_are_enough_of_them():
    assert len(plants()) - len(MASKED) - len(UNSEEN) >= 200
    assert len(QUICK) >= 30
    assert not set(QUICK) & (MASKED.keys() | UNSEEN.keys())
