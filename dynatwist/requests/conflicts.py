"""Conflicts of all members: listed in pages, and settled.

Only those members have met a pair that held one record of it when the other one came. So all that can be reached are
asked, and what they keep is put together (`dynatwist.replication.conflict_pages`). They say first what their conflicts
are about; values are fetched of those alone that are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec
from twisted.internet.defer import Deferred

from dynatwist.calls import all_of
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.flaws import key_flaw, record_flaw
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed, brief_of, unpack
from dynatwist.model.ring import partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import (
    AnyMessage,
    ConflictsAre,
    ConflictsFetched,
    Done,
    FetchConflicts,
    ListConflicts,
    SettleConflicts,
)
from dynatwist.net.messages.conflicts import MAX_ASKED
from dynatwist.net.replies import NoAnswer, Reply
from dynatwist.replication.conflict_pages import Found, Head, Part, Told, put_together
from dynatwist.replication.conflicts import ConflictId, id_of, just_above
from dynatwist.runtime import cancel
from dynatwist.sometimes import sometimes

PAGE_BYTES = 1 << 20
"""Of the records of one page, about; one record is always in it."""
ANSWER_BYTES = 256 << 10
"""Of one member's answer without values, about."""
HEAD_BYTES = 100
"""A conflict's share of that besides its names."""
MOST_LOOKED_AT = 2000
"""For one answer: a few milliseconds."""
MOST_ROUNDS = 100
"""Of questions for one page: twice what it takes to look at all that members can keep, where nothing may be shown."""
TIMEOUT_S = 1.0
"""For one member to answer, half of what clients are promised; who is slower is left out, and the answer says so."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A conflict, with the record that lost."""

    found: Found
    lost: Record


@dataclass(frozen=True, slots=True)
class Page:
    """Some conflicts, the newest first.

    :ivar next_after: behind which id there are more; empty when these are the last.
    :ivar missing: members that may keep further ones and were not heard.
    """

    conflicts: list[Shown]
    next_after: ConflictId
    missing: frozenset[bytes]


