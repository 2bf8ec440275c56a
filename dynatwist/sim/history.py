"""What clients asked, and what they were told."""

from __future__ import annotations

from dataclasses import dataclass, field

from dynatwist.model.record import Key, Record
from dynatwist.replication.request import Kind

from .world import Process

STRICT_TABLE = "strict"
"""Only sessions with ``majority`` on both sides use its keys."""

AGREED_TABLE = "agreed"
"""Made strong; see `dynatwist.sim.agreed`."""

SHARED_TABLE = "shared"
"""Its rules change while several use it; see `dynatwist.sim.shared`."""

CROWD_TABLE = "crowd"
"""So many keys in one partition that nobody asked for each; see `dynatwist.sim.effort`."""

NO_EFFECT = frozenset(
    {
        "forbidden",
        "not_found",
        "precondition_failed",
        "conflict",
        "too_large",
        "unavailable",
        "full",
        "starting",
        "bad_token",
        "removed",
        "overloaded",
    }
)
"""Answers that say that nothing was done."""


@dataclass(slots=True, eq=False)
class Call:
    """One request.

    :ivar session: who asks; sessions remember what they saw.
    :ivar number: of the write, unique in a history, and part of the value written; 0 for a read.
    :ivar user: whose token came along.
    :ivar process: of the node asked.
    :ivar ended_s: when it was answered; infinite until then.
    :ivar code: ``ok``, or the error's code; empty until answered.
    :ivar sent: the value, or the patch.
    :ivar if_match: the ETag that it demands, or ``*``; empty for none.
    :ivar if_absent: whether it demands that nothing is held.
    :ivar if_none_match: the ETag that a reader has already.
    :ivar name: its Idempotency-Key; empty for none.
    :ivar repeats: the request that this one sends again, under the same name.
    :ivar is_large: whether its value is as large as this seed's values may be.
    :ivar is_hidden: whether the answer to a patch kept the value to itself.
    :ivar record: written or read; ``None`` for an absent key.
    :ivar replicas: ``REACHED/OWNERS``, as the answer said.
    """

    session: str
    kind: Kind
    key: Key
    level: str
    number: int
    user: str
    host: str
    process: Process
    started_s: float
    ttl_s: int = 0
    ended_s: float = float("inf")
    code: str = ""
    record: Record | None = None
    replicas: str = ""
    sent: bytes = b""
    if_match: str = ""
    if_absent: bool = False
    if_none_match: str = ""
    name: str = ""
    repeats: Call | None = None
    is_large: bool = False
    is_hidden: bool = False

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.kind is not Kind.GET

    @property
    def is_acknowledged(self) -> bool:
        """Whether a write was answered with success."""
        return self.is_write and self.code == "ok"

    @property
    def reached(self) -> int:
        """How many replicas the answer counted."""
        return int(self.replicas.partition("/")[0] or 0)

    @property
    def owners(self) -> int:
        """Of how many."""
        return int(self.replicas.partition("/")[2] or 0)

    def text(self) -> str:
        """One line for the trace."""
        what = f"{self.session} {self.kind.value} {'/'.join(self.key)} {self.level} by {self.user} at {self.host}"
        number = f" n={self.number}" if self.number else ""
        record = self.record
        found = "" if record is None else f" {record.value!r} {name_of(record)}"
        return f"{what}{number}: {self.code}{found} {self.replicas} after {self.ended_s - self.started_s:.3f} s"


def name_of(record: Record) -> str:
    """A record's dot and lineage, short, for people."""
    stamps = "+".join(f"{stamp.ms % 10_000_000}.{stamp.counter}" for stamp in record.lineage.stamps[-3:])
    actor, seq = record.dot
    return f"[{actor[:8].hex()[:4]}.{actor[8:].hex()[:4]}-{seq} G{record.lineage.generation} {stamps}]"


@dataclass(slots=True)
class History:
    """All requests of a world.

    :ivar registered: per user name how often its registration was confirmed as new.
    """

    calls: list[Call] = field(default_factory=list)
    registered: dict[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Requests by outcome."""
        counts: dict[str, int] = {}
        for call in self.calls:
            counts[call.code or "lost"] = counts.get(call.code or "lost", 0) + 1
        return dict(sorted(counts.items()))
