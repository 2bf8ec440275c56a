"""Rows written to a cluster, some hundred at a time, and each of them once."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import msgspec

from dynatwist.importing.rows import Item, Refused, Row, shown

from .sources import now_ms
from .tally import Tally

if TYPE_CHECKING:
    from dynatwist.sync import Client

BATCH = 500
"""Rows that are written together: some ten milliseconds of work for a node, which takes no more than a thousand."""
BATCH_BYTES = 1 << 20
"""And so many bytes of them, about: a node takes a body of four values, and these are 4 MiB unless configured."""
PATIENCE_S = 60.0
"""How long rows are sent again that a node has no room or no peers for: a member that died is known to be dead, and
one that starts is there, long before."""
PAUSE_S = 0.5
"""Between two tries; the client has tried other nodes by itself before."""
LATER = (0, 429, 503)
"""Outcomes that may be others a moment later; 0 where no node answers."""
FULL = 507
"""The outcome of a row for which there is no room; there is none for further ones either."""
FOR_ALL = (400, 403, 413)
"""Refusals of a whole batch that hold for each of its rows: there can be no such table, or it is the system's."""
LEFT = 412
"""The outcome of a row whose key is there, where only absent ones are written."""
LONGEST_TTL_S = 10 * 365 * 24 * 3600
"""What nodes take as a time to live; what lives longer gets this."""


class Writer:
    """See the module.

    :param client: ``None`` to look at rows, and write nothing.
    :param table: where all go; empty for where each says.
    :param only_absent: leave keys as they are that are there.
    """

    def __init__(self, client: Client | None, tally: Tally, *, table: str, only_absent: bool) -> None:
        self._client = client
        self._tally = tally
        self._table = table
        self._only_absent = only_absent
        self._rows: dict[str, Row] = {}
        self._rows_table = ""
        self._rows_bytes = 0

    def take(self, item: Item) -> None:
        """One more; written together with others, perhaps later.

        :raises KvError: see `flush`.
        """
        if isinstance(item, Refused):
            self._tally.refuse(item.name, item.why)
            return
        table = self._table or item.table
        if not table:
            self._tally.refuse(shown(item.key), "the line has no table; say --table TABLE")
            return
        is_full = len(self._rows) >= BATCH or self._rows_bytes >= BATCH_BYTES
        if is_full or table != self._rows_table or item.key in self._rows:
            self.flush()
        self._rows_table = table
        self._rows[item.key] = item
        self._rows_bytes += len(item.key) + len(item.value)

    def flush(self) -> None:
        """Write what waits.

        :raises KvError: no node takes the rows, in all of the time that there is for it.
        """
        rows, self._rows, self._rows_bytes = list(self._rows.values()), {}, 0
        time_ms = now_ms()
        alive = [row for row in rows if row.ends_ms is None or row.ends_ms > time_ms]
        self._tally.ends(len(rows) - len(alive))
        if self._client is None:
            self._tally.writes(len(alive))
        elif alive:
            name = secrets.token_urlsafe(9)
            self._write(self._client, [(row, self._op(row, f"{name}.{n}", time_ms)) for n, row in enumerate(alive)])

    def _op(self, row: Row, name: str, time_ms: int) -> dict[str, Any]:
        op: dict[str, Any] = {"op": "put", "key": row.key, "value": msgspec.Raw(row.value), "idempotency_key": name}
        if row.ends_ms is not None:
            op["ttl"] = min(-((time_ms - row.ends_ms) // 1000), LONGEST_TTL_S)
        if self._only_absent:
            op["if_none_match"] = True
        return op

    def _write(self, client: Client, ops: list[tuple[Row, dict[str, Any]]]) -> None:
        """Send rows until each has an outcome. Every write has a name, so what was made is not made again."""
        from dynatwist.sync import KvError, Unavailable

        until_s = time.monotonic() + (PATIENCE_S if self._tally.has_begun else 0)
        while ops:
            again = []
            for (row, op), outcome in zip(ops, self._sent(client, [op for _, op in ops]), strict=True):
                if outcome["status"] in LATER or outcome["status"] == FULL:
                    again.append((row, op))
                    last = outcome
                else:
                    self._count(row, outcome)
            ops = again
            if ops:
                if last["status"] == FULL or time.monotonic() > until_s:
                    kind = KvError if last["status"] == FULL else Unavailable
                    raise kind(last["status"], last.get("code", "unavailable"), last["error"])
                time.sleep(PAUSE_S)

    def _sent(self, client: Client, ops: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The outcomes; a batch that is refused for its size, or for one of them, goes in halves."""
        from dynatwist.sync import KvError

        try:
            return client.batch(self._rows_table, ops)
        except KvError as error:
            if (error.status == 413 or error.code == "malformed_json") and len(ops) > 1:
                half = len(ops) // 2
                return self._sent(client, ops[:half]) + self._sent(client, ops[half:])
            if error.status in (*LATER, FULL, *FOR_ALL):
                return [{"status": error.status, "code": error.code, "error": str(error)}] * len(ops)
            raise

    def _count(self, row: Row, outcome: dict[str, Any]) -> None:
        status = outcome["status"]
        if status < 400:
            self._tally.writes(1)
        elif status == LEFT and self._only_absent:
            self._tally.leaves(1)
        else:
            self._tally.refuse(shown(row.key), str(outcome.get("error", status)))
