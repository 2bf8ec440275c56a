"""Traffic: requests that come in a storm, single ones and bursts, some by sessions with majorities or causal tokens."""

from __future__ import annotations

from functools import partial

from dynatwist.model.record import Key
from dynatwist.replication.request import Kind

from .causal import Causal
from .clients import KINDS, LEVELS, Clients
from .cluster import SimCluster, SimNode
from .history import STRICT_TABLE, Call
from .keys import STRICT_KEYS
from .plan import Load
from .recurring import Recurring
from .walks import Walk

LISTINGS = 0.02
"""Share of plain requests that list a table."""
CONDITIONAL = 0.1
"""Share of plain requests that name an ETag."""
AGAIN = 0.3
"""Share of failed writes that are tried again."""


class Traffic:
    """See the module."""

    def __init__(self, cluster: SimCluster, clients: Clients, load: Load) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._clients = clients
        self._load = load
        self._causal = Causal(cluster.world, clients, load)
        self._asking = Recurring(cluster.world, load.rate_s, self._ask_something)

    def start(self) -> None:
        """Begin to ask."""
        self._asking.start()

    def stop(self) -> None:
        """No more requests."""
        self._asking.stop()

    def _ask_something(self) -> None:
        nodes = self._cluster.ready_nodes()
        if nodes:
            self._ask_any(nodes)

    def _ask_any(self, nodes: list[SimNode]) -> None:
        random, keys = self._world.random, self._clients.keys.all
        draw = random.random()
        if draw < self._load.strict:
            self._ask_strictly(random.choice(nodes), (STRICT_TABLE, random.choice(STRICT_KEYS)))
        elif draw < self._load.strict + self._load.causal:
            self._causal.ask(random.choice(nodes))
        elif random.random() < self._load.burst:
            key = random.choice(keys)
            for _ in range(random.randint(2, 4)):
                self._ask_plainly(random.choice(nodes), key)
        elif random.random() < LISTINGS:
            Walk(random.choice(nodes), self._clients, random).start()
        else:
            self._ask_plainly(random.choice(nodes), random.choice(keys))

    def _ask_strictly(self, node: SimNode, key: Key) -> None:
        """With ``majority``; a write is watched by others while it is under way."""
        random = self._world.random
        kind = random.choices(KINDS, (4, 1, 0, 2))[0]
        self._clients.ask(node, f"strict{random.randrange(4)}", kind, key, "majority")

        def watch() -> None:
            nodes = self._cluster.ready_nodes()
            if nodes and self._asking.is_running:
                self._clients.ask(random.choice(nodes), f"strict{random.randrange(4)}", Kind.GET, key, "majority")

        for _ in range(random.randint(0, 3) if kind is not Kind.GET else 0):
            self._world.later(random.expovariate(50.0), watch)

    def _ask_plainly(self, node: SimNode, key: Key) -> None:
        random, load = self._world.random, self._load
        choice = random.choices(range(6), load.weights)[0]
        kind = KINDS[choice] if choice < len(KINDS) else Kind.PUT
        level = random.choices(LEVELS, load.levels)[0]
        ttl_s = random.randint(1, 6) if choice == 4 else 0
        tags, tag = self._clients.tags_of(key), ""
        if choice < len(KINDS) and tags and random.random() < CONDITIONAL:
            tag = random.choice((*tags, *([] if kind is Kind.GET else ["*"])))
        self._clients.ask(
            node, "plain", kind, key, level, ttl_s=ttl_s, if_absent=choice == 5, then=self._maybe_again, tag=tag
        )

    def write_over(self, key: Key) -> None:
        """Others write a key while somebody waits for an answer about it."""
        random = self._world.random

        def write(kind: Kind) -> None:
            nodes = self._cluster.ready_nodes()
            if nodes and self._asking.is_running:
                self._clients.ask(random.choice(nodes), "over", kind, key, "quorum")

        for kind in (Kind.PUT, Kind.DELETE) if key in self._clients.keys.all else ():
            self._world.later(random.uniform(0.02, 0.5), partial(write, kind))

    def _maybe_again(self, call: Call) -> None:
        """What failed is tried again by some, at another node."""
        nodes = self._cluster.ready_nodes()
        has_failed = call.is_write and call.code in ("uncertain", "unavailable")
        if has_failed and nodes and self._asking.is_running and self._world.random.random() < AGAIN:
            self._clients.ask(self._world.random.choice(nodes), "again", call.kind, call.key, call.level)
