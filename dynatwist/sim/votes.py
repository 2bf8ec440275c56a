"""Judges agreement on the registry by its definition, from what acceptors are asked and answer.

- An acceptor does not go back: neither on a promise, nor on what it has accepted.
- One ballot names one value, and is proposed after a majority has promised it: the value accepted under the greatest
  ballot among those promises, or the proposer's own if there is none.
- A slot has one value that a majority accepted. A registry is in force when that is so, and not before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from dynatwist.agreement.agreement import REGISTRY_SLOT
from dynatwist.cluster.switchboard import Respond
from dynatwist.core import Core
from dynatwist.model.registry import Registry, decode_registry
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Accept, AnyMessage, Prepare, Voted
from dynatwist.replication.paxos import NO_BALLOT, Ballot, Vote

from .cluster import SimCluster
from .witness import Witness

Proposed = tuple[str, Ballot]
Groups = Collection[frozenset[bytes]]


class Votes:
    """See the module."""

    def __init__(self, cluster: SimCluster, witness: Witness) -> None:
        self._cluster = cluster
        self._witness = witness
        self._told: dict[tuple[bytes, str], tuple[int, Vote]] = {}
        self._count = 0
        self._promises: defaultdict[Proposed, dict[bytes, Vote]] = defaultdict(dict)
        self._prepared: dict[Proposed, int] = {}
        self._value_of: dict[Proposed, bytes] = {}
        self._voters: defaultdict[Proposed, set[bytes]] = defaultdict(set)
        self._chosen: dict[str, bytes] = {}
        self._in_force = 1

    def watch(self, core: Core) -> None:
        """Stand beside a node that is about to start."""
        cluster, acceptors = core.cluster, core.acceptors
        handle, ask_self = cluster.peers.handle, acceptors.ask_self

        def handled(arrival: Arrival, message: AnyMessage, respond: Respond | None) -> None:
            if isinstance(message, Prepare | Accept) and respond is not None:
                respond = self._asked(core, message, respond)
            handle(arrival, message, respond)

        def asked_self(message: Prepare | Accept, respond: Respond) -> None:
            ask_self(message, self._asked(core, message, respond))

        cluster.peers.handle, acceptors.ask_self = handled, asked_self  # type: ignore[method-assign]
        cluster.on_registry.append(lambda before, after: self._adopted(core, before, after))

    def _asked(self, core: Core, message: Prepare | Accept, respond: Respond) -> Respond:
        """An acceptor is asked; what it answers is looked at before it goes out."""
        proposed = message.slot, message.ballot
        self._count += 1
        number = self._count
        if isinstance(message, Prepare):
            self._prepared.setdefault(proposed, message.registry)
        else:
            self._proposes(core, message)

        def answered(reply: AnyMessage) -> None:
            if isinstance(reply, Voted):
                self._tells(core.identity.node_id, message.slot, number, reply.vote)
                if isinstance(message, Prepare) and reply.vote.promised == message.ballot:
                    self._promises[proposed].setdefault(core.identity.node_id, reply.vote)
                elif isinstance(message, Accept) and reply.vote.accepted == message.ballot:
                    self._accepts(core.identity.node_id, message)
            respond(reply)

        return answered

    # Proposers

    def _proposes(self, core: Core, message: Accept) -> None:
        proposed = message.slot, message.ballot
        name = f"ballot {message.ballot[0]} {message.ballot[1].hex()} of {message.slot!r}"
        if proposed in self._value_of:
            if self._value_of[proposed] != message.value:
                self._witness.say(f"P9: {name} stands for two values")
            return
        self._value_of[proposed] = message.value
        registry = core.cluster.registry
        if registry is None or not registry.version == message.registry == self._prepared.get(proposed):
            return  # of which members a majority is needed is not known here
        if not _may_propose(message.value, self._promises[proposed], _groups(registry)):
            self._witness.say(f"P9: {name} proposes what those that promised it do not let it: {message.value!r}")

    # Acceptors

    def _tells(self, node: bytes, slot: str, number: int, vote: Vote) -> None:
        """Votes are told in another order than they were given in, now and then: the order of the questions counts."""
        asked, before = self._told.get((node, slot), (0, Vote()))
        if number < asked:
            return
        if vote.promised < before.promised:
            self._witness.say(f"P9: {node.hex()[:4]} has promised {before.promised} for {slot!r}, and breaks that")
        if vote.accepted < before.accepted or (vote.accepted == before.accepted and vote.value != before.value):
            self._witness.say(f"P9: {node.hex()[:4]} has accepted {before.accepted} for {slot!r}, and forgets that")
        if before.accepted < vote.accepted < before.promised:
            self._witness.say(f"P9: {node.hex()[:4]} accepts {vote.accepted} for {slot!r} below {before.promised}")
        self._told[node, slot] = number, vote

    def _accepts(self, node: bytes, message: Accept) -> None:
        voters = self._voters[message.slot, message.ballot]
        voters.add(node)
        registry = self._cluster.registry()
        if registry is not None and _is_majority(voters, _groups(registry)):
            chosen = self._chosen.setdefault(message.slot, message.value)
            if chosen != message.value:
                self._witness.say(f"P9: {message.slot!r} has two values, {chosen!r} and {message.value!r}")

    def _adopted(self, core: Core, before: Registry | None, after: Registry) -> None:
        """Whoever goes by a version first has proposed it, and counted."""
        if after.version <= self._in_force:
            return
        self._in_force = after.version
        if before is None or before.version + 1 != after.version:
            return
        slot = f"{REGISTRY_SLOT}{after.version}"
        ballots = [one for one, value in self._value_of.items() if one[0] == slot and decode_registry(value) == after]
        if not any(_is_majority(self._voters[one], _groups(before)) for one in ballots):
            host = core.cluster.me.host
            self._witness.say(f"P9: {host} goes by registry {after.version}, which no majority has accepted")


def _groups(registry: Registry) -> Groups:
    return [ids for ids in (registry.previous_ids, registry.ids) if ids]


def _is_majority(voters: set[bytes], groups: Groups) -> bool:
    return all(2 * len(voters & ids) > len(ids) for ids in groups)


def _may_propose(value: bytes, promises: dict[bytes, Vote], groups: Groups) -> bool:
    """Whether there is a majority whose promises let a proposer have this value."""
    accepted = {vote.accepted: vote.value for vote in promises.values()}
    return any(
        _is_majority({node for node, vote in promises.items() if vote.accepted <= greatest}, groups)
        and accepted.get(greatest, b"") in (value, b"")
        for greatest in {NO_BALLOT, *accepted}
    )
