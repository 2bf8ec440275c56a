"""Small mistakes in forwarding, reads, writes, listings, batches and feeds: one line each."""

from __future__ import annotations

from dynatwist.agreement.rotation import Rotation
from dynatwist.api.batch import Batch
from dynatwist.api.data import DataRoutes
from dynatwist.auth.tickets import Tickets
from dynatwist.feed.bookmarks import Bookmarks
from dynatwist.feed.hub import Hub
from dynatwist.feed.window import Window
from dynatwist.net.lives import Lives
from dynatwist.relays.bookmarking import Bookmarking
from dynatwist.relays.relays import Relays
from dynatwist.relays.streams import Streams
from dynatwist.replication.forwarding import Forwarding
from dynatwist.replication.reading import Reading
from dynatwist.requests import listing
from dynatwist.requests.candidates import Candidates
from dynatwist.requests.compare import CompareRun, Compares
from dynatwist.requests.coordinator import Coordinator
from dynatwist.requests.deciding import Deciding
from dynatwist.requests.forwarding import ForwardRun
from dynatwist.requests.from_peers import FromPeers
from dynatwist.requests.listing import Listing
from dynatwist.requests.missing import Missing
from dynatwist.requests.reads import ReadRun
from dynatwist.requests.writes import WriteRun
from dynatwist.storage.index import Index
from dynatwist.storage.requests import Requests

from .edits import edit
from .faults import under

# Forwarding


def a_full_owner_passes_conditions_on(patch):
    """A condition that an owner has no room for is decided by the next one, besides it."""
    edit(patch, Forwarding, "answer", "self._is_conditional and not yields", "False")


def a_full_owner_keeps_its_place(patch):
    """An owner whose disk is full goes on to decide about what needs no room, and another one about the rest."""
    edit(patch, Candidates, "of", "sorted(able, key=self._yields)", "able")


def an_answer_hides_that_another_attempt_has_written(patch):
    """The first answer counts, though a later one says that its attempt may have written."""
    edit(patch, Forwarding, "answer", " or _says_more(result, self._answer)", "")


def an_answer_that_waits_for_no_other_attempt(patch):
    """A forwarded write is answered while another attempt may still be carried out."""
    edit(patch, Forwarding, "next", "if now_s >= fence_s:", "if True:")


def a_retry_may_be_stamped_as_early_as_it_likes(patch):
    """A later attempt does not go beyond the clocks of the owners asked before."""
    edit(patch, ForwardRun, "_ask", "ask.after), default=0)", "()), default=0)")


def a_retry_with_a_creation_of_its_own(patch):
    """Each attempt creates the key by a stamp of its own."""
    edit(patch, FromPeers, "_on_forward", "message.created,", "None,")


def a_retry_forgets_when_it_may_have_created(patch):
    """A later attempt writes over another's creation as if the first attempt had not created the key before."""
    edit(patch, Deciding, "draft", "origin.in_doubt and operation.kind is Kind.PUT and knows_most", "False")


def a_retry_writes_over_what_superseded_it(patch):
    """A later attempt does not look whether a history shows that the request was carried out."""
    edit(patch, Deciding, "_known", "held.lineage.shows(origin.created)", "False")


def a_minority_takes_the_moment_of_the_first_attempt(patch):
    """A later attempt takes the moment of the first into the history, whoever is asked for what is held."""
    edit(patch, Deciding, "draft", "Kind.PUT and knows_most", "Kind.PUT")


def a_retry_asks_nobody(patch):
    """An owner asked in doubt does not ask what became of the request."""
    edit(patch, FromPeers, "_on_forward", "message.in_doubt,", "False,")


def a_request_forgets_how_long_it_was_under_way(patch):
    """The time for an attempt counts from its arrival."""
    edit(patch, FromPeers, "_on_forward", " - arrival.age_ms / 1000", "")


def a_refusal_after_a_doubt_is_the_answer(patch):
    """All owners refuse, and the first of them may have written: nothing was done, says the answer."""
    edit(patch, Forwarding, "_give", "and (self._asked or self._is_in_doubt)", "and self._asked")


def a_repetition_is_carried_out_again(patch):
    """An owner does not look whether it has answered the same request before."""
    edit(patch, Deciding, "_known", "if origin.op and held is not None and held.op == origin.op:", "if False:")


def a_superseded_request_is_not_remembered(patch):
    """What a request became is forgotten when something else wins over it."""
    edit(
        patch,
        Requests,
        "knows",
        "self._find(op) is not None",
        "(found := self._find(op)) is not None and not found.is_gone",
    )


def a_token_is_not_waited_for(patch):
    """What a causal token names need not have come."""
    edit(patch, Coordinator, "_carry_out", "not operation.seen or has_seen(self.cluster, operation)", "True")


# Reads and writes


