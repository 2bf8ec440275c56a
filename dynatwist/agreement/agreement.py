"""Agreeing on the next version of the registry over the peer links: see `dynatwist.replication.paxos` for the rules.

A node runs one proposal per slot at a time; others of its own for the same slot wait, and get the same answer. No two
ballots are equal, of one node or over a restart: each names the process and the number of the proposal within it. A
ballot goes by one version of the registry to its end: acceptors that know a newer one refuse, and the next ballot goes
by that. Otherwise promises of one set of members would be followed by votes of another.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.internet.defer import Deferred

from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.flaws import BEYOND, NOT_DECODED
from dynatwist.model.registry import Registry, decode_registry
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Accept, AnyMessage, Prepare, StaleRegistry, Unable, Voted
from dynatwist.net.replies import Reply
from dynatwist.replication.paxos import Ballot, Proposal, Vote, accept, prepare
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

AGREE_TIMEOUT_S = 3.0
"""Six ballots, while a round trip takes a hundredth; then the registrar looks again what is wanted."""
BALLOT_TIMEOUT_S = 0.5
"""From half to one and a half of this until a proposer begins another ballot: two that compete are soon apart."""
REGISTRY_SLOT = "registry:"
_SLOT = re.compile(r"registry:[0-9]{1,15}")


class NoAgreement(Exception):
    """No majority of the members answered in time; what was proposed may still be chosen later."""


def _version_of(slot: str) -> int:
    """The version of the registry that a slot decides."""
    return int(slot[len(REGISTRY_SLOT) :])


def _is_registry(value: bytes) -> bool:
    try:
        decode_registry(value)
    except NOT_DECODED:
        return False
    return True


class Acceptors:
    """This node's votes, durable each time before they are told; and the order of its own proposals."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._queues: dict[str, list[Agreement]] = {}
        cluster.peers.on_call(Prepare, self._on_prepare)
        cluster.peers.on_call(Accept, self._on_accept)

    def _on_prepare(self, arrival: Arrival, message: Prepare, respond: Respond) -> None:
        refusal = self._refusal(message)
        if refusal is not None:
            respond(refusal)
        else:
            self._vote(message.slot, prepare(self._held(message.slot), message.ballot), respond)

    def _on_accept(self, arrival: Arrival, message: Accept, respond: Respond) -> None:
        refusal = self._refusal(message)
        if refusal is None and not _is_registry(message.value):
            refusal = Unable("no registry")
        if refusal is not None:
            respond(refusal)
        else:
            self._vote(message.slot, accept(self._held(message.slot), message.ballot, message.value), respond)

    def _refusal(self, message: Prepare | Accept) -> AnyMessage | None:
        registry = self._cluster.registry
        if not 0 <= message.ballot[0] < BEYOND or not _SLOT.fullmatch(message.slot):
            return Unable("no ballot, or no slot")
        if registry is None or not self._cluster.ownership.is_registered:
            return Unable("not a member")
        version = _version_of(message.slot)
        if version <= registry.version:
            return StaleRegistry(registry)
        return Unable("an older registry here") if version != registry.version + 1 else None

    def _held(self, slot: str) -> Vote:
        return self._cluster.identity.vote_on(_version_of(slot)) or Vote()

    def _vote(self, slot: str, vote: Vote, respond: Respond) -> None:
        """Keep a vote, which is durable right away, and tell it."""
        if vote != self._held(slot):
            self._cluster.identity.vote(_version_of(slot), vote)
        respond(Voted(vote))

    def ask_self(self, message: Prepare | Accept, respond: Respond) -> None:
        """Vote on this node's own proposal."""
        if (stale := self._cluster.ownership.stale(message.registry)) is not None:
            respond(stale)
        elif isinstance(message, Prepare):
            self._on_prepare(Arrival(self._cluster.me.node_id), message, respond)
        else:
            self._on_accept(Arrival(self._cluster.me.node_id), message, respond)

    # This node's own proposals

    def ballot(self, number: int) -> Ballot:
        """For a proposal of this process in a round."""
        identity = self._cluster.identity
        return number, identity.node_id + identity.epoch

    def enter(self, slot: str, agreement: Agreement) -> bool:
        """Stand in the queue of a slot.

        :returns: whether it is this one's turn already.
        """
        queue = self._queues.setdefault(slot, [])
        queue.append(agreement)
        return len(queue) == 1

    def leave(self, slot: str, agreement: Agreement) -> list[Agreement]:
        """The one whose turn it was is through.

        :returns: those that wait, the next one first.
        """
        queue = self._queues[slot]
        queue.remove(agreement)
        if not queue:
            del self._queues[slot]
        return list(queue)


