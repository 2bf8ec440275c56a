"""What a round of anti-entropy does next: which partitions it works at, and what it does about each of them.

A round makes this node hold all that one peer held when the round began. About each partition that differs:

==========  ======================================  =================================================================
state       what comes                              what is done
==========  ======================================  =================================================================
begun       (nothing yet)                           `Pull` the first page of what the own clock does not cover
pulling     a page, merged, and durable here        more is to come: `Pull` on behind its last key
                                                    it was the last: `Join` the clock that came with the *first* page
joined      what both sides hold now                equal clocks of whole replicas, unlike digests: `AskDigests`
                                                    anything else: over
comparing   numbers of buckets that differ          `AskEntries` of some of them; over where there are none
            both sides' entries, settled            `AskEntries` of the next ones, until none is left: over
any         no useful answer; the replica started   over, and the round has failed
            over meanwhile
==========  ======================================  =================================================================

The rules behind it:

- A clock that is joined says that all it covers is held here, or was superseded here. That holds of the clock that the
  peer had at the first page, once all further pages are merged. What the peer was given meanwhile may have been on no
  page: a later page's clock covers it, and is not joined.
- A page is durable here before anything follows it: the log has records before the clock that covers them, and a slow
  disk has one page of each partition to write, and no more.
- A replica that started over has lost what came before; so a round that began before may not join anything afterwards.
- A bucket is compared only where both are whole: an entry that the other side lacks was collected there, or lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dynatwist.model.digest import BUCKETS
from dynatwist.model.dots import WireDots
from dynatwist.model.record import Key

PARALLEL_PULLS = 8
PARALLEL_LARGE_PULLS = 2
LARGE_PAGE_BYTES = 128 << 10
"""Where pages are so large, a few at once fill the connection, and what clients wait for would queue behind more."""
MAX_ENTRIES = 4000
"""Entries of digest buckets compared at a time, about: a few milliseconds of work for either side."""


@dataclass(frozen=True, slots=True)
class Side:
    """What a node holds of a partition at some instant.

    :ivar clock: as it is sent.
    :ivar generation: its G.
    :ivar root: over all digests.
    """

    clock: WireDots
    generation: int
    root: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A page of what a peer holds, without its records.

    :ivar side: the peer, at the instant at which the page was looked for.
    :ivar last: the key that the page ends with; ``None`` when it is empty.
    :ivar more: whether there are further pages.
    :ivar walk: by which the peer tells its rounds with this node apart.
    """

    side: Side
    last: Key | None
    more: bool
    walk: int


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask for a page, merge it, and say `PartitionRound.kept` when it is durable.

    :ivar after: the key behind which it begins; ``None`` for the first page.
    :ivar walk: of the first page; 0 for that one itself.
    """

    after: Key | None
    walk: int


@dataclass(frozen=True, slots=True)
class Join:
    """Join a clock, adopt its G, and say `PartitionRound.joined`."""

    side: Side


@dataclass(frozen=True, slots=True)
class AskDigests:
    """Ask for the digests of the peer's buckets, and say `PartitionRound.differ`."""


@dataclass(frozen=True, slots=True)
class AskEntries:
    """Ask for the entries of some buckets, look at the own ones, and say `PartitionRound.may_settle`."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing is left to be done about this partition.

    :ivar ok: whether all that the peer held when the round began is here.
    :ivar is_source: whether the peer counts as one that this was fetched from: it was whole itself.
    """

    ok: bool
    is_source: bool


Todo = Pull | Join | AskDigests | AskEntries | Over
FAILED = Over(ok=False, is_source=False)
"""No useful answer came, or none at all."""


