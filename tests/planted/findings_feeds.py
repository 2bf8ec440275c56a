"""Mistakes in what users drive: requests, conditions, batches, listings, feeds."""

from __future__ import annotations

import msgspec

from dynatwist.api import live
from dynatwist.api.batch import Batch
from dynatwist.api.context import Context
from dynatwist.api.data import DataRoutes
from dynatwist.api.record_door import RecordDoor
from dynatwist.feed import audience
from dynatwist.feed.announced import Announced
from dynatwist.feed.fans import Fan, Fans
from dynatwist.feed.hub import Hub
from dynatwist.feed.sight import EVERYTHING
from dynatwist.feed.subscription import Subscription
from dynatwist.feed.window import Window
from dynatwist.replication.reading import Reading
from dynatwist.replication.request import Code, Kind
from dynatwist.requests.coordinator import Coordinator
from dynatwist.requests.deciding import Deciding
from dynatwist.requests.listing import Listing
from dynatwist.storage.store import Store

from .edits import edit

# Batches


def outcomes_of_a_batch_shifted_by_one(patch):
    """Each operation gets the outcome of its neighbour."""
    over = Batch._over
    patch.setattr(Batch, "_over", lambda self, index, outcome: over(self, (index + 1) % len(self._ops), outcome))


def a_batch_ends_at_the_first_refusal(patch):
    """What comes behind a malformed operation is not carried out, and answered like it."""
    begin = Batch._begin

    def strict(self, index):
        if any(b'"code"' in one for one in self._outcomes[:index]):
            self._over(index, b'{"status":400,"error":"x","code":"malformed"}')
        else:
            begin(self, index)

    patch.setattr(Batch, "_begin", strict)


def a_batch_may_write_anybodys_records(patch):
    """The owner of a record is not asked for in a batch."""
    operation = Batch._operation
    patch.setattr(
        Batch, "_operation", lambda self, text: msgspec.structs.replace(operation(self, text), any_owner=True)
    )


def a_batch_answers_an_uncertain_write_as_done(patch):
    """An operation that is not known to be on enough replicas counts as carried out."""
    submit = Coordinator.submit

    def hasty(self, operation, done):
        def sure(result):
            is_doubtful = result.code is Code.UNCERTAIN and result.record is not None
            done(msgspec.structs.replace(result, code=Code.OK) if is_doubtful else result)

        submit(self, operation, sure if begun else done)

    begun = []
    begin = Batch._begin

    def beginning(self, index):
        begun.append(index)
        begin(self, index)
        begun.pop()

    patch.setattr(Coordinator, "submit", hasty)
    patch.setattr(Batch, "_begin", beginning)


def a_batch_at_level_one(patch):
    """The level that was asked for is not handed on."""
    operation = Batch._operation
    patch.setattr(
        Batch,
        "_operation",
        lambda self, text: msgspec.structs.replace(operation(self, text), level=type(self._terms.level)("one")),
    )


# Conditions


def if_match_is_ignored_on_delete(patch):
    """A delete is carried out whatever ETag it names."""
    _unconditional(patch, Kind.DELETE)


def if_match_is_ignored_on_put(patch):
    """A put is carried out whatever ETag it names."""
    _unconditional(patch, Kind.PUT)


def _unconditional(patch, kind):
    write = RecordDoor.write

    def deaf(self, identity, of, *rest):
        operation = write(self, identity, of, *rest)
        return msgspec.structs.replace(operation, if_match=()) if of is kind else operation

    patch.setattr(RecordDoor, "write", deaf)


def if_none_match_is_ignored(patch):
    """A put that is to create overwrites."""
    write = RecordDoor.write
    patch.setattr(
        RecordDoor,
        "write",
        lambda self, *rest: msgspec.structs.replace(write(self, *rest), if_none_match=False),
    )


def not_modified_whatever_etag_is_named(patch):
    """A reader that has any ETag is told that it has the record."""
    answer_of = DataRoutes._answer_of

    def lazy(self, identity, request, operation, result):
        answer = answer_of(self, identity, request, operation, result)
        if operation.kind is Kind.GET and "if-none-match" in request.headers:
            headers = {**answer.headers, "ETag": request.headers["if-none-match"]}
            return msgspec.structs.replace(answer, status=304, body=b"", headers=headers)
        return answer

    patch.setattr(DataRoutes, "_answer_of", lazy)


def the_etag_of_the_record_before(patch):
    """An answer carries the ETag that the last one of the key carried."""
    answer_of = DataRoutes._answer_of
    last: dict[object, str] = {}

    def late(self, identity, request, operation, result):
        answer = answer_of(self, identity, request, operation, result)
        before = last.get(operation.key, answer.headers["ETag"])
        last[operation.key] = answer.headers["ETag"]
        return msgspec.structs.replace(answer, headers={**answer.headers, "ETag": before})

    patch.setattr(DataRoutes, "_answer_of", late)


def conditions_are_checked_wherever_a_request_arrives(patch):
    """Conditional writes do not go through one owner: several succeed on the same record."""
    patch.setattr(Coordinator, "_is_for_others", lambda self, operation, partition: False)


