"""Groups of users, for rules of tables. The members of one of them, ``admins``, are administrators.

A group is agreed on among the members of the cluster, and known on every node. It names users. Whoever was registered
when the group was set is meant by uid, so that a later user of the same name does not get into it.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_

import msgspec

from dynatwist.errors import ApiError
from dynatwist.model.record import Record
from dynatwist.model.ring import SYSTEM_PARTITION
from dynatwist.storage.store import Store

from .agreed import Agreed
from .tokens import Identity

GROUPS_TABLE = "_groups"
ADMINS = "admins"
MAX_MEMBERS = 10_000
"""Of a group: half a megabyte of names; whoever needs more gives rights to ``*``."""
NO_GROUPS: frozenset[str] = frozenset()


class Group(msgspec.Struct, frozen=True):
    """What is kept of a group.

    :ivar members: names of users.
    :ivar bound: by name, the uid of whoever was registered then.
    """

    members: tuple[str, ...]
    bound: dict[str, str] = {}


_decode = msgspec.json.Decoder(Group).decode


def group_of(record: Record | None) -> Group | None:
    """The group that a record is; ``None`` for none, or a deleted one."""
    return _decode(record.value) if record is not None and record.value is not None else None


class Groups:
    """See the module. Who is in which groups is found out anew when a group has changed, not at each request."""

    def __init__(self, store: Store, agreed: Agreed[Group]) -> None:
        self._store = store
        self._agreed = agreed
        self._root = 0
        self._kept: list[object] = []
        self._by_name: dict[str, list[tuple[str, str]]] = {}
        self._of: dict[str, frozenset[str]] = {}

    def of(self, identity: Identity) -> frozenset[str]:
        """The groups that somebody is in; the same object as long as no group changes."""
        self._look()
        found = self._of.get(identity.uid)
        if found is None:
            there = self._by_name.get(identity.name, ())
            found = frozenset(group for group, uid in there if uid in ("", identity.uid)) if there else NO_GROUPS
            self._of[identity.uid] = found
        return found

    def _look(self) -> None:
        """Have a group changed? Mostly nothing of the system's has."""
        root = self._store.replicas[SYSTEM_PARTITION].digests.root
        if root == self._root:
            return
        self._root = root
        names = list(self._store.keys(GROUPS_TABLE))
        kept: list[object] = [self._agreed.kept(name) for name in names]
        if len(kept) == len(self._kept) and all(map(is_, kept, self._kept)):
            if len(self._of) > MAX_MEMBERS:
                self._of.clear()
            return
        self._kept = kept
        self._of.clear()
        self._by_name = {}
        for name in names:
            group = self._agreed.held(name)
            if group is not None:
                for member in group.members:
                    self._by_name.setdefault(member, []).append((name, group.bound.get(member, "")))

    async def read(self, name: str) -> Group:
        """A group, as it is agreed on.

        :raises ApiError: 404 when there is none, 503 when that is not known.
        """
        group, is_known = await self._agreed.read(name)
        if not is_known:
            raise ApiError(503, "no_majority", "groups are agreed on by a majority of the members; try again")
        if group is None:
            raise _no_group(name)
        return group

    async def set(self, name: str, members: Iterable[str], bound: dict[str, str]) -> Group:
        """Have a group be these.

        :param bound: see `Group`.
        :raises ApiError: 503 when it is not known whether it is.
        """
        wanted = Group(tuple(dict.fromkeys(members)), bound)
        group = await self._agreed.change(name, lambda before: wanted)
        assert group is not None
        return group

    def is_known(self, name: str) -> bool:
        """Whether there is a group of that name, as known here."""
        return self._agreed.held(name) is not None

    async def put_back(self, name: str, group: Group, *, overwrite: bool) -> bool:
        """Bring back a group that was backed up; answers whether it was written.

        :param overwrite: whether one that is there is written over.
        """
        return await self._agreed.put_back(name, lambda held: group if held is None or overwrite else held)

    async def delete(self, name: str) -> None:
        """Have it be no group.

        :raises ApiError: 404 when it was none.
        """
        if not await self._agreed.remove(name):
            raise _no_group(name)

    def page(self, after: str, limit: int) -> list[tuple[str, Group]]:
        """Some groups in order, as known here.

        :param after: only names behind this one.
        """
        return self._agreed.page(after, limit)


def _no_group(name: str) -> ApiError:
    return ApiError(404, "no_such_group", f"there is no group {name!r}")
