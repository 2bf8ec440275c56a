"""Proposals to registers over the peer links, as many at once as there are requests.

See `dynatwist.replication.proposal` for what a proposal does, and `dynatwist.agreement.voting` for the other side.

A node runs one change of a register at a time; others of its own wait. So they do not outbid each other, and each needs
one round trip as long as no other node proposes. What all requests of one turn of the reactor ask of an owner is one
message, and its answers are one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache, partial

from dynatwist.calls import call_safely
from dynatwist.cluster.cluster import Cluster
from dynatwist.model.dots import DotSet
from dynatwist.model.record import Key
from dynatwist.model.records import Packed, dot_of, unpack
from dynatwist.model.registry import is_majority_of_each
from dynatwist.model.ring import partition_of
from dynatwist.net.messages import Question
from dynatwist.replication.proposal import Ask, Chosen, Proposal, Step, Stuck, Unsettled, Vote
from dynatwist.replication.register import NEVER, Ballot, comes_after
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

from .looks import Looks
from .polls import Polls
from .rewriting import Rewriting
from .turns import Ended, Follower, OnEnded, Turns
from .voting import Voting

PAUSE_S = 0.03
"""From half to one and a half of this, longer each time, until a proposer that was outbid bids again: a round trip and
a sync take a third of it, and two that compete are soon apart."""
LOOK_PAUSE_S = 0.005
"""The same until a read looks again at what was under way: a round trip and a sync, about."""
STEADY = 100_000
"""Registers of which a node remembers that a majority has promised it the next ballot: some ten megabytes."""
COMPLETE_S = 3.0
"""For finding out what became of something that was accepted here: nobody waits for it."""


@lru_cache(maxsize=1024)
def owners_of(groups: tuple[tuple[bytes, ...], ...]) -> tuple[bytes, ...]:
    """The members of some sets of owners, in order."""
    return tuple(sorted(frozenset().union(*groups)))


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
        reachable = set(filter(self._cluster.peers.is_reachable, owners_of(groups)))
        return bool(groups) and is_majority_of_each(reachable, groups)

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


class Run:
    """One request, through as many ballots as it takes until it is chosen or its time is over."""

    __slots__ = (
        "_asks_first", "_change", "_done", "_followers", "_groups", "_in_doubt", "_is_over", "_op", "_proposal",
        "_registers", "_steady", "_timer", "_tries", "_until_s", "_version", "_voted", "key",
    )  # fmt: skip

    def __init__(
        self,
        registers: Registers,
        key: Key,
        change: Rewriting | None,
        until_s: float,
        done: OnEnded,
        *,
        op: bytes = b"",
        asks_first: bool = False,
    ) -> None:
        self.key = key
        self._registers = registers
        self._change = change
        self._until_s = until_s
        self._done = done
        self._op = op
        self._asks_first = asks_first
        self._steady: Ballot = NEVER
        self._groups: tuple[tuple[bytes, ...], ...] = ()
        self._version = 0
        self._tries = 0
        self._voted: set[bytes] = set()
        self._followers: list[Follower] = []
        self._in_doubt = self._is_over = False
        self._proposal: Proposal | None = None
        runtime = registers.cluster.runtime
        self._timer: Timer = runtime.clock.callLater(max(0.0, until_s - runtime.monotonic_s()), self._late)

    @property
    def was_met(self) -> bool:
        """Whether an owner may have accepted from another proposer what this request became."""
        return self._proposal is not None and self._proposal.was_met

    @property
    def is_change(self) -> bool:
        """Whether it may change something."""
        return self._change is not None

    def begin(self) -> None:
        """A change: when it is its turn."""
        self._registers.turns.enter(self)

    def start(self) -> None:
        """Ask the first question, by the present registry."""
        if self._is_over:
            return
        cluster, registers, partition = self._registers.cluster, self._registers, partition_of(*self.key)
        if not registers.can_be_reached(partition):
            self._end(None)
            return
        if self._change is not None:
            self._followers += registers.turns.followers(self.key)
        store = cluster.store
        self._version, self._groups = cluster.version, cluster.ownership.groups(partition)
        self._proposal = Proposal(
            groups=self._groups,
            mine=lambda: store.registers.cell(self.key),
            change=self._change,
            ballot_after=lambda ballot: store.clock.stamp(ballot[:2]),
            is_repeated=bool(self._op) or self._asks_first,
            proposed=self._change.proposed if self._change is not None else lambda value: None,
        )
        version = store.registers.floor(partition).version
        self._steady = registers.take_steady(self.key) if self.is_change else NEVER
        self._do(self._proposal, self._proposal.begin(version, self._steady))

    def _do(self, proposal: Proposal, step: Step | None) -> None:
        if proposal is not self._proposal or self._is_over:
            return
        match step:
            case Ask(ballot=None):
                self._let_go()
                self._ask(proposal, step)
            case Ask() if self._change is not None and not self._registers.turns.has(self):
                self._proposal = None
                self._registers.turns.enter(self)
            case Ask():
                self._ask(proposal, step)
            case Chosen():
                self._end(step)
            case None:
                pass
            case _:
                self._pause(proposal, step)

    def _ask(self, proposal: Proposal, ask: Ask) -> None:
        def heard(owner: bytes, vote: Vote | None) -> None:
            if vote is not None:
                self._voted.add(owner)
            if self._version == self._registers.cluster.version:
                self._do(proposal, proposal.hear(ask.number, owner, vote))
            elif proposal is self._proposal:  # others own the key by now, perhaps: begin anew, by the new registry
                sometimes("the owners of a register change while it is voted on")
                self._begin_anew()

        question = Question(self.key, ask.ballot, ask.following, ask.value, ask.known, self._op)
        self._registers.ask(question, owners_of(self._groups), heard)

    def _let_go(self) -> None:
        """It asks only, so others may go on; reads that wait for a change wait for theirs."""
        if self._proposal is not None and not self._proposal.in_doubt:
            self._registers.keep_steady(self.key, self._version, self._steady)
        self._steady = NEVER
        followers, self._followers = self._followers, []
        self._registers.turns.leave(self)
        self._registers.turns.tell(self.key, followers, Ended(None))

    def _begin_anew(self) -> None:
        assert self._proposal is not None
        self._in_doubt = self._in_doubt or self._proposal.in_doubt
        self._proposal = None
        self._registers.cluster.runtime.later(self.start)

    def _pause(self, proposal: Proposal, step: Step) -> None:
        cluster = self._registers.cluster
        if isinstance(step, Stuck) and not self._registers.can_be_reached(partition_of(*self.key)):
            self._end(None)
            return
        self._tries += 1
        usual_s = LOOK_PAUSE_S if isinstance(step, Unsettled) else PAUSE_S
        pause_s = usual_s * min(8, self._tries) * (0.5 + cluster.runtime.random.random())
        if cluster.runtime.monotonic_s() + pause_s < self._until_s:
            cluster.runtime.clock.callLater(pause_s, self._go_on, proposal)

    def _go_on(self, proposal: Proposal) -> None:
        if proposal is self._proposal and not self._is_over:
            if self._version != self._registers.cluster.version:
                self._begin_anew()
            else:
                self._do(proposal, proposal.again())

    def _late(self) -> None:
        if not self._is_over:
            sometimes("a request to a register is not over in time")
            self._end(None)

    def _end(self, chosen: Chosen | None) -> None:
        self._is_over = True
        cancel(self._timer)
        in_doubt = self._in_doubt or (self._proposal is not None and self._proposal.in_doubt)
        newest = self._groups[-1] if self._groups else ()
        reached = len((chosen.acceptors if chosen is not None else self._voted).intersection(newest))
        ended = Ended(chosen, in_doubt, reached)
        self._registers.ended(self, self._version, chosen)
        followers, self._followers = self._followers, []
        call_safely(self._done, ended)
        self._registers.turns.tell(self.key, followers, ended)
