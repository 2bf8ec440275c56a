"""What a start has found so far: the state, and what is wrong with the files that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.sometimes import sometimes

from .effects import Covered, Held, Lost, Plain
from .entries import AnyEntry, Reset, SetAside
from .manifest import Manifest
from .state import State

PROGRESS_RECORDS = 100_000
"""After so many records a start says how far it is: a second or so."""


@dataclass(slots=True)
class Damage:
    """Something that is not as it was written.

    :ivar what: for people.
    :ivar partitions: those that it concerns, and that did not start over since.
    """

    what: str
    partitions: set[int]

    @property
    def finding(self) -> str:
        """A line for the log and ``/readyz``."""
        if not self.partitions:
            return f"{self.what}; nothing that is held now depends on it"
        all_of_them = len(self.partitions) == ALL_PARTITIONS
        concerned = "every partition is" if all_of_them else f"{len(self.partitions)} partitions are"
        return f"{self.what}; {concerned} fetched from other owners"


@dataclass(slots=True)
class Recovered:
    """What a start found.

    :ivar state: as it was durable.
    :ivar mark: the greatest (ms, counter) of all stamps that were read.
    :ivar wall_ms: the wall clock, as far as it was believed last.
    :ivar damage: what is damaged, in the order in which it was met.
    :ivar findings: lines for the log and ``/readyz``; those about damage come with `conclude`.
    :ivar progress: hears how far it is, now and then.
    :ivar next_segment: number for the new segment; greater than any that the log ever had.
    :ivar log_bytes: how much log was read.
    :ivar last_segment: number and length of the newest one kept.
    :ivar last_salt: names its file; empty when that is not known.
    :ivar chunk_salts: of the chunks that were read; see `dynatwist.storage.manifest.Manifest`.
    :ivar starts: the greatest count of this node's starts that the log names.
    """

    state: State = field(default_factory=State)
    mark: tuple[int, int] = (0, 0)
    wall_ms: int = 0
    manifest: Manifest | None = None
    damage: list[Damage] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    next_segment: int = 1
    last_segment: tuple[int, int] = (0, 0)
    last_salt: bytes = b""
    chunk_salts: dict[str, bytes] = field(default_factory=dict)
    starts: int = 0
    next_generation: int = 1
    log_bytes: int = 0
    loaded: int = 0
    progress: Callable[[str], None] = lambda text: None

    @property
    def damaged(self) -> set[int]:
        """The partitions that some damage concerns: what is here of them is not all, or older than it was."""
        return {number for damage in self.damage for number in damage.partitions}

    def damage_some(self, what: str, partitions: Iterable[int]) -> None:
        """Something that concerns some partitions."""
        for damage in self.damage:
            if damage.what == what:
                damage.partitions.update(partitions)
                return
        self.damage.append(Damage(what, set(partitions)))

    def damage_all(self, what: str) -> None:
        """Something that may concern every partition."""
        self.damage_some(what, range(ALL_PARTITIONS))

    def replay(self, entry: AnyEntry) -> None:
        """Carry out an entry of the log."""
        if isinstance(entry, Reset | SetAside):
            self.start_over(entry.partition)
        effect = self.state.apply(entry)
        if type(effect) is Plain:
            self.see_mark(effect.mark)
        elif isinstance(effect, Held | Lost | Covered):
            self.see_mark(effect.record.stamp[:2])

    def start_over(self, partition: int) -> None:
        """The log has a partition start over: what was damaged before concerns it no more.

        So a second start, before a cold save has replaced what is damaged, comes to what the first one had come to,
        with all that it acknowledged since.
        """
        for damage in self.damage:
            if partition in damage.partitions:
                sometimes("a start finds damage that an earlier start had found, and that is mended in the log")
                damage.partitions.discard(partition)

    def conclude(self) -> None:
        """All is read: set aside what is damaged, and say so. The store logs that, as soon as there is a log."""
        for number in sorted(self.damaged):
            self.state.apply(SetAside(number))
        self.findings += [damage.finding for damage in self.damage]

    def see(self, mark: tuple[int, int]) -> None:
        """Raise the high-water mark of the hybrid clock."""
        self.mark = max(self.mark, mark)

    def see_mark(self, mark: tuple[int, int]) -> None:
        """A record was read, whose stamp has these milliseconds and this counter."""
        self.loaded += 1
        if self.loaded % PROGRESS_RECORDS == 0:
            self.progress(f"{self.loaded:,} records loaded")
        if mark > self.mark:
            self.mark = mark
