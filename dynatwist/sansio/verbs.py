"""A cluster, as a program uses it: users, records, watches and locks, with failover between the nodes.

The client repeats on another node what it may repeat: reads, logins, whatever certainly was not carried out, and writes
of records. Each write has a name (`dynatwist.sansio.naming`), by which the nodes know it again: it is made once, though
its answer was lost, or a node calls it ``uncertain``, and it is sent again. Somebody else may have written meanwhile;
the record that is answered says so then (`Record.superseded`), and theirs stays.

`Unavailable` with code ``uncertain`` is left for a write of whose tries one may have been carried out, and of which no
node could tell; for one that was given an empty name; and for `call` and `ask`, whose requests have none. Whoever gets
this error reads the record, and knows then.

A record remembers the names of its last 32 writes. Where others have made more between two tries of one write (a node
froze for five seconds, and the key is one that everybody changes) it counts as not made.
"""

from __future__ import annotations

from typing import Any

from .lock import USUAL_TTL_S, Lock
from .mirror import Mirror
from .presence import Presence
from .requests import Requests
from .watch import Watch, Where


class Verbs(Requests):
    """A cluster, as one user: requests, and what goes on beside a program. Faces make it by their `connect`."""

    def watch(
        self,
        table: str,
        key: str | None = None,
        prefix: str | None = None,
        from_cursor: str | None = None,
        *,
        initial: bool = False,
    ) -> Watch:
        """Changes of a key, a prefix or a whole table, as they happen; resumed after a lost connection.

        :param from_cursor: of a change: go on behind it.
        :param initial: begin with what there is; see `Change.type`.
        """
        return self._watch(Where(table, key, prefix, from_cursor, initial))

    def mirror(self, table: str, prefix: str = "") -> Mirror:
        """What this user may read of a table, kept current: ``async with kv.mirror("presence") as present``."""
        return Mirror(self._world, self._watch(Where(table, None, prefix, initial=True)))

    def _watch(self, where: Where) -> Watch:
        return Watch(self._world, self._session, self._nodes.urls, where)

    def presence(self, table: str, key: str, value: Any, *, ttl: int | None = None) -> Presence:
        """A record that is there as long as this program: ``async with kv.presence("present", "ann", {...}) as here``.

        :param ttl: seconds for which the program, its node or the network may be gone before the record ends; 15 when
            not given.
        """
        return Presence(
            world=self._world,
            session=self._session,
            urls=self._nodes.urls,
            table=table,
            key=key,
            value=value,
            ttl=ttl,
        )

    def lock(
        self, table: str, key: str, *, ttl_s: int = USUAL_TTL_S, wait_s: float | None = None, note: Any = None
    ) -> Lock:
        """A lock on a key of a strong table, for ``async with``: taken, renewed, and released.

        :param ttl_s: if this process dies, others wait so long at most.
        :param wait_s: how long to wait for it; for ever when not given.
        :param note: shown to those who find it held.
        """
        return Lock(
            world=self._world, session=self._session, table=table, key=key, ttl_s=ttl_s, wait_s=wait_s, note=note
        )