def a_read_that_goes_on_by_another_registry(patch):
    """What was heard by the former registry adds up with the rest."""
    edit(patch, ReadRun, "_step", "self._cluster.version != self._version", "False")


def a_write_that_goes_on_by_another_registry(patch):
    """A write of the turn in which a change begins goes by the former owners (A4)."""
    edit(patch, WriteRun, "begin", "self._version != self._cluster.version", "False")


def a_write_back_that_was_refused_counts(patch):
    """A read counts an owner as having what it refused to take."""
    edit(patch, ReadRun, "_push", "if isinstance(reply, Done):", "if reply is not None:")


def a_write_back_is_left_out_for_who_holds_nothing(patch):
    """An owner that holds nothing is taken for one that agrees."""
    nothing = "(self._chosen is None or self._held[owner] is None or"
    edit(patch, Reading, "_equalize", "(self._chosen is None or", nothing)


@under("corners")
def an_owner_that_is_not_whole_compares(patch):
    """A damaged owner counts towards a read that compares digests."""
    edit(patch, Compares, "_on_compare", " if replica.whole else None)", ")")


def an_owner_that_is_not_whole_tells_its_dot(patch):
    """A damaged owner counts towards a read that asks for dots."""
    edit(patch, FromPeers, "_on_read_dot", "whole = store.replica_of(message.key).whole", "whole = True")


def a_log_that_is_late_counts_as_read(patch):
    """A read counts this node though its log does not have what is held."""
    edit(
        patch,
        CompareRun,
        "_log_is_late",
        "self._tally.give_up_on(self._cluster.me.node_id)\n    self._check()",
        "self._hear(self._cluster.me.node_id)",
    )


def a_read_that_reached_too_few_is_answered(patch):
    """A read that found an answer at too few owners gives it."""
    edit(patch, Coordinator, "_get", "if not reach.is_enough:", "if not reach.is_enough and found is None:")


def a_condition_is_decided_by_one_replica(patch):
    """A conditional write goes by what its owner holds, and asks nobody."""
    edit(patch, Coordinator, "_carry_out_now", "fresh and not operation.is_conditional and", "fresh and")


def a_condition_of_a_majority_is_decided_by_those_reachable(patch):
    """A conditional write that a majority is to have goes by what the reachable owners hold, however few."""
    edit(patch, Coordinator, "_carry_out_now", "Level.MAJORITY if operation.level", "Level.QUORUM if operation.level")


def a_majority_is_given_what_those_reachable_create(patch):
    """Only conditions ask a majority: a creation that a majority is to have goes by the reachable owners."""
    now, then = "Level.MAJORITY if ", "Level.MAJORITY if operation.is_conditional and "
    edit(patch, Coordinator, "_carry_out_now", now, then)


def a_patch_forgets_the_end(patch):
    """A patch of a record that ends makes it live for ever."""
    edit(patch, Deciding, "_end", "return held.expires_ms if", "return 0 if")


def a_ticket_is_remembered_by_one_node(patch):
    """Whatever other nodes have remembered of a ticket, this one takes it."""
    edit(patch, Tickets, "_use", "for number in used.keys() & waiting.keys():", "for number in ():")


def the_process_that_was_met_last_is_the_latest(patch):
    """A process is refused once another one of its node was met, however often either was started."""
    edit(patch, Lives, "refusal", " and hello.starts <= self._present[node][1]", "")


# Listings, batches


def a_batch_leaves_out_the_operation_behind_a_step(patch):
    """One operation is left out where a turn may end."""
    edit(
        patch,
        Batch,
        "_go_on",
        "intake.postpone(self._go_on)",
        "self._over(self._begun, b'{}'); self._begun += 1; intake.postpone(self._go_on)",
    )


def many_keys_are_read_with_gaps(patch):
    """A read of many keys leaves some out between one portion and the next."""
    edit(patch, DataRoutes, "_records", "begun += at_once", "begun += at_once + (at_once > 4)")


def a_listing_goes_as_far_as_the_farthest_node(patch):
    """Where one node has more to say, the page ends with what another one said."""
    edit(patch, listing, "put_together", "horizon = min(", "horizon = max(")


def a_limit_counts_what_others_own(patch):
    """A page is cut to its limit before others' keys are left out."""
    edit(patch, DataRoutes, "_names", "left -= len(names)", "left -= min(left, len(page.names))")


def a_listing_that_one_group_covers(patch):
    """While members change, a majority of the new owners is enough for a listing."""
    edit(patch, listing, "is_covered", "in registry.groups(partition):", "in registry.groups(partition)[-1:]:")


def a_listing_believes_owners_that_are_not_whole(patch):
    """What an owner that is not whole does not hold is not listed."""
    edit(patch, Listing, "is_whole", "return self._cluster.peers.is_whole_at(node, partition)", "return True")


def a_prefix_that_is_a_key_is_not_listed(patch):
    """The key that equals the prefix is left out."""
    edit(patch, Index, "keys", "if not after or name > after:", "if name > max(prefix, after):")


