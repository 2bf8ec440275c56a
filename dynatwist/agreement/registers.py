"""Proposals to registers over the peer links, as many at once as there are requests.

See `dynatwist.replication.proposal` for what a proposal does, and `dynatwist.agreement.voting` for the other side.

A node runs one change of a register at a time; others of its own wait. So they do not outbid each other, and each needs
one round trip as long as no other node proposes. What all requests of one turn of the reactor ask of an owner is one
message, and its answers are one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from dynatwist.cluster.cluster import Cluster
from dynatwist.model.dots import DotSet
from dynatwist.model.record import Key
from dynatwist.model.records import Packed, dot_of, unpack
from dynatwist.model.registry import is_majority_of_each, owners_of
from dynatwist.model.ring import partition_of
from dynatwist.net.messages import Question
from dynatwist.replication.proposal import Chosen, Vote
from dynatwist.replication.register import NEVER, Ballot, comes_after
from dynatwist.sometimes import sometimes

from .looks import Looks
from .polls import Polls
from .rewriting import Rewriting
from .run import Run
from .turns import Ended, OnEnded, Turns
from .voting import Voting

STEADY = 100_000
"""Registers of which a node remembers that a majority has promised it the next ballot: some ten megabytes."""
COMPLETE_S = 3.0
"""For finding out what became of something that was accepted here: nobody waits for it."""


class Registers:
    """See the module.

    :ivar voting: this node's own votes.
    :ivar turns: which of its changes may run.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.voting = Voting(cluster, self._complete)
        self._polls = Polls(cluster, self.voting)
        self._looks = Looks(cluster, self.voting)
        self.turns = Turns(cluster.runtime, self._look)
        self._steady: OrderedDict[Key, tuple[int, Ballot]] = OrderedDict()

    def read(self, key: Key, until_s: float, done: OnEnded) -> None:
        """What is chosen for a key.

        :param until_s: when to give up, in monotonic seconds.
        :param done: called once.
        """
        self.turns.read(key, until_s, done)

    def _look(self, key: Key, until_s: float, done: OnEnded) -> None:
        def looked(value: Packed | None, acceptors: frozenset[bytes]) -> None:
            if value is None:
                self._read_alone(key, until_s, done)
                return
            chosen = Chosen(value, acceptors)
            if value and not self._cluster.store.registers.is_merged(key):
                self._tell(key, chosen)
            done(Ended(chosen, reached=len(acceptors.intersection(self._newest(key)))))

        self._looks.look(key, looked)

    def _read_alone(self, key: Key, until_s: float, done: OnEnded) -> None:
        Run(self, key, None, until_s, done).start()

    def _newest(self, key: Key) -> tuple[bytes, ...]:
        groups = self._cluster.ownership.groups(partition_of(*key))
        return groups[-1] if groups else ()

    def change(self, key: Key, change: Rewriting, until_s: float, done: OnEnded) -> None:
        """Change what is chosen for a key.

        :param change: called as often as it has to be tried.
        :param until_s: when to give up, in monotonic seconds.
        :param done: called once.
        """
        self.enter(key, change, until_s, done).begin()

    def enter(
        self,
        key: Key,
        change: Rewriting,
        until_s: float,
        done: OnEnded,
        *,
        op: bytes = b"",
        asks_first: bool = False,
    ) -> Run:
        """The same, to be begun by whoever wants to know the run before it is tried.

        :param op: id of the request, if another proposer may have carried it out.
        :param asks_first: whether the owners have to be heard before the change is tried: what it goes by, as the time
            that is over, has to be as new as theirs.
        """
        return Run(self, key, change, until_s, done, op=op, asks_first=asks_first)

    def can_be_reached(self, partition: int) -> bool:
        """Whether a majority of the owners can be asked now."""
        groups = self._cluster.ownership.groups(partition)
        owners = owners_of(groups)
        reachable = [owner for owner in owners if self._cluster.peers.is_reachable(owner)]
        return bool(groups) and (len(reachable) == len(owners) or is_majority_of_each(set(reachable), groups))

    def _complete(self, key: Key) -> None:
        self.read(key, self._cluster.runtime.monotonic_s() + COMPLETE_S, lambda ended: None)

    # For runs

    def take_steady(self, key: Key) -> Ballot:
        """What a majority of the present owners has promised this process; it is used once."""
        version, ballot = self._steady.pop(key, (0, NEVER))
        return ballot if version == self._cluster.version else NEVER

    def is_steady(self, key: Key) -> bool:
        """Whether a majority of owners has promised this process the next ballot."""
        return key in self._steady

    def keep_steady(self, key: Key, version: int, ballot: Ballot) -> None:
        """What a majority of the owners by a version of the registry has promised this process, and it has not used."""
        if ballot != NEVER:
            self._steady[key] = version, ballot
            self._steady.move_to_end(key)
            if len(self._steady) > STEADY:
                self._steady.popitem(last=False)

    def ended(self, run: Run, version: int, chosen: Chosen | None) -> None:
        """A run is over: remember what it was promised, tell all what is chosen; the next one's turn."""
        if chosen is not None:
            self.keep_steady(run.key, version, chosen.following)
        if chosen is not None and chosen.value:
            self._tell(run.key, chosen)
        self.turns.leave(run)

    def _tell(self, key: Key, chosen: Chosen) -> None:
        cluster, dot = self._cluster, dot_of(chosen.value)
        if not self.voting.learn(key, dot):
            self._merge(key, chosen)
        if chosen.following == NEVER:
            return
        for owner in cluster.ownership.owners(partition_of(*key)):
            if owner == cluster.me.node_id:
                continue
            if cluster.links.is_reachable(owner):
                self._polls.tell(owner, key, dot)
            else:
                cluster.store.hint(owner, key)

    def _merge(self, key: Key, chosen: Chosen) -> None:
        """Have what is chosen, and was not accepted here last, be a record; unless it was superseded meanwhile.

        A record that comes behind the delete that supersedes it is not one that other owners know of when they collect
        the delete.
        """
        store, partition = self._cluster.store, partition_of(*key)
        held = store.replicas[partition].records.packed(key)
        if held is not None and comes_after(held, chosen.value):
            sometimes("what a proposer had chosen was superseded before it heard of that")
            store.join(partition, DotSet([dot_of(chosen.value)]), 0)
        elif (
            held is None
            and not store.registers.kept(key)
            and chosen.following < store.registers.floor(partition).ballot
        ):
            sometimes("what a proposer had chosen was deleted and collected before it heard of that")
        else:
            store.merge(key, unpack(chosen.value), chosen.value)
            self.voting.learn(key, dot_of(chosen.value))

    def ask(self, question: Question, owners: tuple[bytes, ...], heard: Callable[[bytes, Vote | None], None]) -> None:
        """Ask some owners one question."""
        for owner in owners:
            self._polls.ask(owner, question, partial(heard, owner))

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self._cluster
