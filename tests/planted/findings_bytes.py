"""What was not bounded in bytes, or in the work of one turn, and relatives of it."""

from __future__ import annotations

import sys

from dynatwist.model.replica import BucketWalk
from dynatwist.net import framing, outgoing
from dynatwist.repair import answers, hint_replay
from dynatwist.replication.listing import Entry, Part
from dynatwist.replication.request import Code, Kind, Result
from dynatwist.requests import from_peers, listing
from dynatwist.requests.deciding import Deciding
from dynatwist.requests.from_peers import FromPeers
from dynatwist.storage import snapshot
from dynatwist.storage.index import Index
from dynatwist.storage.requests import Requests
from dynatwist.storage.store import Store

from .faults import under


def a_frame_for_all_that_is_due(patch):
    """Whatever is due for a peer in one turn goes into one frame, however long (A12)."""

    def undivided(sent_ms, state, messages, sizes=framing.FRAME_SIZES):
        return [framing.encode(sent_ms, state, messages)], []

    patch.setattr(outgoing, "encode_all", undivided)


def a_message_too_long_for_a_frame_is_sent(patch):
    """Frames are divided, and answers are not bounded: one message is longer than any frame may be (B8)."""
    real = framing.encode_all

    def careless(sent_ms, state, messages, sizes=framing.FRAME_SIZES):
        return real(sent_ms, state, messages, sizes._replace(max_bytes=sys.maxsize))

    patch.setattr(outgoing, "encode_all", careless)
    answers_of_any_length(patch)
    pages_of_listings_by_count_alone(patch)


@under("kills", "leaves", "partitions")
def hints_by_count_alone(patch):
    """A batch of hints is bounded in count, and all of it is under way at once, in one message."""

    def hinted(self, node):
        keys = self._cluster.store.hints.next(node, 64)
        return {key: self._cluster.store.replica_of(key).records.packed(key) for key in keys}

    patch.setattr(hint_replay.HintReplay, "_hinted", hinted)
    a_frame_for_all_that_is_due(patch)


def answers_of_any_length(patch):
    """Whoever is asked for records sends all of them, whatever room there is (A13)."""
    real = from_peers.answer_fetch

    def generous(node_cluster, message, respond):
        real(node_cluster, message.__class__(message.keys, 0), respond)

    patch.setattr(from_peers, "answer_fetch", generous)


def pages_of_listings_by_count_alone(patch):
    """A page of a listing holds any number of bytes."""
    patch.setattr(Part, "cut", lambda self, costly, room_bytes: self)


def a_listing_loses_a_key_at_the_edge_of_a_page(patch):
    """The next page begins behind the first key that did not fit."""
    cut = Part.cut

    def careless(self, costly, room_bytes):
        part = cut(self, costly, room_bytes)
        count = len(part.entries)
        return Part(part.entries, self.entries[count].name) if count < len(self.entries) else part

    patch.setattr(Part, "cut", careless)


def a_listing_loses_what_did_not_fit_its_limit(patch):
    """A page is cut to its limit, and the next one begins where the members ended (as it was, for administrators)."""
    real = listing.put_together

    def careless(scans, limit, counted):
        part = real(scans, 256, counted)
        is_whole = part.horizon is not None or len(part.entries) <= limit
        return Part(part.entries[:limit], part.horizon if is_whole else part.entries[-1].name)

    patch.setattr(listing, "put_together", careless)


@under("kills")
def a_listing_shows_tombstones(patch):
    """What is dead is listed."""
    patch.setattr(Entry, "is_gone", lambda self, over_ms: False)
    patch.setattr(listing, "_keep", lambda found, name, record, over_ms: found.__setitem__(name, record))


def requests_are_remembered_for_ever(patch):
    """What requests became is forgotten by nobody, and kept whole (A14)."""
    patch.setattr(Requests, "_shrink", lambda self: None)
    patch.setattr(Requests, "age", lambda self: None)


def answers_are_remembered_with_their_records(patch):
    """Who may ask again is answered from a copy of the whole answer (A14)."""
    remembering = FromPeers._remembering

    def hoarding(self, op, now_s, answer):
        finished = remembering(self, op, now_s, answer)

        def keep(result):
            finished(result)
            self._recent[op] = (now_s, result)

        return keep

    patch.setattr(FromPeers, "_remembering", hoarding)


def patch_passes_the_memory_limit(patch):
    """A PATCH may add as much as it likes (A18)."""
    has_room = Store.has_room_for
    written = Deciding.decide

    def lenient(self, *arguments, **known):
        patching = arguments[0].kind is Kind.PATCH
        Store.has_room_for = (lambda self, key, value, most_bytes: True) if patching else has_room
        try:
            return written(self, *arguments, **known)
        finally:
            Store.has_room_for = has_room

    patch.setattr(Deciding, "decide", lenient)


def writes_pass_the_memory_limit(patch):
    """There is no memory limit."""
    patch.setattr(Store, "has_room_for", lambda self, key, value, most_bytes: True)


def a_full_node_refuses_deletes(patch):
    """When memory is spent, nothing can be written, not even what frees some."""
    written = Deciding.decide

    def strict(self, operation, origin, held, **known):
        if self._cluster.store.size_bytes + 400 > self._max_store_bytes:
            return Result(Code.FULL, text="full")
        return written(self, operation, origin, held, **known)

    patch.setattr(Deciding, "decide", strict)


def dropped_records_are_still_counted(patch):
    """The account of memory is not reduced when a tombstone is dropped."""
    gone = Index.gone

    def forgetful(self, effect):
        before = self.size_bytes
        gone(self, effect)
        self.size_bytes = before

    patch.setattr(Index, "gone", forgetful)


def overwritten_records_are_counted_twice(patch):
    """The account of memory grows with every write."""
    held = Index.held

    def greedy(self, effect):
        before_bytes = self.size_bytes
        held(self, effect)
        self.size_bytes = max(before_bytes, self.size_bytes)

    patch.setattr(Index, "held", greedy)


def all_buckets_in_one_turn(patch):
    """A look at digest buckets walks through all records of the partition at once (as it was)."""
    step = BucketWalk.step
    patch.setattr(BucketWalk, "step", lambda self, count: step(self, sys.maxsize))


def all_missing_records_looked_for_in_one_turn(patch):
    """For every page of a round, all records of the partition are looked at (as it was)."""
    fill = answers.RoundAnswers._fill_page

    def thorough(self, node, walk, page, room, respond):
        for key in walk.keys:
            walk.replica.records.dot(key)
        fill(self, node, walk, page, room, respond)

    patch.setattr(answers.RoundAnswers, "_fill_page", thorough)


def pages_of_rounds_of_any_length(patch):
    """All that a peer misses is sent in one page."""
    fill = answers.RoundAnswers._fill_page

    def generous(self, node, walk, page, room, respond):
        self.page_records = self._cluster.step_records = sys.maxsize
        fill(self, node, walk, page, sys.maxsize, respond)

    patch.setattr(answers.RoundAnswers, "_fill_page", generous)


def a_page_of_a_round_skips_a_record(patch):
    """The next page begins one record too late."""
    send = answers.RoundAnswers._send_page

    def hasty(self, node, walk, page, respond):
        send(self, node, walk, page, respond)
        walk.at += 1

    patch.setattr(answers.RoundAnswers, "_send_page", hasty)


def slices_of_cold_saves_of_any_length(patch):
    """A cold save takes a whole partition in one turn."""
    save = snapshot.ColdSaver.save

    def whole(self):
        self.slice_records = self.slice_bytes = sys.maxsize
        return save(self)

    patch.setattr(snapshot.ColdSaver, "save", whole)