# Feeds


def a_gap_of_a_relayed_feed_is_not_told(patch):
    """A node whose peers do not remember what it missed does not fetch that."""
    edit(patch, Relays, "_listen", "has_gap = reply.gap or late or", "has_gap = late or")


def a_relay_that_begins_late_is_not_told(patch):
    """Who is asked to relay and answers late may not have relayed what listeners count on."""
    edit(patch, Relays, "_listen", "has_gap = reply.gap or late or", "has_gap = reply.gap or")


def a_feed_goes_on_over_a_change_of_owners(patch):
    """What this node heard of a partition as an owner is forgotten when it ceases to be one."""
    edit(patch, Relays, "_members_changed",
         "self._streams.own_no_more(store.replicas[partition], store.readable.buried_ms)", "pass")  # fmt: skip


def a_cursor_of_another_process_is_taken(patch):
    """The number in a cursor counts, whoever gave it."""
    edit(patch, Hub, "_position", "seq if epoch == self._epoch else None", "seq")


def a_cursor_right_before_the_window_is_taken(patch):
    """A listener is told from the first event that is kept, though it missed the one before."""
    edit(
        patch,
        Window,
        "behind",
        "if not self._gone <= seq <= last:",
        "if not self._gone - 1 <= seq <= last:",
    )


def a_reset_that_is_not_told_on_return(patch):
    """A listener that left before a reset reached it is not told when it comes back."""
    edit(patch, Hub, "reset", "self._window.clear(self._seq)", "self._window.clear(self._seq - 1)")


def a_return_to_a_table_that_nobody_was_interested_in(patch):
    """A listener is told what its node was told, though for a while it was told nothing of that table."""
    edit(patch, Hub, "_has_all_behind", "return self._hears_all() or", "return True or")


def a_cursor_from_before_nobody_was_interested(patch):
    """A listener that heard nothing since a table was relayed for the last time counts as one that missed nothing."""
    edit(patch, Hub, "subscribe", "if not self.interest.has(name):", "if False:")


def a_replay_in_several_turns_skips_an_event(patch):
    """A listener that comes back misses one where its replay goes on behind a piece."""
    edit(patch, Hub, "offer_behind", "return events[-1].seq", "return events[-1].seq + 1")


def a_replay_that_the_window_overtakes_is_not_told(patch):
    """A listener that comes back is not told that the window moved on while it was told what it missed."""
    edit(patch, Hub, "offer_behind", "subscription.reset(self._seq)", "pass")


# Cursors that count on every node


def a_cursor_stands_for_the_next_bookmark(patch):
    """What was announced right behind a cursor counts as heard."""
    edit(patch, Bookmarks, "find", "if kept.bookmark.after > number:", "if False:")


def a_bookmark_covers_what_is_not_durable_yet(patch):
    """It is made at once, though what it covers is announced only once the log has it."""
    edit(patch, Bookmarking, "make", "store.wal.when_durable(store.wal.lsn, lambda: self._made(before, heard))",
         "self._made(before, heard)")  # fmt: skip


def a_listener_from_elsewhere_begins_behind_a_bookmark(patch):
    """It takes the events behind the number at which the bookmark was made known, not behind the one it covers."""
    edit(patch, Bookmarks, "_position", "(bookmark.before for", "(bookmark.after for")


def an_owner_s_relay_is_news_whatever_was_told_from_what_is_held(patch):
    """A listener that came from another node hears again what an owner that fills, or starts anew, relays."""
    patch.setattr(Relays, "_is_known", lambda self, node, key, record, *, is_over: False)


def deletes_that_were_missed_are_not_told(patch):
    """What is told from what is held leaves out tombstones."""
    edit(patch, Missing, "_news", "for key, one in records\n", "for key, one in records if one.value is not None\n")


def tombstones_that_are_gone_are_not_missed(patch):
    """A listener is not told that deletes may have been collected that it has not heard of."""
    edit(patch, Missing, "_may_lack", "return any(", "return False and any(")


def a_stream_that_is_broken_counts(patch):
    """A bookmark of an owner counts though not all that it covers was relayed."""
    edit(patch, Streams, "take", "if node not in self._unbroken:", "if False:")


def an_old_value_is_told_where_owners_differ(patch):
    """Of two records of a key, the one that was not heard is told, though it has lost to the one that was."""
    edit(
        patch,
        Missing,
        "_news",
        "if _is_news(heard, partition_of(*key), one.dot,",
        "if True or _is_news(heard, 0, one.dot,",
    )


@under("rotations", "kills", "delays")
def a_step_of_any_turn_is_taken(patch):
    """A member takes a step of a change of secrets whoever has begun another one since."""
    edit(patch, Rotation, "_on_rekey", "message.turn != last or message.turn < self._turn", "False")
