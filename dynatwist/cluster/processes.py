"""Which process of a node was heard of last, and when: by that, owners end the records that depend on it.

A process is heard of by any frame on its link, pings included, so at least twice a second. Where none comes for some
time, it is heard of as long as membership, which probes through others too, says that its node is well, and no later
process of the node was met; for that, this node has to hear of anybody: who is cut off knows nothing. What a process
had before the next one of its node is gone with it: only the time since it was heard of last is still to pass.

All times are of this process's monotonic clock. A process counts as heard of when this one starts, and when this one
wakes from a sleep: what it did not hear before is nobody's fault.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from dynatwist.membership.members import State
from dynatwist.model.dots import NODE_ID_BYTES, Actor, actor_of
from dynatwist.sometimes import sometimes

from .identity import DurableIdentity
from .peers import Peers

SLEPT_S = 3.0
"""Two looks that are so far apart tell that this process was stopped between: they are due every second."""
DOUBT_S = 5.0
"""So long no frame has come before others are asked: by then membership has found out about a node that is gone, and
nobody is taken for well because that is not known yet."""
CUT_OFF_S = 3.0
"""Who has not read a frame of any peer for so long is cut off: idle links carry two a second."""


class Processes:
    """See the module; `look` is to be called every second."""

    def __init__(self, identity: DurableIdentity, peers: Peers, monotonic_s: Callable[[], float]) -> None:
        self._identity = identity
        self._peers = peers
        self._monotonic_s = monotonic_s
        self._awake_since_s = self._looked_s = monotonic_s()
        self._heard_s: dict[Actor, float] = {}
        self._by_others: set[Actor] = set()

    @property
    def me(self) -> Actor:
        """This process."""
        return actor_of(self._identity.node_id, self._identity.epoch)

    def silent_s(self, actor: Actor) -> float:
        """For how long a process was not heard of."""
        if actor == self.me:
            return 0.0
        return self._monotonic_s() - max(self._awake_since_s, self._heard_s.get(actor, 0.0))

    def look(self, actors: Collection[Actor], news: Collection[Actor]) -> None:
        """Note who was heard of.

        :param news: those of which a record has come: it was put not long ago, perhaps, by somebody whom this node does
            not reach yet. To end it at once would have it put again, and ended again.
        :param actors: the processes that somebody will ask about; others are forgotten, unless they are linked.
        """
        now_s = self._monotonic_s()
        if now_s - self._looked_s > SLEPT_S:
            sometimes("a node that slept judges nobody by what it did not hear")
            self._awake_since_s = now_s
        self._looked_s = now_s
        linked = self._linked_s()
        heard_s = {actor: at_s for actor, at_s in self._heard_s.items() if actor in actors}
        for actor, at_s in linked.items():
            heard_s[actor] = max(at_s, heard_s.get(actor, 0.0))
        heard_s.update(dict.fromkeys(news, now_s))
        self._heard_s = heard_s
        if linked and now_s - max(linked.values()) < CUT_OFF_S:
            self._look_by_others(actors, now_s)

    def _look_by_others(self, actors: Collection[Actor], now_s: float) -> None:
        doubtful = [actor for actor in actors if actor in self._by_others or self.silent_s(actor) >= DOUBT_S]
        self._by_others = {actor for actor in doubtful if self._is_well(actor)}
        for actor in self._by_others:
            sometimes("a process is heard of by way of others")
            self._heard_s[actor] = now_s

    def _linked_s(self) -> dict[Actor, float]:
        """The processes that are linked, and when a frame of each came last."""
        found: dict[Actor, float] = {}
        for node, (_, at_s) in self._peers.links.walls():  # every frame says what the wall clock says
            hello = self._peers.links.hello_of(node)
            if hello is not None:
                found[actor_of(node, hello.epoch)] = at_s
        return found

    def _is_well(self, actor: Actor) -> bool:
        """Whether membership says that a node is well, and no other process of it was met since."""
        node, epoch = actor[:NODE_ID_BYTES], actor[NODE_ID_BYTES:]
        swim = self._peers.swim
        if swim is None or not swim.roster.knows(node) or self._identity.start_of(node)[1] != epoch:
            return False
        return swim.roster.peer(node).state is State.ALIVE
