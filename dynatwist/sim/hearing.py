"""Judges what listeners are told: in order, durable, theirs, and of each key the last (P8, P9)."""

from __future__ import annotations

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record

from .answers import Answers
from .ended import Ended
from .history import name_of
from .interests import Interest
from .order import is_preferred
from .witness import Witness
from .world import World

SOON_S = 0.05
"""A listener at a node that does not own a key counts from when the owners have been told of it."""


class Hearing:
    """See the module.

    :ivar say: hears of violations.
    """

    def __init__(self, world: World, answers: Answers, witness: Witness, ended: Ended) -> None:
        self._world = world
        self._answers = answers
        self._witness = witness
        self._ended = ended
        self.say = witness.say

    def told(self, interest: Interest) -> None:
        """A listener is told that something may be missing."""
        interest.told(self._world.now_s)

    def heard(self, interest: Interest, key: Key, shown: bytes | None) -> None:
        """A listener hears of a key.

        :param shown: the record, as it was sent; ``None`` of a delete, of which only that is told.
        """
        name = interest.text(key)
        if not interest.matches(key):
            self.say(f"P8: {name} is not what it listens to")
        if key in interest.again:
            interest.again.discard(key)
            interest.last.pop(key, None)
            interest.ended.discard(key)
        record = self._oldest_delete(interest, key) if shown is None else self._answers.shown(key, shown)
        if record is None:
            if shown is None:
                self.say(f"P8: {name} is deleted, it hears, though nobody deleted it since")
            return
        if not interest.may_see(record):
            self.say(f"P9: {name} {name_of(record)} is {record.owner}'s")
        if shown is not None and interest.may_repeat(key, record, self._world.now_s):
            return
        self._judge_durable(name, key, record, is_deleted=shown is None)
        before = interest.last.get(key)
        if before is not None and shown is None and before.dot == record.dot and record.value is not None:
            interest.ended.add(key)
            return
        if before is not None and self._witness.burials.is_outlived(self._witness.ledger.of(key)[before.dot]):
            before = None  # the key has begun anew
        if before is not None and not is_preferred(record, before):
            self.say(f"P8: {name} {name_of(record)} is heard after {name_of(before)}")
        else:
            interest.last[key] = record
            interest.ended.discard(key)
            if shown is None and record.value is not None:
                interest.ended.add(key)

    def _judge_durable(self, name: str, key: Key, record: Record, is_deleted: bool) -> None:
        known = self._witness.ledger.of(key)[record.dot]

        def durable() -> None:
            if not known.held_by and not is_deleted:
                self.say(f"P8: {name} {name_of(record)} is announced before anybody has it durably")

        self._world.later(0.0, durable)  # the log tells the witness in the same turn

    def _oldest_delete(self, interest: Interest, key: Key) -> Record | None:
        """The least record that can be what a listener is told of as a delete, or that has ended by itself."""
        before, found = interest.last.get(key), None
        for known in self._witness.ledger.of(key).values():
            record = known.record
            if not (record.value is None or self._ended.has(record)) or not interest.may_see(record):
                continue
            if before is not None and before.dot == record.dot and record.value is not None:
                if key not in interest.ended:
                    return record
            elif before is None or is_preferred(record, before):
                found = record if found is None or is_preferred(found, record) else found
        return found

    # At rest

    def judge(self, interest: Interest, final: dict[Key, Record], born_s: dict[tuple[Key, Dot], float]) -> None:
        """After everything has come to rest: has a listener heard the last of each key?

        :param final: what the owners hold.
        :param born_s: when each record was written, by (key, dot).
        """
        for key, record in final.items():
            if interest.matches(key) and interest.may_see(record):
                self._judge_key(interest, key, record, born_s.get((key, record.dot), 0.0))
        for key, last in interest.last.items():
            is_lost = self._witness.is_newest(key, last)  # nobody deleted it: its disks are gone
            is_told_of = last.value is None or last.expires_ms or is_lost or self._is_others_since(interest, key, last)
            if key not in final and not is_told_of:
                self.say(f"P8: {interest.who} at {interest.host}: {'/'.join(key)} is gone, and was not told")

    def _is_others_since(self, interest: Interest, key: Key, last: Record) -> bool:
        """Whether somebody else created the key since: a node that meets that first has nothing to tell."""
        since = (known.record for known in self._witness.ledger.of(key).values())
        return any(not interest.may_see(record) and is_preferred(record, last) for record in since)

    def _judge_key(self, interest: Interest, key: Key, record: Record, born_s: float) -> None:
        last = interest.last.get(key)
        if (
            last is not None
            and last.dot == record.dot
            and self._ended.is_long_over(record)
            and key not in interest.ended
        ):
            self.say(f"P8: {interest.text(key)}: {name_of(record)} has ended, and that was not told")
        if last is not None and (last.dot == record.dot or last.value is record.value is None):
            return
        begun_s = max(interest.since_s, interest.told_s) + SOON_S
        if born_s > begun_s or (last is not None and interest.told_s < interest.since_s):
            text = "nothing" if last is None else f"{last.value!r} {name_of(last)}"
            self.say(
                f"P8: {interest.text(key)}: the last heard is {text}, owners hold {record.value!r} {name_of(record)} "
                f"since {born_s:.3f}, listening since {begun_s:.3f}"
            )
