"""Small tables of the system whose records are agreed on by a majority of the members, one name at a time: users,
groups, service tokens."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

import msgspec

from dynatwist.agreement import awaited
from dynatwist.agreement.registers import Registers
from dynatwist.cluster.cluster import Cluster
from dynatwist.errors import ApiError
from dynatwist.model.record import Draft, Record
from dynatwist.model.records import Packed
from dynatwist.model.ring import SYSTEM_PARTITION
from dynatwist.requests.coordinator import Coordinator
from dynatwist.sometimes import sometimes

from .user import ADMIN_UID

AGREE_TIMEOUT_S = 3.0
"""A client waits for its registration so long at most: some ballots, while a round trip takes a hundredth."""
READ_TIMEOUT_S = 1.0
"""For looking up who logs in; then what this node can find out without a majority counts."""

T = TypeVar("T", bound=msgspec.Struct)


class Agreed(Generic[T]):
    """See the module.

    :param table: its name.
    :param value_of: what a record of it is; ``None`` for none, or a deleted one.
    """

    def __init__(
        self,
        cluster: Cluster,
        registers: Registers,
        coordinator: Coordinator,
        *,
        table: str,
        value_of: Callable[[Record | None], T | None],
    ) -> None:
        self._cluster = cluster
        self._registers = registers
        self._coordinator = coordinator
        self._table = table
        self._value_of = value_of

    def held(self, name: str) -> T | None:
        """What a name stands for, as known here."""
        return self._value_of(self._cluster.store.held((self._table, name)))

    def kept(self, name: str) -> Packed | None:
        """The same as it is kept: another object when it has changed."""
        return self._cluster.store.replicas[SYSTEM_PARTITION].records.packed((self._table, name))

    def page(self, after: str, limit: int) -> list[tuple[str, T]]:
        """Some names in order with what they stand for, as known here.

        :param after: only names behind this one.
        :param limit: how many at most.
        """
        names = self._cluster.store.keys(self._table, after=after)
        there = ((name, value) for name in names if (value := self.held(name)) is not None)
        return list(islice(there, limit))

    def can_be_reached(self) -> bool:
        """Whether a majority of the members can be asked, all of them of a release that knows registers."""
        return self._registers.can_be_reached(SYSTEM_PARTITION) and not self._is_mixed()

    def require_majority(self) -> None:
        """503 when it cannot."""
        if self._is_mixed():
            sometimes("users are not changed while members of an older release are there")
            raise ApiError(503, "upgrading", "a member runs an older release: this is changed once all are upgraded")
        if not self._registers.can_be_reached(SYSTEM_PARTITION):
            raise ApiError(503, "no_majority", "this needs a majority of the members, which is not reachable")

    def _is_mixed(self) -> bool:
        return any(map(self._cluster.peers.lacks_registers, self._cluster.ownership.members))

    async def read(self, name: str) -> tuple[T | None, bool]:
        """What a name stands for; and whether that is known: a majority may have been too slow to tell."""
        ended = await awaited.read(self._registers, (self._table, name), READ_TIMEOUT_S)
        return self._value_of(ended.record), ended.chosen is not None

    async def change(self, name: str, change: Callable[[T | None], T | None]) -> T | None:
        """Make something of what a name stands for; what `change` answers for something as it is, is not written.

        :param change: what is to be; ``None`` for nothing, and then nothing is changed.
        :returns: what is agreed on afterwards.
        :raises ApiError: 503 when that is not known, 507 when memory is full.
        """
        is_full = False

        def draft(held: Record | None) -> Draft | None:
            nonlocal is_full
            before = self._value_of(held)
            after = change(before)
            is_full = False
            if after is None or after == before:
                return None
            value = msgspec.json.encode(after)
            is_full = not self._coordinator.deciding.has_room((self._table, name), value)
            return None if is_full else Draft(value, ADMIN_UID)

        record = await self._rewrite(name, draft)
        if is_full:
            raise ApiError(507, "memory_full", "this node's memory limit is reached; delete something first")
        return self._value_of(record)

    async def put_back(self, name: str, overwrite: Callable[[T | None], T | None]) -> bool:
        """Have a name stand for what was backed up; answers whether that was written now.

        :param overwrite: what it is to stand for, instead of what it does; ``None`` or the same to leave it.
        :raises ApiError: see `change`.
        """
        is_written = False

        def changed(before: T | None) -> T | None:
            nonlocal is_written
            after = overwrite(before)
            is_written = after is not None and after != before
            return after

        await self.change(name, changed)
        return is_written

    async def remove(self, name: str) -> bool:
        """Have a name stand for nothing; answers whether it stood for something.

        :raises ApiError: 503 when nobody knows whether it does.
        """
        was_there = False

        def draft(held: Record | None) -> Draft | None:
            nonlocal was_there
            was_there = was_there or self._value_of(held) is not None
            return Draft(None, ADMIN_UID) if self._value_of(held) is not None else None

        await self._rewrite(name, draft)
        return was_there

    async def _rewrite(self, name: str, draft: Callable[[Record | None], Draft | None]) -> Record | None:
        """What is agreed on after a change."""
        self.require_majority()
        ended, mine = await awaited.rewrite(self._registers, (self._table, name), draft, AGREE_TIMEOUT_S)
        if ended.chosen is not None:
            await self._coordinator.spread((self._table, name))  # whoever was answered may ask another node at once
            return mine or ended.record
        if ended.in_doubt:
            raise ApiError(503, "uncertain", "the members did not agree in time; it may still take effect")
        raise ApiError(503, "no_majority", "the members did not agree in time; try again")
