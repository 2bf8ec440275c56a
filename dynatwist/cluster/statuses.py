"""What each peer has said of itself, as long as it is linked: whether it serves clients, and what it does not hold."""

from __future__ import annotations

from dynatwist.net.messages import Status


class Statuses:
    """See the module. A peer that has said nothing is neither whole nor damaged."""

    def __init__(self) -> None:
        self._statuses: dict[bytes, Status] = {}

    def hear(self, node: bytes, status: Status) -> bool:
        """A peer says how it is.

        :returns: whether it says so for the first time on this connection.
        """
        is_first = node not in self._statuses
        self._statuses[node] = status
        return is_first

    def forget(self, node: bytes) -> None:
        """A peer leaves, or its connection has ended."""
        self._statuses.pop(node, None)

    def of(self, node: bytes) -> Status | None:
        """What a peer said last, if anything."""
        return self._statuses.get(node)

    def says_whole(self, node: bytes, partition: int) -> bool:
        """Whether a peer has said that it holds all of a partition."""
        status = self._statuses.get(node)
        return status is not None and partition not in status.not_whole

    def says_ready(self, node: bytes, partition: int) -> bool:
        """Whether a peer has said that it holds all of a partition and serves clients."""
        status = self._statuses.get(node)
        return status is not None and status.ready and partition not in status.not_whole

    def yields(self, node: bytes) -> int:
        """How far a peer has said that it yields; not at all where it has not said so."""
        status = self._statuses.get(node)
        return status.yields if status is not None else 0

    def lacks_registers(self, node: bytes) -> bool:
        """Whether a peer is known to be of a release that knows no registers."""
        status = self._statuses.get(node)
        return status is not None and not status.has_registers

    def lacks_grants(self, node: bytes) -> bool:
        """Whether a peer is known to be of a release that knows no rules of access."""
        status = self._statuses.get(node)
        return status is not None and not status.has_grants

    def has_bookmarks(self, node: bytes) -> bool:
        """Whether a peer has said that its release knows bookmarks."""
        status = self._statuses.get(node)
        return status is not None and status.has_bookmarks

    def has_conflicts(self, node: bytes) -> bool:
        """Whether a peer has said that it is of a release that keeps conflicts."""
        status = self._statuses.get(node)
        return status is not None and status.has_conflicts

    def lacks_leases(self, node: bytes) -> bool:
        """Whether a peer is known to be of a release that knows no leases."""
        status = self._statuses.get(node)
        return status is not None and not status.has_leases

    def has_table_lists(self, node: bytes) -> bool:
        """Whether a peer has said that its release tells which tables it holds."""
        status = self._statuses.get(node)
        return status is not None and status.has_table_lists

    def has_backups(self, node: bytes) -> bool:
        """Whether a peer has said that its release takes part in backups."""
        status = self._statuses.get(node)
        return status is not None and status.has_backups

    def has_insight(self, node: bytes) -> bool:
        """Whether a peer has said that its release tells how it is."""
        status = self._statuses.get(node)
        return status is not None and status.has_insight

    def says_damaged(self, node: bytes, partition: int) -> bool:
        """Whether a peer has said that it does not hold all of a partition."""
        status = self._statuses.get(node)
        return status is not None and partition in status.not_whole
