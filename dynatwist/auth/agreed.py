"""Users as registers: read and changed by agreement of a majority of the members, one name at a time."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dynatwist.agreement import awaited
from dynatwist.agreement.registers import Registers
from dynatwist.cluster.cluster import Cluster
from dynatwist.errors import ApiError
from dynatwist.model.record import Draft, Key, Record
from dynatwist.model.ring import SYSTEM_PARTITION
from dynatwist.sometimes import sometimes

from .user import ADMIN_UID, USERS_TABLE, User, user_of

AGREE_TIMEOUT_S = 3.0
"""A client waits for its registration so long at most: some ballots, while a round trip takes a hundredth."""
READ_TIMEOUT_S = 1.0
"""For looking up who logs in; then what this node can find out without a majority counts."""

HasRoom = Callable[[Key, bytes], bool]
"""Whether memory has room for a value."""


class AgreedUsers:
    """See the module.

    :param has_room: asked before a user is made.
    """

    def __init__(self, cluster: Cluster, registers: Registers, has_room: HasRoom) -> None:
        self._cluster = cluster
        self._registers = registers
        self._has_room = has_room

    def can_be_reached(self) -> bool:
        """Whether a majority of the members can be asked, all of them of a release that knows registers."""
        return self._registers.can_be_reached(SYSTEM_PARTITION) and not self._is_mixed()

    def require_majority(self) -> None:
        """503 when it cannot."""
        if self._is_mixed():
            sometimes("users are not changed while members of an older release are there")
            raise ApiError(503, "upgrading", "a member runs an older release: users are changed once all are upgraded")
        if not self._registers.can_be_reached(SYSTEM_PARTITION):
            raise ApiError(503, "no_majority", "this needs a majority of the members, which is not reachable")

    def _is_mixed(self) -> bool:
        return any(map(self._cluster.peers.lacks_registers, self._cluster.ownership.members))

    async def read(self, name: str) -> tuple[User | None, bool]:
        """The user of a name; and whether that is known: a majority may have been too slow to tell."""
        ended = await awaited.read(self._registers, (USERS_TABLE, name), READ_TIMEOUT_S)
        return user_of(ended.record), ended.chosen is not None

    async def change(self, name: str, change: Callable[[User | None], User | None]) -> User | None:
        """Make something of the user of a name; what it answers for a user as he is, is not written.

        :param change: the user that is to be; ``None`` for none, and then nothing is changed.
        :returns: the user that is agreed on afterwards.
        :raises ApiError: 503 when that is not known, 507 when memory is full.
        """
        is_full = False

        def draft(held: Record | None) -> Draft | None:
            nonlocal is_full
            before = user_of(held)
            after = change(before)
            is_full = False
            if after is None or after == before:
                return None
            value = msgspec.json.encode(after)
            is_full = not self._has_room((USERS_TABLE, name), value)
            return None if is_full else Draft(value, ADMIN_UID)

        record = await self._rewrite(name, draft)
        if is_full:
            raise ApiError(507, "memory_full", "this node's memory limit is reached; delete something first")
        return user_of(record)

    async def remove(self, name: str) -> bool:
        """Have a name be nobody's; answers whether it was somebody's.

        :raises ApiError: 503 when nobody knows whether it is.
        """
        was_there = False

        def draft(held: Record | None) -> Draft | None:
            nonlocal was_there
            was_there = was_there or user_of(held) is not None
            return Draft(None, ADMIN_UID) if user_of(held) is not None else None

        await self._rewrite(name, draft)
        return was_there

    async def _rewrite(self, name: str, draft: Callable[[Record | None], Draft | None]) -> Record | None:
        """What is agreed on after a change."""
        self.require_majority()
        ended, mine = await awaited.rewrite(self._registers, (USERS_TABLE, name), draft, AGREE_TIMEOUT_S)
        if ended.chosen is not None:
            return mine or ended.record
        if ended.in_doubt:
            raise ApiError(503, "uncertain", "the members did not agree in time; it may still take effect")
        raise ApiError(503, "no_majority", "the members did not agree in time; try again")
