"""Listeners as users have them: SSE streams of one key, and websockets with several subscriptions, judged by the bytes
that they are sent.

They read at once, slowly, or not at all for a while; they leave, and come back later with the cursor that they were
told last. What is judged is P8, and that nobody hears of others' records (P9).
"""

from __future__ import annotations

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record

from .answers import Answers
from .clients import Clients
from .cluster import SimCluster, SimNode
from .connections import Connection, SocketConnection, StreamConnection
from .ended import Ended
from .hearing import Hearing
from .interests import Interest
from .keys import OWNERS, ROOT
from .witness import Witness

SLOW_S = 6.0
AWAY_S = 2.0
LEAVING = 0.15
"""Share of the listeners that leave whenever they are looked after."""


class Sockets:
    """See the module.

    :param count: how many clients there are.
    """

    def __init__(
        self,
        *,
        cluster: SimCluster,
        clients: Clients,
        answers: Answers,
        witness: Witness,
        count: int,
        tables: tuple[str, ...],
    ) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._clients = clients
        self._hearing = Hearing(cluster.world, answers, witness, Ended(cluster))
        self._count = count
        self._tables = tables
        self._connections: list[Connection] = []
        self._running = False

    def start(self) -> None:
        """Begin to listen."""
        self._running = True
        self._tend()

    def stop(self) -> None:
        """Listen on with what is open; who is away comes back."""
        self._running = False

    def _tend(self) -> None:
        """Replace clients whose node died; have some leave now and then."""
        if not self._running:
            return
        random = self._world.random
        self._world.later(random.uniform(0.2, 1.0), self._tend)
        self._connections = [one for one in self._connections if one.process.alive and not one.is_refused]
        nodes = self._cluster.ready_nodes()
        missing = self._count - sum(not one.is_refused for one in self._connections)
        for _ in range(missing if nodes else 0):  # some are refused at once, and come another time
            self._arrive(random.choice(nodes))
        for one in self._connections:
            if one.is_open and random.random() < LEAVING:
                one.process.run(one.leave)
                self._world.later(random.choice((0.0, random.uniform(0, AWAY_S))), one.come_back)

    def _arrive(self, node: SimNode) -> None:
        random = self._world.random
        who = random.choice((*OWNERS, ROOT, ROOT))
        count = random.choice((0, 1, 3))
        interests = [self._draw(who, node.host, is_key=not count) for _ in range(count or 1)]
        kind = SocketConnection if count else StreamConnection
        connection = kind(
            node=node,
            who=who,
            interests=interests,
            delay_s=random.choice((0.0, 0.0, 0.0, 0.3, SLOW_S)),
            clients=self._clients,
            hearing=self._hearing,
        )
        self._connections.append(connection)
        connection.process.run(connection.open)

    def _draw(self, who: str, host: str, is_key: bool) -> Interest:
        random = self._world.random
        table = random.choice(self._tables)
        key = random.choice(self._clients.keys.of(table)) if is_key or random.random() < 0.3 else None
        prefix = "" if key is not None or random.random() < 0.5 else random.choice(("k", "k1", "s", "k0"))
        return Interest(who, host, table, key, prefix, self._world.now_s)

    def judge(self, final: dict[Key, Record], born_s: dict[tuple[Key, Dot], float]) -> None:
        """After everything has come to rest: has everybody heard the last of each key?

        :param final: what the owners hold.
        :param born_s: when each record was written, by (key, dot).
        """
        for one in self._connections:
            if one.process.alive and one.is_open and not one.is_refused:
                one.drain()
                for interest in one.interests:
                    self._hearing.judge(interest, final, born_s)