def a_patch_of_what_was_held_when_it_arrived(patch):
    """A patch is merged into the record that was held before the owners were asked."""
    carry_out = Coordinator._carry_out_now
    written = Deciding.decide

    def early(self, operation, origin, done):
        if operation.kind is Kind.PATCH:
            bases.setdefault(id(operation), (operation, self.cluster.store.held(operation.key)))
        carry_out(self, operation, origin, done)

    def stale(self, operation, origin, held, **known):
        _, base = bases.get(id(operation), (None, None))
        if operation.kind is Kind.PATCH and base is not None and base.value is not None and held != base:
            value = {**msgspec.json.decode(base.value), **msgspec.json.decode(operation.value)}
            operation = msgspec.structs.replace(operation, kind=Kind.PUT, value=msgspec.json.encode(value))
        return written(self, operation, origin, held, **known)

    bases = {}
    patch.setattr(Coordinator, "_carry_out_now", early)
    patch.setattr(Deciding, "decide", stale)


def anybody_may_read_a_single_record(patch):
    """A reader is asked for a token, and not whether the record is its own."""
    patch.setattr(Context, "may_read", lambda self, identity, key, record: True)


# Listings


def a_page_begins_at_the_last_key_of_the_one_before(patch):
    """The key at the border of two pages is listed twice."""
    keys = Store.keys
    patch.setattr(Store, "keys", lambda self, table, prefix="", after="": keys(self, table, prefix, after[:-1]))


def a_listing_shows_the_keys_of_others(patch):
    """Names are listed to whoever asks."""
    edit(patch, DataRoutes, "_names", " if access.at(name).read.covers(owner, uid)", "")


def a_listing_without_the_keys_on_which_owners_differ(patch):
    """What the owners do not agree on is left out."""
    resolve = Listing._resolve

    async def partial(self, table, entries, *rest):
        return await resolve(self, table, [one for one in entries if one.source is not None], *rest)

    patch.setattr(Listing, "_resolve", partial)


def a_listing_that_does_not_ask_for_a_majority(patch):
    """Whoever answers is enough, whatever level was asked for."""
    patch.setattr(Listing, "is_covered", lambda self, answered, level: True)


# Reads that write back


def a_read_answers_before_what_it_chose_is_written_back(patch):
    """The greatest record of a majority is answered, though only one of them may have it."""
    differs = "if is_mine or not (self._chosen is None or self._held[owner] == self._chosen):"
    edit(patch, Reading, "_equalize", differs, "if is_mine:")


# Feeds


def what_is_forgotten_of_a_key_counts_as_never_announced(patch):
    """A24: an old record is announced behind a newer one, once enough other keys were announced between."""
    note = Announced.note

    def careless(self, *arguments):
        note(self, *arguments)
        self.forgotten = 0

    patch.setattr(Announced, "note", careless)


def a_newcomer_is_told_of_what_was_announced_before(patch):
    """Who begins to listen while an event waits hears it too, though it may have heard it at its resume."""

    def everybody(self, found):
        self._listeners = found

    patch.setattr(Fan, "begin", everybody)


def listeners_that_are_looked_up_when_an_event_is_announced(patch):
    """A25: who begins to listen while events wait is in no event's list, and is not told that it lags either."""
    add, begin = Fans.add, Fan.begin
    early: dict[Fan, list[Subscription]] = {}

    def at_once(self, event):
        add(self, event)
        for fan in self._fans:
            if not fan.has_begun and fan not in early:
                early[fan] = self._listeners(fan.key, fan.event)

    patch.setattr(Fans, "add", at_once)
    patch.setattr(Fan, "begin", lambda self, found: begin(self, early.pop(self, found)))


def a_prefix_that_is_compared_the_other_way_round(patch):
    """A listener to a prefix hears of the keys that its prefix begins with."""
    edit(patch, Subscription, "matches", "key[1].startswith(self.prefix)", "self.prefix.startswith(key[1])")

    def of(self, name):
        return [groups for prefix, groups in self._by_prefix.items() if prefix.startswith(name)]

    patch.setattr(audience._Prefixes, "of", of)


def a_resume_one_event_too_late(patch):
    """The first event behind a cursor is skipped."""
    behind = Window.behind
    patch.setattr(
        Window,
        "behind",
        lambda self, seq, last, limit: behind(self, min(seq + (limit == 32), last), last, limit),
    )


def a_reset_that_listeners_to_a_key_or_prefix_are_not_told(patch):
    """Only listeners to whole tables are told to read afresh."""
    reset = Subscription.reset
    patch.setattr(
        Subscription, "reset", lambda self, upto: None if self.key is not None or self.prefix else reset(self, upto)
    )


def a_cursor_of_a_resume_that_is_ahead_of_what_was_told(patch):
    """A listener that comes back is told where the feed is now, not from where it is told everything."""
    subscribe = Hub.subscribe

    def ahead(self, subscription, cursor):
        subscribe(self, subscription, cursor)
        return self.cursor

    patch.setattr(Hub, "subscribe", ahead)


def listeners_hear_of_everybodys_records(patch):
    """Nobody asks whether a listener may see what it hears."""
    patch.setattr(live.Sights, "of", lambda self, identity: EVERYTHING)


def what_is_dropped_is_not_withdrawn(patch):
    """Listeners have heard of a record that others had deleted, and are not told when it is dropped."""
    edit(patch, Store, "drop", "type(effect) is Gone and", "False and")
