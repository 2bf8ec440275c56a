"""Which conflicts a page shows: what members keep of them, put together.

Every member lists its conflicts in one order, the newest first, from behind the same id on, until its answer is full.
The rules:

- A page goes as far as the member that got least far: behind that, it may keep what nobody else has named.
- What several members keep is one conflict, with one id.
- What any member remembers to be settled is shown no more, and whoever keeps it still is to be told.
- Members say who owns the record that they hold by now: whether a conflict may be shown depends on that. Where they do
  not agree, all of them count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta

from dynatwist.model.record import Key
from dynatwist.sometimes import sometimes

from .conflicts import ID_BYTES, ConflictId, Winner


class Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a member says of a conflict without the value that lost.

    :ivar owner: of the record that lost.
    :ivar won: what it lost against at that member.
    :ivar holder: owner of what the member holds for the key by now; ``None`` where it holds nothing.
    :ivar size_bytes: of the record that lost.
    """

    id: Annotated[ConflictId, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
    key: Key
    owner: str
    won: Winner
    holder: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Told:
    """What one member keeps, as far as its answer reaches.

    :ivar heads: the newest first.
    :ivar settled: ids that are settled.
    :ivar upto: the last id that it looked at; empty when there is no further one.
    """

    heads: Sequence[Head]
    settled: Sequence[ConflictId]
    upto: ConflictId

    def is_sound(self, after: ConflictId) -> bool:
        """Whether it can be an answer: in order, and all of it where it was asked for."""
        ids = [head.id for head in self.heads]
        is_ordered = all(one > other for one, other in pairwise([*([after] if after else []), *ids]))
        is_further = not after or self.upto < after
        return is_ordered and is_further and (not ids or ids[-1] >= self.upto)


@dataclass(frozen=True, slots=True)
class Found:
    """What all members together say of a conflict.

    :ivar won: of what it lost against at several members, what was written first.
    :ivar owners: of the record that lost, of what it lost against, and of what is held by now.
    :ivar sources: the members that keep it.
    """

    id: ConflictId
    key: Key
    owner: str
    won: Winner
    owners: frozenset[str]
    sources: tuple[bytes, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of all members' conflicts.

    :ivar found: the newest first.
    :ivar horizon: the last id that the stretch covers; empty when it goes to the end.
    :ivar untold: for members that still keep what is settled, the keys and ids of that.
    """

    found: list[Found]
    horizon: ConflictId
    untold: dict[bytes, list[tuple[Key, ConflictId]]]


def put_together(told: Mapping[bytes, Told]) -> Part:
    """One stretch of what several members told."""
    horizon = max((one.upto for one in told.values()), default=b"")
    settled = {name for one in told.values() for name in one.settled}
    heads: dict[ConflictId, dict[bytes, Head]] = {}
    untold: dict[bytes, list[tuple[Key, ConflictId]]] = {}
    for node, one in sorted(told.items()):
        for head in one.heads:
            if head.id in settled:
                sometimes("a member keeps a conflict that others know to be settled")
                untold.setdefault(node, []).append((head.key, head.id))
            elif head.id >= horizon:
                heads.setdefault(head.id, {})[node] = head
    return Part([_found(heads[name]) for name in sorted(heads, reverse=True)], horizon, untold)


def _found(heads: dict[bytes, Head]) -> Found:
    first = next(iter(heads.values()))
    won = min((head.won for head in heads.values()), key=lambda won: (won.ms, won.version, won.owner))
    owners = {owner for head in heads.values() for owner in (head.owner, head.won.owner, head.holder)}
    return Found(
        first.id,
        first.key,
        first.owner,
        won,
        frozenset(owner for owner in owners if owner is not None),
        tuple(heads),
        max(head.size_bytes for head in heads.values()),
    )
