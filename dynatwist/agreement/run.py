"""One request to a register, through as many ballots as it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dynatwist.calls import call_safely
from dynatwist.cluster.cluster import Cluster
from dynatwist.model.record import Key
from dynatwist.model.registry import owners_of
from dynatwist.model.ring import partition_of
from dynatwist.net.messages import Question
from dynatwist.replication.proposal import Ask, Chosen, Proposal, Step, Stuck, Unsettled, Vote
from dynatwist.replication.register import NEVER, Ballot
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

from .rewriting import Rewriting
from .turns import Ended, Follower, OnEnded, Turns

PAUSE_S = 0.03
"""From half to one and a half of this, longer each time, until a proposer that was outbid bids again: a round trip and
a sync take a third of it, and two that compete are soon apart."""
LOOK_PAUSE_S = 0.005
"""The same until a read looks again at what was under way: a round trip and a sync, about."""


class Above(Protocol):
    """All requests of this node; see `dynatwist.agreement.registers`."""

    @property
    def cluster(self) -> Cluster:
        """The cluster."""

    @property
    def turns(self) -> Turns:
        """Which changes may run."""

    def can_be_reached(self, partition: int) -> bool:
        """Whether a majority of the owners can be asked now."""

    def take_steady(self, key: Key) -> Ballot:
        """What a majority of the present owners has promised this process; it is used once."""

    def keep_steady(self, key: Key, version: int, ballot: Ballot) -> None:
        """What a majority of the owners by a version of the registry has promised this process, and it has not used."""

    def ended(self, run: Run, version: int, chosen: Chosen | None) -> None:
        """A run is over."""

    def ask(self, question: Question, owners: tuple[bytes, ...], heard: Callable[[bytes, Vote | None], None]) -> None:
        """Ask some owners one question."""


class Run:
    """One request, through as many ballots as it takes until it is chosen or its time is over."""

    __slots__ = (
        "_asks_first", "_change", "_done", "_followers", "_groups", "_in_doubt", "_is_over", "_op", "_proposal",
        "_registers", "_steady", "_timer", "_tries", "_until_s", "_version", "_voted", "key",
    )  # fmt: skip

    def __init__(
        self,
        registers: Above,
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
            if self._is_over:  # a majority was enough
                return
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
