"""What has changed since a backup, for an increment on it: what is held and its clock does not cover, of majorities."""

from __future__ import annotations

from dataclasses import dataclass

from dynatwist.backups.entries import Entry, gone
from dynatwist.cluster.cluster import Cluster
from dynatwist.feed.heard import Heard
from dynatwist.model.record import Record
from dynatwist.replication.quorum import Level

from .missing import Missing, Stretch

STRETCHES = 16
"""Of 256 keys, looked through for one page, where little of them has changed: some milliseconds each, one a turn."""


class UnknownClock(Exception):
    """What is said to be the clock of a backup is none of this cluster."""


class DeletesForgotten(Exception):
    """Something may have been deleted since of which no member knows any more: only a full backup tells."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Some changes of a table, in order of keys.

    :ivar records: what was written.
    :ivar gone: keys that were deleted, have ended by themselves, or end with a connection by now.
    :ivar next_after: behind which key there are more; ``None`` when these are the last.
    """

    records: list[tuple[str, Record]]
    gone: list[str]
    next_after: str | None

    def entries(self, table: str) -> list[Entry]:
        """The changes, as a backup holds them."""
        written = [entry_of(table, key, record) for key, record in self.records]
        return sorted([*written, *(gone(table, key) for key in self.gone)], key=lambda entry: entry.key)


def entry_of(table: str, key: str, record: Record) -> Entry:
    """A live record, as a backup holds it."""
    value, at_ms = record.value or b"", record.stamp.ms
    return Entry(table, key, value, record.owner, record.expires_ms, record.version, at_ms)


async def page_of_changes(cluster: Cluster, missing: Missing, wanted: Stretch, since: Heard) -> Changes:
    """Some of what has changed.

    :param since: what the backup is sure to hold.
    :raises ListingUnavailable: some partition has no majority of owners that answers.
    :raises DeletesForgotten: see there.
    """
    for _ in range(STRETCHES):
        news = await missing.page(wanted, since, Level.MAJORITY)
        if not news.is_all:
            raise DeletesForgotten
        if news.records or news.next_after is None:
            break
        wanted = Stretch(wanted.table, wanted.prefix, after=news.next_after)
    over_ms = cluster.store.lapse_ms
    changes = Changes([], [], news.next_after)
    for (_, name), record in news.records:
        if record.is_dead(over_ms) or record.lease is not None:
            changes.gone.append(name)
        else:
            changes.records.append((name, record))
    return changes
