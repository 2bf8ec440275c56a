"""Users of the simulated cluster: two whose requests all are, and new ones, who register at several nodes at once."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from dynatwist.auth.user import USERS_TABLE, User
from dynatwist.errors import ApiError
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Kind, Operation
from dynatwist.requests.tables import TABLES_TABLE

from .agreed import SETTINGS
from .clients import Clients
from .cluster import SimCluster, SimNode
from .history import AGREED_TABLE, History
from .keys import OWNERS
from .recurring import Recurring


class Users:
    """See the module.

    :param rate: new users in ten seconds.
    """

    def __init__(self, cluster: SimCluster, clients: Clients, history: History, rate: float) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._clients = clients
        self._history = history
        self._registering = Recurring(cluster.world, rate / 10, self._register_next)
        self._names = 0

    def enroll(self) -> None:
        """Have the users known that all requests come from; their uids are their names."""
        node = self._cluster.ready_nodes()[0]
        assert node.core is not None
        assert node.process is not None
        for name in OWNERS:
            value = msgspec.json.encode(User(name, ""))
            key = USERS_TABLE, name
            operation = Operation(Kind.PUT, key, Level.ALL, value, any_owner=True)
            node.process.run(node.core.coordinator.submit, operation, lambda result: None)
        strong = Operation(Kind.PUT, (TABLES_TABLE, AGREED_TABLE), Level.ALL, SETTINGS, any_owner=True)
        node.process.run(node.core.coordinator.submit, strong, lambda result: None)

    def is_enrolled(self) -> bool:
        """Whether every node knows these users."""
        keys = [*((USERS_TABLE, name) for name in OWNERS), (TABLES_TABLE, AGREED_TABLE)]
        stores = [core.store for core in self._cluster.cores()]
        return all(store.held(key) and store.readable.is_all for store in stores for key in keys)

    def start(self) -> None:
        """Some begin to register."""
        self._registering.start_later()

    def stop(self) -> None:
        """No more do."""
        self._registering.stop()

    def _register_next(self) -> None:
        random = self._world.random
        self._names += random.random() < 0.7
        name = f"u{self._names}"
        nodes = self._cluster.ready_nodes()
        chosen = random.sample(nodes, min(len(nodes), random.choice((1, 2, 3))))
        if chosen and random.random() < 0.3:
            chosen.append(chosen[0])  # twice at one node at once
        for node in chosen:
            assert node.process is not None
            node.process.run(self._register, node, name)

    def _register(self, node: SimNode, name: str) -> None:
        core = node.core
        assert core is not None
        running = ensureDeferred(core.users.register_or_login(name, f"secret {name}", node.host))

        def done(result: tuple[bool, str]) -> None:
            new, _ = result
            self._world.say(f"register {name} at {node.host}: {'new' if new else 'known'}")
            if new:
                self._history.registered[name] = self._history.registered.get(name, 0) + 1

        def failed(failure: Failure) -> None:
            failure.trap(ApiError)
            assert isinstance(failure.value, ApiError)
            self._world.say(f"register {name} at {node.host}: {failure.value.code}")
            if failure.value.status == 401:
                self._clients.say(f"P1: user {name} is refused with the right secret: {failure.value}")

        running.addCallbacks(done, failed).addErrback(self._clients.broke)
