"""The registry: who is a member for good, and the one change that may be under way.

Dying does not change it; joining, leaving and being forgotten do. Versions are agreed on one by one (see
`dynatwist.replication.paxos`), so there is one registry of each version. While a change runs, `previous` holds the
members before it, and every majority is needed twice: of the old owners and of the new.

Once all members have said in which zones they run, the owners of a partition go by zones, for good: that is a change
too, of the same members. Releases that know no zones can be no members from then on, see `dynatwist.cluster.greeting`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache

import msgspec

from .dots import NODE_ID_BYTES
from .ring import Zones, preference_list

MAX_STRUCK_OUT = 1024
"""Ids in a registry that were struck out: ten kilobytes in each greeting. Who strikes out more rotates the secret."""
MAX_MEMBERS = 1024
"""Every node has a link to every other one, and each greeting names all of them."""
_HOST = re.compile(r"[0-9A-Za-z_.:%-]+")
MAX_HOST_CHARS = 253
"""As long as a host name can be."""
MAX_ZONE_CHARS = 64
"""People read it, and each greeting names all members'."""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """Where a registered node was last known to be.

    :ivar node_id: eight bytes, stable for the life of its data folder.
    :ivar host: address that its peers use.
    :ivar port: HTTP on TCP, gossip on UDP.
    :ivar peer_port: node-to-node TCP.
    :ivar zone: where it runs, as its operator says; empty if nothing was said.
    """

    node_id: bytes
    host: str
    port: int
    peer_port: int
    zone: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether this can be a node: what a peer says of itself may be anything."""
        ports = 1 <= self.port <= 65535 and 1 <= self.peer_port <= 65535
        is_label = len(self.zone) <= MAX_ZONE_CHARS and self.zone.isprintable()
        return len(self.node_id) == NODE_ID_BYTES and ports and is_host(self.host) and is_label

    @property
    def address(self) -> str:
        """``HOST:PORT``, the name that people see."""
        return f"{self.host}:{self.port}"


class Registry(msgspec.Struct, frozen=True, array_like=True):
    """One version of the registry.

    :ivar cluster_id: sixteen random bytes, drawn when the cluster was founded.
    :ivar replicas: N, fixed at founding.
    :ivar members: the registered nodes.
    :ivar previous: the members before the change under way; empty when none is.
    :ivar struck_out: ids that are never members again, the last one at the end; earlier releases leave them out.
    :ivar zoned: whether the members own partitions by their zones.
    :ivar previously_zoned: whether those before the change under way did.
    """

    cluster_id: bytes
    version: int
    replicas: int
    members: tuple[Member, ...]
    previous: tuple[Member, ...] = ()
    struck_out: tuple[bytes, ...] = ()
    zoned: bool = False
    previously_zoned: bool = False

    @property
    def changing(self) -> bool:
        """Whether a change is under way."""
        return bool(self.previous)

    @property
    def ids(self) -> frozenset[bytes]:
        """The node ids of the members."""
        return frozenset(member.node_id for member in self.members)

    @property
    def previous_ids(self) -> frozenset[bytes]:
        """The node ids before the change under way; empty when none is."""
        return frozenset(member.node_id for member in self.previous)

    def find(self, node_id: bytes) -> Member | None:
        """The entry of a node, also of one that is on its way out."""
        return next((member for member in (*self.members, *self.previous) if member.node_id == node_id), None)

    def owners(self, partition: int) -> tuple[bytes, ...]:
        """The owners of a partition by the present members, best first."""
        return preference_list(partition, self.ids, self.replicas, _zones(self.members, self.zoned))

    def old_owners(self, partition: int) -> tuple[bytes, ...]:
        """The owners before the change under way; empty when none is."""
        zones = _zones(self.previous, self.previously_zoned)
        return preference_list(partition, self.previous_ids, self.replicas, zones) if self.previous else ()

    def all_owners(self, partition: int) -> tuple[bytes, ...]:
        """Old owners first (they are whole), then the joining ones."""
        old = self.old_owners(partition)
        return (*old, *(owner for owner in self.owners(partition) if owner not in old))

    def groups(self, partition: int) -> tuple[tuple[bytes, ...], ...]:
        """The sets of owners of each of which a majority is needed: one, or two during a change."""
        old = self.old_owners(partition)
        return (old, self.owners(partition)) if old else (self.owners(partition),)

    def with_members(self, members: Iterable[Member], *, know_zones: bool = True) -> Registry:
        """The version with these members: it begins a change, unless no data have to move for it.

        Zones count from now on if all these members have some, and nobody leaves: who leaves takes part in the change,
        and may be of a release that knows no zones.

        :param know_zones: whether all are known to run a release that goes by zones.
        """
        ordered = tuple(sorted(members, key=lambda member: member.node_id))
        stay = self.ids <= {one.node_id for one in ordered}
        zoned = self.zoned or (know_zones and stay and all(one.zone for one in ordered))
        after = msgspec.structs.replace(self, version=self.version + 1, members=ordered, zoned=zoned)
        if after.ids == self.ids and _zones(ordered, after.zoned) == _zones(self.members, self.zoned):
            return after  # only addresses changed, or zones that do not count yet
        return msgspec.structs.replace(after, previous=self.members, previously_zoned=self.zoned)

    def without(self, nodes: set[bytes]) -> Registry:
        """The version that takes members out of the change under way; a joiner among them is struck out at once."""
        kept = tuple(member for member in self.members if member.node_id not in nodes)
        gone = (nodes & self.ids) - self.previous_ids
        return msgspec.structs.replace(self, version=self.version + 1, members=kept, struck_out=self._struck(gone))

    def settled(self) -> Registry:
        """The version that ends the change under way."""
        struck_out = self._struck(self.previous_ids - self.ids)
        return msgspec.structs.replace(
            self, version=self.version + 1, previous=(), struck_out=struck_out, previously_zoned=False
        )

    def _struck(self, nodes: Iterable[bytes]) -> tuple[bytes, ...]:
        known = dict.fromkeys((*self.struck_out, *sorted(nodes)))
        return tuple(known)[-MAX_STRUCK_OUT:]


def _zones(members: tuple[Member, ...], count: bool) -> Zones:
    """Where some members run; empty where that does not count."""
    return frozenset((member.node_id, member.zone) for member in members) if count else frozenset()


encode_registry = msgspec.msgpack.Encoder().encode
decode_registry = msgspec.msgpack.Decoder(Registry).decode
"""As registries are voted on, and kept in logs."""


def is_host(text: str) -> bool:
    """Whether a text can be a host name or an address."""
    return len(text) <= MAX_HOST_CHARS and _HOST.fullmatch(text) is not None


def majority(count: int) -> int:
    """How many of `count` are a majority."""
    return count // 2 + 1


def is_majority_of_each(those: set[bytes] | frozenset[bytes], groups: Iterable[Collection[bytes]]) -> bool:
    """Whether some nodes are a majority of each of some groups; of no groups they are.

    :param groups: see `Registry.groups`.
    """
    for group in groups:  # noqa: SIM110 - half as long as all(), and called for each vote
        if len(those.intersection(group)) < majority(len(group)):
            return False
    return True


@lru_cache(maxsize=1024)
def owners_of(groups: tuple[tuple[bytes, ...], ...]) -> tuple[bytes, ...]:
    """The members of some sets of owners, in order."""
    return tuple(sorted(frozenset().union(*groups)))
