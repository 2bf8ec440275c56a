"""Records that end by themselves, read around their ends, with majorities, at one node after the other.

Some live for a second or two, some for an hour or a day: only a clock that is wrong ends these.
"""

from __future__ import annotations

from dynatwist.replication.request import Kind

from .clients import Clients
from .cluster import SimCluster
from .recurring import Recurring

LEASE_TABLE = "leases"
LEASE_KEYS = 4
LIVES_S = (1, 2, 4, 3600, 86_400)
READS = 8
"""So many times each record is looked at, in the second before its end and the two after."""


class Leases:
    """Clients that write such records and watch them end.

    :param rate_s: how many a second.
    """

    def __init__(self, cluster: SimCluster, clients: Clients, rate_s: float) -> None:
        self._cluster = cluster
        self._clients = clients
        self._writing = Recurring(cluster.world, rate_s, self._write)

    def start(self) -> None:
        """Begin to write."""
        self._writing.start()

    def stop(self) -> None:
        """No more requests."""
        self._writing.stop()

    def _write(self) -> None:
        world = self._cluster.world
        random = world.random
        nodes = self._cluster.ready_nodes()
        if not nodes:
            return
        key = (LEASE_TABLE, f"l{random.randrange(LEASE_KEYS)}")
        life_s = random.choice(LIVES_S)
        kind = random.choices((Kind.PUT, Kind.DELETE, Kind.PATCH), (8, 1, 1))[0]
        self._clients.ask(random.choice(nodes), "lease", kind, key, "majority", ttl_s=life_s if kind is Kind.PUT else 0)
        end_s = life_s if life_s < 60 else random.uniform(0, 4)
        for _ in range(READS):
            world.later(end_s + random.uniform(-1, 2), lambda: self._look(key))

    def _look(self, key: tuple[str, str]) -> None:
        """Read at one node, and at once, when it has answered, at another one."""
        random = self._cluster.world.random

        def again() -> None:
            nodes = self._cluster.ready_nodes()
            if nodes and self._writing.is_running:
                self._clients.ask(random.choice(nodes), "lease", Kind.GET, key, "majority")

        nodes = self._cluster.ready_nodes()
        if nodes and self._writing.is_running:
            self._clients.ask(random.choice(nodes), "lease", Kind.GET, key, "majority", then=lambda call: again())