class PartitionRound:
    """What a round does about one partition; see the module. Whatever happened, the answer is what is to be done now.

    :param is_same: whether a replica has not started over since the round began.
    :ivar number: of the partition.
    """

    __slots__ = ("_first", "_is_same", "_last", "_left", "number")

    def __init__(self, number: int, is_same: Callable[[int], bool]) -> None:
        self.number = number
        self._is_same = is_same
        self._first: Page | None = None
        self._last: Page | None = None
        self._left: tuple[int, ...] = ()

    def begin(self) -> Todo:
        """The partition is next."""
        return Pull(None, 0)

    def may_merge(self) -> bool:
        """Whether what has come of the peer may be merged."""
        return self._is_same(self.number)

    def kept(self, page: Page) -> Todo:
        """The page that was asked for is merged, and durable here."""
        first = self._first = self._first or page
        self._last = page
        if not self._is_same(self.number):
            return FAILED
        if not page.more:
            return Join(first.side)
        return Pull(page.last, first.walk) if page.last is not None else FAILED  # there would be no end to empty pages

    def joined(self, mine: Side) -> Todo:
        """The clock is joined.

        :param mine: what is held here now.
        """
        page = self._last
        assert page is not None
        equal_clocks = page is self._first and mine.clock == page.side.clock
        if equal_clocks and mine.root != page.side.root and mine.whole and page.side.whole:
            return AskDigests()
        return self._over()

    def differ(self, numbers: Iterable[int], held: int) -> Todo:
        """The peer's digests have come.

        :param numbers: of the buckets that differ.
        :param held: how many records are held here, which says how many buckets are compared at a time.
        """
        self._left = tuple(numbers)
        return self.go_on(held)

    def may_settle(self, mine_whole: bool, peer_whole: bool) -> Todo | None:
        """Entries of both sides are there.

        :returns: ``None`` when what differs is to be settled; then say `go_on`.
        """
        if not self._is_same(self.number):
            return FAILED
        return None if mine_whole and peer_whole else self._over()

    def go_on(self, held: int) -> Todo:
        """What differed in some buckets is settled; compare as many more as have a bounded number of entries."""
        if not self._left:
            return self._over()
        count = max(1, MAX_ENTRIES * BUCKETS // max(1, held))
        some, self._left = self._left[:count], self._left[count:]
        return AskEntries(some)

    def _over(self) -> Over:
        return Over(ok=True, is_source=self._first is not None and self._first.side.whole)


class Round:
    """The partitions of one round: how many are worked at at once, and how it ends.

    :param partitions: that are compared.
    :param is_same: see `PartitionRound`.
    """

    __slots__ = ("_failed", "_is_same", "_left", "_parallel", "_running", "_sources")

    def __init__(self, partitions: Iterable[int], is_same: Callable[[int], bool]) -> None:
        self._is_same = is_same
        self._sources = set(partitions)
        self._left: list[int] = []
        self._running = 0
        self._parallel = PARALLEL_PULLS
        self._failed = False

    def compared(self, differing: Iterable[int], not_whole: Iterable[int]) -> None:
        """The peer said which partitions differ, and of which it is not whole itself."""
        self._sources -= set(not_whole)
        self._left = sorted(differing, reverse=True)

    def take(self) -> PartitionRound | None:
        """The next partition to begin with now; ``None``: none, for the time being."""
        if not self._left or self._running >= self._parallel or self._failed:
            return None
        self._running += 1
        return PartitionRound(self._left.pop(), self._is_same)

    def weigh(self, page_bytes: int) -> None:
        """A page had so many bytes; where they are large, fewer are asked for at once."""
        self._parallel = PARALLEL_PULLS if page_bytes < LARGE_PAGE_BYTES else PARALLEL_LARGE_PULLS

    def over(self, partition: int, how: Over) -> None:
        """Nothing is left to be done about a partition that was taken."""
        self._running -= 1
        self._failed = self._failed or not how.ok
        if not how.is_source:
            self._sources.discard(partition)

    @property
    def is_over(self) -> bool:
        """Whether nothing is under way, and nothing will be."""
        return not self._running and (self._failed or not self._left)

    @property
    def is_complete(self) -> bool:
        """Whether all that the peer held when the round began is here; to be asked when it is over."""
        return not self._failed

    @property
    def sources(self) -> set[int]:
        """The partitions of which the peer, whole itself, gave all that it held; of a round that is complete."""
        return {number for number in self._sources if self._is_same(number)}
