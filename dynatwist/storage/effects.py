"""What an entry changed, told as a value: indexes, feeds, accounts and witnesses go by it, and look at no replica.

An effect names all records that are held now and were not before, and all that were held and are not any more. What
else changed (a clock, a generation, hints, conflicts, named values) it does not spell out: nobody keeps an account of
these. Each says whether there `is_change` at all; what is none is neither logged nor saved.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from dynatwist.model.dots import DotSet
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed, Records, unpack

from .entries import AnyEntry, Joined


class Unchanged(msgspec.Struct, frozen=True, gc=False):
    """Everything is as it was.

    :ivar partition: that the entry names; ``None`` when it names none.
    """

    is_change: ClassVar[bool] = False
    partition: int | None


class Noted(msgspec.Struct, frozen=True, gc=False):
    """The same records are held; something else changed: a clock, a generation, wholeness, a hint, a conflict, a named
    value.

    :ivar partition: where; ``None`` for hints and named values.
    """

    is_change: ClassVar[bool] = True
    partition: int | None


class Covered(msgspec.Struct, frozen=True, gc=False):
    """A record arrived whose dot the clock has already: it wins nothing.

    :ivar is_change: whether it was set aside, and is so no more; otherwise nothing changed.
    """

    partition: int
    key: Key
    record: Record
    is_change: bool


class Lost(msgspec.Struct, frozen=True, gc=False):
    """A record arrived whose dot is new, and the one that is held stays.

    :ivar packed: the record that lost, as log and peers get it.
    :ivar is_concurrent: whether neither writer had seen the other's record.
    """

    is_change: ClassVar[bool] = True
    partition: int
    key: Key
    record: Record
    packed: Packed
    is_concurrent: bool


class Held(msgspec.Struct, frozen=True, gc=False):
    """A record is held now.

    :ivar packed: the record, as log and peers get it.
    :ivar before: what it replaced; ``None`` when nothing was held.
    :ivar before_packed: the same, packed.
    :ivar is_concurrent: whether neither writer had seen the other's record.
    """

    is_change: ClassVar[bool] = True
    partition: int
    key: Key
    record: Record
    packed: Packed
    before: Record | None
    before_packed: Packed | None
    is_concurrent: bool


class Plain(msgspec.Struct, frozen=True, gc=False):
    """A record is held now, as usually: nothing was held before, or a record that its writer had seen. Nobody has had
    to unpack either.

    They have values and do not end by themselves, and have neither a lease nor the id of a forwarded request.

    :ivar packed: the record, as log and peers get it.
    :ivar before_packed: what it replaced, packed; ``None`` when nothing was held.
    :ivar mark: (ms, counter) of the record's stamp.
    :ivar grown_bytes: by how many the value is longer than what was held.
    :ivar named: how many names more are remembered.
    """

    is_change: ClassVar[bool] = True
    partition: int
    key: Key
    packed: Packed
    before_packed: Packed | None
    mark: tuple[int, int]
    grown_bytes: int
    named: int

    @property
    def record(self) -> Record:
        """The record, unpacked for whoever asks."""
        return unpack(self.packed)

    @property
    def before(self) -> Record | None:
        """What it replaced, unpacked for whoever asks."""
        return None if self.before_packed is None else unpack(self.before_packed)


Won = Held | Plain
"""A record is held now, however it came to that."""


class Gone(msgspec.Struct, frozen=True, gc=False):
    """Some records are not held any more, and nothing in their places.

    :ivar records: those that were held; nobody changes this mapping any more.
    """

    is_change: ClassVar[bool] = True
    partition: int
    records: Records


Effect = Unchanged | Noted | Covered | Lost | Held | Plain | Gone


def logged(entry: AnyEntry, effect: Effect) -> AnyEntry:
    """What the log gets of an entry that changed something: the entry, but of a record that lost its dot alone.

    A cold save may leave out what beat it, a tombstone that is collected before the save comes to its key. Then nothing
    would beat the record when the log is replayed, and a deleted key would be back.
    """
    if type(effect) is Lost:
        return Joined(effect.partition, DotSet((effect.record.dot,)).to_wire(), 0, effect.key)
    return entry
