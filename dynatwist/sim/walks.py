"""Walks through a table by a node's listing, page by page: they may fail, but are in order, and have each key once."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from dynatwist.model.record import Record
from dynatwist.replication.quorum import Level
from dynatwist.requests.listing import Listing, ListingUnavailable

from .clients import LEVELS, Clients
from .cluster import SimNode
from .keys import TABLES


class Walk:
    """One walk, by names alone or by whole records.

    :param clients: hear what was wrong with it.
    """

    def __init__(self, node: SimNode, clients: Clients, random: Random) -> None:
        self._node = node
        self._clients = clients
        self._table, self._level = random.choice(TABLES), Level(random.choice(LEVELS))
        self._is_of_names, self._at_once = random.random() < 0.5, random.choice((2, 256))
        self._found: list[str] = []

    def start(self) -> None:
        """Begin to walk."""
        core, process = self._node.core, self._node.process
        assert core is not None
        assert process is not None
        process.run(lambda: ensureDeferred(self._walk(core.handlers.context.listing)).addBoth(self._over))

    async def _walk(self, listing: Listing) -> None:
        after: str | None = ""
        while after is not None:
            if self._is_of_names:
                names = await listing.names(self._table, "", after, self._level, self._at_once)
                self._found.extend(name for name, _ in names.names)
                after = names.next_after
            else:
                page = await listing.page(self._table, "", after, self._level, self._at_once)
                self._found.extend(name for name, _ in page.records)
                self._judge([record for _, record in page.records], listing.page_bytes)
                after = page.next_after

    def _judge(self, records: list[Record], page_bytes: int) -> None:
        if any(record.value is None for record in records):
            self._clients.say(f"P3: what is deleted in {self._table} is listed at {self._node.host}")
        sizes = [len(record.value or b"") for record in records]
        if sum(sizes[:-1]) > page_bytes:
            self._clients.say(f"P10: a page of {self._table} at {self._node.host} holds {sum(sizes)} bytes")

    def _over(self, result: object) -> None:
        if isinstance(result, Failure) and not result.check(ListingUnavailable):
            self._clients.broke(result)
        elif self._found != sorted(set(self._found)):
            self._clients.say(f"P6: {self._table} listed at {self._node.host}: {self._found}")
