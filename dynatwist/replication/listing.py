"""Which keys a page of a listing shows: what members found in their own parts, put together, and cut to a size.

Every member that can be reached scans what it owns, in order of keys, from behind the same key on, until its answer is
full. The rules:

- A page goes as far as the member that got least far. Behind that, it may own keys which nobody else has named.
- Only whole owners count. Where all of those that answered name one record of a key, that is what is shown. Where they
  differ, or none of them counts, the key is *disputed*: it is read like any other key.
- A record that ended by itself while members scanned is disputed too: whether it has ended is for a read to decide.
- There are enough answers when each partition has enough of its owners among them: a majority, all or one;
  while members change, of the old ones and of the new. The last member is not waited for then: it may be slow.
- A page is bounded in bytes by what members say that records weigh, and has one record at least.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from dynatwist.model.dots import Dot
from dynatwist.model.records import Brief
from dynatwist.model.registry import Registry, majority
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.sometimes import sometimes

from .quorum import Level

UNKNOWN_BYTES = 64 << 10
"""What a record is counted as where a member of an older release does not say how large it is."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What one member found.

    :ivar entries: keys in order, each with the dot of its record and what the member said of that.
    :ivar more: whether there are further keys.
    """

    entries: Sequence[tuple[str, Dot, Brief | None]]
    more: bool

    def is_sound(self, prefix: str, after: str) -> bool:
        """Whether it can be an answer: names in order, behind that key, and a last one where there is more."""
        names = [name for name, _, _ in self.entries]
        is_ordered = all(one < other for one, other in pairwise([after, *names]))
        return is_ordered and all(name.startswith(prefix) for name in names) and (bool(names) or not self.more)


@dataclass(frozen=True, slots=True)
class Entry:
    """What all scans together found of one key.

    :ivar source: a node that holds what the owners agree on; ``None`` when the key is disputed.
    :ivar dot: what they agree on.
    :ivar brief: what that node said of it.
    :ivar size_bytes: of the largest record that a node holds.
    """

    name: str
    source: bytes | None
    dot: Dot | None
    brief: Brief | None
    size_bytes: int

    def is_gone(self, over_ms: int) -> bool:
        """Whether the owners agree that the key is dead."""
        return self.source is not None and self.brief is not None and self.brief.is_dead(over_ms)

    def doubted(self, over_ms: int, now_ms: int) -> Entry:
        """Itself, or disputed where its record has ended since.

        :param over_ms: the time that was over when it was scanned.
        :param now_ms: the time that is over by now.
        """
        if self.brief is None or not over_ms < self.brief.expires_ms <= now_ms:
            return self
        sometimes("a record ended while it was listed")
        return replace(self, source=None, dot=None, brief=None)


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a table.

    :ivar horizon: the key with which it ends, if there is more behind it.
    """

    entries: list[Entry]
    horizon: str | None

    def cut(self, costly: Sequence[Entry], room_bytes: int) -> Part:
        """As much of it as fits into a page.

        :param costly: those whose records have to be fetched.
        """
        count = fitting((entry.size_bytes for entry in costly), room_bytes)
        if count == len(costly):
            return self
        sometimes("a page of a listing ends early, for its bytes")
        last = costly[count - 1].name
        return Part([entry for entry in self.entries if entry.name <= last], last)


def fitting(sizes_bytes: Iterable[int], room_bytes: int) -> int:
    """How many of the first go into a page; one always does."""
    count = 0
    for size_bytes in sizes_bytes:
        room_bytes -= size_bytes
        if count and room_bytes < 0:
            break
        count += 1
    return count


def put_together(scans: Mapping[bytes, Scan], limit: int, counted: Callable[[str], list[bytes]]) -> Part:
    """What all scans together say.

    :param scans: by member.
    :param limit: of keys; each member answered with so many at most, and they own different ones.
    :param counted: the owners of a key that count: whole ones that answered.
    """
    horizon = min((scan.entries[-1][0] for scan in scans.values() if scan.more), default=None)
    found: dict[str, dict[bytes, tuple[Dot, Brief | None]]] = {}
    for node, scan in scans.items():
        for name, dot, brief in scan.entries:
            if horizon is None or name <= horizon:
                found.setdefault(name, {})[node] = dot, brief
    names = sorted(found)
    if len(names) > limit:
        names, horizon = names[:limit], names[limit - 1]
    return Part([_entry(name, found[name], counted(name)) for name in names], horizon)


def _entry(name: str, said: dict[bytes, tuple[Dot, Brief | None]], counted: list[bytes]) -> Entry:
    dots = {said[node][0] if node in said else None for node in counted}
    size_bytes = max(brief.size_bytes if brief is not None else UNKNOWN_BYTES for _, brief in said.values())
    if len(dots) != 1 or counted[0] not in said:
        sometimes("a listing meets a key on which the owners differ")
        return Entry(name, None, None, None, size_bytes)
    return Entry(name, counted[0], *said[counted[0]], size_bytes)


def is_covered(
    registry: Registry, level: Level, answered: Collection[bytes], is_whole: Callable[[bytes, int], bool]
) -> bool:
    """Whether those that have answered are enough.

    :param is_whole: whether a node is whole in a partition.
    """
    for partition in range(ALL_PARTITIONS - 1):
        for group in registry.groups(partition):
            whole = [node for node in group if node in answered and is_whole(node, partition)]
            needed = {Level.MAJORITY: majority(len(group)), Level.ALL: len(group)}.get(level, 1)
            if len(whole) < needed:
                if registry.changing and group != registry.old_owners(partition) and needed == 1:
                    continue
                return False
    return True


class Gathering:
    """Who has answered, and whether anybody is still waited for.

    :param asked: this node among them.
    :param is_enough: whether the answers of some members are enough.
    """

    __slots__ = ("_is_enough", "_waiting", "scans")

    def __init__(self, asked: Iterable[bytes], is_enough: Callable[[Collection[bytes]], bool]) -> None:
        self._waiting = set(asked)
        self._is_enough = is_enough
        self.scans: dict[bytes, Scan] = {}

    def hear(self, node: bytes, scan: Scan | None) -> None:
        """A member has answered; or ``None``: it will not."""
        self._waiting.discard(node)
        if scan is not None:
            self.scans[node] = scan

    @property
    def is_over(self) -> bool:
        """Whether nobody is waited for any more."""
        if not self._waiting:
            return True
        if len(self._waiting) > 1 or not self._is_enough(self.scans):
            return False
        sometimes("a listing does not wait for the last node")
        return True