class Agreement:
    """One slot's way to a decision, through as many ballots as it takes.

    `result` fires with the value chosen, which may be another proposer's; it fails with `NoAgreement`.

    :param value: what to propose; empty to find out only what was chosen, or may have been.
    """

    def __init__(self, cluster: Cluster, acceptors: Acceptors, slot: str, value: bytes) -> None:
        self._cluster = cluster
        self._acceptors = acceptors
        self._slot = slot
        self._value = value
        self._version = cluster.version
        self._round = 0
        self.result: Deferred[bytes] = Deferred()
        self._until_s = cluster.runtime.monotonic_s() + AGREE_TIMEOUT_S
        self._timer: Timer | None = None
        self._proposal: Proposal | None = None
        if acceptors.enter(slot, self):
            self._start_ballot()
        else:
            sometimes("a node proposes for one slot twice at once")

    def _start_ballot(self) -> None:
        cluster = self._cluster
        registry = cluster.registry
        if self.result.called:
            return
        stale = cluster.version != self._version
        if registry is None or stale or cluster.runtime.monotonic_s() >= self._until_s or cluster.standing.is_stopping:
            self._end(None)
            return
        self._round += 1
        groups = [registry.ids, registry.previous_ids] if registry.changing else [registry.ids]
        self._proposal = proposal = Proposal(groups, self._acceptors.ballot(self._round), self._value)
        self._timer = cluster.runtime.clock.callLater(
            BALLOT_TIMEOUT_S * (0.5 + cluster.runtime.random.random()), self._next_ballot, proposal
        )
        message = Prepare(registry.version, self._slot, proposal.ballot)
        for node in sorted(registry.ids | registry.previous_ids):
            self._ask(node, message, lambda node, vote: self._promised(registry, proposal, node, vote))

    def _ask(self, node: bytes, message: Prepare | Accept, voted: Callable[[bytes, Vote], None]) -> None:
        def replied(reply: Reply) -> None:
            if isinstance(reply, Voted):
                if reply.vote.promised[0] < BEYOND:  # else nobody could bid higher
                    voted(node, reply.vote)
            else:
                self._cluster.learn(reply)

        if node == self._cluster.me.node_id:
            self._acceptors.ask_self(message, replied)
        else:
            self._cluster.links.call(node, message, replied)

    def _promised(self, registry: Registry, proposal: Proposal, node: bytes, vote: Vote) -> None:
        if proposal is not self._proposal or self.result.called:
            return
        if proposal.on_promise(node, vote):
            if proposal.value:
                self._ask_all_to_accept(registry, proposal)
            else:
                self._end(None)  # nobody of a majority has accepted anything, and this node has nothing to propose
        elif proposal.outbid > proposal.ballot:
            self._outbid(proposal)

    def _ask_all_to_accept(self, registry: Registry, proposal: Proposal) -> None:
        message = Accept(registry.version, self._slot, proposal.ballot, proposal.value)
        for node in sorted(registry.ids | registry.previous_ids):
            self._ask(node, message, lambda node, vote: self._accepted(proposal, node, vote))

    def _accepted(self, proposal: Proposal, node: bytes, vote: Vote) -> None:
        if proposal is not self._proposal or self.result.called:
            return
        if proposal.on_accepted(node, vote):
            self._end(proposal.value)
        elif proposal.outbid > proposal.ballot:
            self._outbid(proposal)

    def _outbid(self, proposal: Proposal) -> None:
        """Somebody else bids higher: wait a moment, then bid higher still."""
        self._round = max(self._round, proposal.outbid[0])
        self._proposal = None
        self._cancel()
        pause_s = 0.02 + 0.1 * self._cluster.runtime.random.random()
        self._timer = self._cluster.runtime.clock.callLater(pause_s, self._start_ballot)

    def _next_ballot(self, proposal: Proposal) -> None:
        if proposal is self._proposal:
            self._start_ballot()

    def _end(self, value: bytes | None) -> None:
        """What was chosen is chosen for those who wait too; without a decision it is the next one's turn."""
        waiting = self._leave()
        if value is None:
            if waiting:
                waiting[0]._start_ballot()
            self.result.errback(NoAgreement())
            return
        for one in waiting:
            one._leave()
        for one in (self, *waiting):
            one.result.callback(value)

    def _leave(self) -> list[Agreement]:
        self._cancel()
        return self._acceptors.leave(self._slot, self)

    def _cancel(self) -> None:
        cancel(self._timer)
