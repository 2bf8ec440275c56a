"""What listeners are told: events, one for each record that won, and notices that something is missing."""

from __future__ import annotations

from enum import Enum

from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed, unpack
from dynatwist.model.ring import partition_of

from .heard import Heard
from .sight import Sight

EVENT_OVERHEAD_BYTES = 300
"""What an event costs beside its packed record, about: the object, its place in a queue, its key."""


class Event:
    """One record that won, or that ended by itself.

    :ivar seq: its number; each event of one hub has a greater one than those before.
    :ivar doubt: 0 for what is certainly newer than all that was announced of its key. Else the number of the newest
        event that the hub had forgotten: a listener that heard any so old may have heard something newer of this key.
    :ivar is_over: whether the record has ended by itself.
    :ivar is_initial: whether it is what there was when somebody began to listen; nobody can resume behind it.
    :ivar size_bytes: what it costs a queue, about.
    :ivar encoded: room for the encodings, each made once however many listen.
    """

    __slots__ = (
        "_epoch", "_packed", "_record", "_shown", "_version",
        "doubt", "encoded", "is_initial", "is_over", "key", "seq", "size_bytes",
    )  # fmt: skip

    def __init__(
        self,
        key: Key,
        packed: Packed,
        epoch: str,
        seq: int,
        doubt: int = 0,
        *,
        is_over: bool = False,
        is_initial: bool = False,
    ) -> None:
        self.key = key
        self.is_over = is_over
        self.is_initial = is_initial
        self._packed = packed
        self._record: Record | None = None
        self._epoch = epoch
        self.seq = seq
        self.doubt = doubt
        self.size_bytes = len(packed) + EVENT_OVERHEAD_BYTES
        self._shown: dict[Sight, bool] = {}
        self._version = 0
        self.encoded: dict[str, bytes] | None = None

    @property
    def is_deleted(self) -> bool:
        """Whether nothing is there any more."""
        return self.is_over or self.record.value is None

    @property
    def record(self) -> Record:
        """What won, or ended."""
        if self._record is None:
            self._record = unpack(self._packed)
        return self._record

    def is_shown(self, sight: Sight) -> bool:
        """Whether somebody may see it; asked once of each, as long as nobody's rights change."""
        if sight.version != self._version:
            self._version = sight.version
            self._shown.clear()
        shown = self._shown.get(sight)
        if shown is None:
            shown = self._shown[sight] = sight.sees(self.key, self.record)
        return shown

    def is_known(self, heard: Heard) -> bool:
        """Whether somebody who has heard so much has heard of it."""
        partition = partition_of(*self.key)
        return heard.has_end(partition, self.record) if self.is_over else heard.has(partition, self.record.dot)

    @property
    def cursor(self) -> str:
        """The position right behind it, for resuming."""
        return f"{self._epoch}-{self.seq}"


class Notice(Enum):
    """What a subscriber is told besides events."""

    LAGGED = "lagged"
    """It was too slow, or its hub had too much to do; events were dropped. Read afresh."""
    RESET = "reset"
    """What it missed is not known any more. Read afresh."""
    SYNCED = "synced"
    """All that there is was told; what changes comes now."""