class Conflicts:
    """See the module.

    :ivar page_bytes: see `PAGE_BYTES`.
    :ivar answer_bytes: see `ANSWER_BYTES`.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.page_bytes, self.answer_bytes = PAGE_BYTES, ANSWER_BYTES
        self._handlers: dict[type[AnyMessage], Callable[..., None]] = {
            ListConflicts: self._on_list,
            FetchConflicts: self._on_fetch,
            SettleConflicts: self._on_settle,
        }
        for kind, handler in self._handlers.items():
            cluster.peers.on_call(kind, handler)

    def bound(self, page_bytes: int, answer_bytes: int) -> None:
        """Answer with pages of another size than the usual one, from now on."""
        self.page_bytes, self.answer_bytes = page_bytes, answer_bytes

    # What clients ask for

    async def page(self, table: str, after: ConflictId, limit: int, may_see: Callable[[Found], bool]) -> Page:
        """Some conflicts.

        :param table: only those of one; empty for all.
        :param after: only those behind this id; empty for all.
        :param may_see: whether one may be shown; what may not is as if it were not there.
        """
        missing, asked = set(self._members()), self._reachable()
        chosen: list[Found] = []
        room, count = self.page_bytes, limit + 1
        for _ in range(MOST_ROUNDS):
            told = await self._list(asked, ListConflicts(table, after, min(count, MAX_ASKED)))
            missing -= told.keys()
            missing |= asked - told.keys()
            asked = set(told)
            part = put_together(told)
            self._tell_settled(part)
            for found in filter(may_see, part.found):
                if chosen and (len(chosen) == limit or room < found.size_bytes):
                    return await self._shown(chosen, chosen[-1].id, missing)
                chosen.append(found)
                room -= found.size_bytes
            if not part.horizon:
                return await self._shown(chosen, b"", missing)
            after, count = part.horizon, 4 * count
        return await self._shown(chosen, after, missing)

    async def find(self, conflict: ConflictId) -> tuple[Found | None, frozenset[bytes]]:
        """What the members say of one; and who was not heard."""
        asked = self._reachable()
        told = await self._list(asked, ListConflicts("", just_above(conflict), 1))
        part = put_together({node: _only(one, conflict) for node, one in told.items()})
        self._tell_settled(part)
        return next(iter(part.found), None), frozenset(self._members()) - told.keys()

    async def settle(self, found: Found) -> tuple[int, frozenset[bytes]]:
        """Have all members forget a conflict, and remember that it is settled.

        Those that are not heard are told at a later look, by whoever remembers.

        :returns: how many members have that durably; and who was not heard.
        """
        message = SettleConflicts([(partition_of(*found.key), found.id)])
        nodes = sorted(self._reachable())
        replies = await all_of([self._ask(node, message) for node in nodes])
        done = {node for node, reply in zip(nodes, replies, strict=True) if isinstance(reply, Done)}
        return len(done), frozenset(self._members()) - done

    # Asking

    def _members(self) -> set[bytes]:
        registry = self._cluster.registry
        return set(registry.ids | registry.previous_ids) if registry is not None else set()

    def _reachable(self) -> set[bytes]:
        """This node, and the members that can be asked; one of an older release would end the link."""
        me, has_conflicts = self._cluster.me.node_id, self._cluster.peers.has_conflicts
        return {node for node in self._members() if node == me or has_conflicts(node)}

    async def _list(self, nodes: Collection[bytes], message: ListConflicts) -> dict[bytes, Told]:
        """What members keep, by node; those that have not answered, or not soundly, are left out."""
        in_order = sorted(nodes)
        replies = await all_of([self._ask(node, message) for node in in_order])
        told = {node: _told(reply, message) for node, reply in zip(in_order, replies, strict=True)}
        return {node: one for node, one in told.items() if one is not None}

    def _ask(self, node: bytes, message: AnyMessage) -> Deferred[Reply]:
        """What a member answers, this one perhaps; it always ends, however slow a disk is."""
        answered: Deferred[Reply] = Deferred()
        if node != self._cluster.me.node_id:
            self._cluster.links.call(node, message, answered.callback, timeout_s=TIMEOUT_S)
            return answered

        def answer(reply: Reply) -> None:
            if not answered.called:
                cancel(timer)
                answered.callback(reply)

        timer = self._cluster.runtime.clock.callLater(TIMEOUT_S, answer, NoAnswer.LATE)
        # in a later turn, even where nobody else is asked: long listings are not to keep others waiting
        self._cluster.runtime.later(lambda: self._handlers[type(message)](Arrival(node), message, answer))
        return answered

    def _tell_settled(self, part: Part) -> None:
        for node, untold in part.untold.items():
            self._ask(node, SettleConflicts([(partition_of(*key), name) for key, name in untold]))

    # Values

    async def _shown(self, chosen: list[Found], next_after: ConflictId, missing: Iterable[bytes]) -> Page:
        """A page with the values; whatever was settled meanwhile is left out."""
        lost: dict[ConflictId, Record] = {}
        me = self._cluster.me.node_id
        unheard = set(missing)
        tries: dict[ConflictId, list[bytes]] = {
            one.id: sorted(one.sources, key=lambda node: (node == me, node)) for one in chosen
        }  # this node itself is asked first: it is the last one
        keys = {one.id: one.key for one in chosen}
        while wanted := _by_node(tries, lost):
            for node, ids in wanted.items():
                if not await self._fetch(node, ids, keys, lost):
                    unheard.add(node)
        shown = [Shown(one, lost[one.id]) for one in chosen if one.id in lost and lost[one.id].owner == one.owner]
        return Page(shown, next_after, frozenset(unheard))

    async def _fetch(
        self, node: bytes, ids: list[ConflictId], keys: Mapping[ConflictId, Key], lost: dict[ConflictId, Record]
    ) -> bool:
        """Take in what a member sends of some records; answers whether it was heard."""
        left = ids
        while left:
            reply = await self._ask(node, FetchConflicts(left))
            if not isinstance(reply, ConflictsFetched):
                return False
            before = len(left)
            for name, packed in reply.records:
                if name in keys and (record := _sound(keys[name], name, packed)) is not None:
                    lost[name] = record
            left = [name for name in left if name not in lost]
            if len(left) == before:
                return True
        return True

    # Answering

    def _on_list(self, arrival: Arrival, message: ListConflicts, respond: Respond) -> None:
        store = self._cluster.store
        heads: list[Head] = []
        looked, room, upto, last = 0, self.answer_bytes, b"", b""
        for name, conflict in store.conflicts.newest(message.after):
            if len(heads) >= message.limit or looked >= MOST_LOOKED_AT or room < 0:
                upto = last
                break
            looked, last = looked + 1, name
            if message.table in ("", conflict.key[0]):
                _, brief = brief_of(conflict.lost)
                held = store.held(conflict.key)
                holder = held.owner if held is not None else None
                heads.append(Head(name, conflict.key, brief.owner, conflict.won, holder, len(conflict.lost)))
                room -= len(conflict.key[0]) + len(conflict.key[1]) + len(brief.owner) + HEAD_BYTES
        respond(ConflictsAre(heads, store.conflicts.settled(message.after, upto), upto))

    def _on_fetch(self, arrival: Arrival, message: FetchConflicts, respond: Respond) -> None:
        found: list[tuple[ConflictId, Packed]] = []
        room = self._cluster.answer_bytes
        for name in message.conflicts:
            conflict = self._cluster.store.conflicts.get(name)
            if conflict is None:
                continue
            room -= len(conflict.lost)
            if found and room < 0:
                break
            found.append((name, conflict.lost))
        respond(ConflictsFetched(found))

    def _on_settle(self, arrival: Arrival, message: SettleConflicts, respond: Respond) -> None:
        store = self._cluster.store
        for partition, name in message.conflicts:
            store.conflicts.settle(partition, name)
        store.wal.when_durable(store.wal.lsn, lambda: respond(Done()))


def _told(reply: Reply, asked: ListConflicts) -> Told | None:
    """What a member has answered, if it can be an answer."""
    if not isinstance(reply, ConflictsAre) or len(reply.heads) > asked.limit:
        return None
    told = Told(reply.heads, reply.settled, reply.upto)
    return told if told.is_sound(asked.after) and not any(key_flaw(head.key) for head in reply.heads) else None


def _only(told: Told, conflict: ConflictId) -> Told:
    """What is told of one conflict."""
    heads = [head for head in told.heads if head.id == conflict]
    return Told(heads, [name for name in told.settled if name == conflict], b"")


def _by_node(tries: dict[ConflictId, list[bytes]], lost: Mapping[ConflictId, Record]) -> dict[bytes, list[ConflictId]]:
    """Whom to ask next for what is still wanted."""
    wanted: dict[bytes, list[ConflictId]] = {}
    for name, nodes in tries.items():
        if name not in lost and nodes:
            wanted.setdefault(nodes.pop(), []).append(name)
    return wanted


def _sound(key: Key, name: ConflictId, packed: Packed) -> Record | None:
    """A record that a member sends for one that has lost, if it can be that one."""
    try:
        record = unpack(packed)
        if not record_flaw(key, record) and id_of(key, packed) == name:
            return record
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    sometimes("a member sends something else than the record that has lost")
    return None
