"""Founding a cluster, joining one, and changing its registry one version at a time.

Each version is one Paxos slot whose acceptors are the members of the version before (during a change, old and new), so
a version is unique, and begun only when a majority knows the present one. A change ends when every joiner is whole,
by what it fetched under its last version (see `dynatwist.replication.filling`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from dynatwist.cluster.ask import Ask, ask_all
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.registry import MAX_MEMBERS, Member, Registry, decode_registry, encode_registry, majority
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Done, Join, Refused, Settle, Unable
from dynatwist.net.replies import Reply
from dynatwist.replication.filling import owes
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

from .agreement import REGISTRY_SLOT, Acceptors, Agreement, NoAgreement
from .hearsay import Hearsay

TICK_S = 0.1
"""How often a node looks whether it may join, found or change anything: nobody notices a tenth of a second."""
FOUND_AFTER_S = 1.0
"""The time in which nodes of a ``--join`` list that start together find each other."""
FOUND_WITHOUT_MAJORITY_AFTER_S = 10.0
"""A node whose disk was lost comes back as a stranger, and may be the lowest of everybody's list. It must not found a
second cluster only because the others need a moment to be found. A first start with most of a list missing is rare."""
TRY_EVERY_S = 2.0
"""How often a node that no seed answers dials their usual peer ports: what is wrong is then in both logs."""
SETTLE_TIMEOUT_S = 1.0
"""For a member to say that it has all it needs, durably: a slow disk needs less, and there is a next time."""
WISH_S = 2.0
"""A wish to join that was not repeated for so long counts no more: its node is gone, or is a member."""
TURN_S = 2.0
"""A change is ended by its first member, as soon as it may end; by the second, third and so on no more often than once
in so long: a member that does nothing holds nobody up, and in a large cluster not all ask everybody all the time."""


class Registrar:
    """See the module.

    :param seeds: the ``--join`` list.
    :param replicas: N, of a cluster founded here, or expected of one joined.
    :param secrets: names of the cluster secrets that this node accepts.
    :ivar found_without_majority_after_s: see `FOUND_WITHOUT_MAJORITY_AFTER_S`.
    """

    log = Logger()

    def __init__(
        self,
        *,
        cluster: Cluster,
        acceptors: Acceptors,
        seeds: list[tuple[str, int]],
        replicas: int,
        secrets: Callable[[], tuple[str, ...]],
    ) -> None:
        self._cluster = cluster
        self._acceptors = acceptors
        self._hearsay = Hearsay(cluster, acceptors)
        self._seeds = seeds
        self._replicas = replicas
        self._secrets = secrets
        self._wanted: dict[bytes, tuple[Member, float]] = {}
        self._unwanted: set[bytes] = set()
        self._proposing = False
        self._asking = False
        self._timer: Timer | None = None
        self._started_s = cluster.runtime.monotonic_s()
        self._next_try_s = self._started_s + FOUND_AFTER_S
        self._turn: tuple[int, float] = 0, 0.0
        self._said = ""
        self.found_without_majority_after_s = FOUND_WITHOUT_MAJORITY_AFTER_S
        cluster.peers.on_call(Join, self._on_join)
        cluster.peers.on_call(Settle, self._on_settle)
        cluster.peers.on_linked.append(lambda node: self._tick_soon())

    def bound(self, found_without_majority_after_s: float) -> None:
        """Another `found_without_majority_after_s` than the usual one, from now on."""
        self.found_without_majority_after_s = found_without_majority_after_s

    def start(self) -> None:
        """Found a cluster if that is due, and begin to tick."""
        if self._cluster.registry is None and not self._seeds:
            self._found()
        self._tick()

    def stop(self) -> None:
        """Stop ticking."""
        cancel(self._timer)

    # Founding and joining

    def _found(self) -> None:
        cluster_id = self._cluster.runtime.randbytes(16)
        self.log.info("founding cluster {id}", id=cluster_id.hex()[:8])
        self._cluster.adopt(Registry(cluster_id, 1, self._replicas, (self._cluster.me,)))

    def _may_found(self) -> bool:
        """Whether this node is the lowest of its own ``--join`` list, and no founded node ever answered.

        A majority of the list has to have answered, or a long time to have passed.
        """
        cluster, seeds = self._cluster, set(self._seeds)
        mine = (cluster.me.host, cluster.me.port)
        waited_s = cluster.runtime.monotonic_s() - self._started_s
        if cluster.peers.has_met_founded or mine not in seeds or mine != min(seeds) or waited_s < FOUND_AFTER_S:
            return False
        reached = seeds.intersection(map(cluster.links.address, cluster.links.linked()))
        if len(reached) + 1 >= majority(len(seeds)):
            return True
        sometimes("the lowest of a list of seeds waits for the others before it founds a cluster")
        return waited_s >= self.found_without_majority_after_s

    def _find_out_why_nobody_answers(self) -> None:
        """No seed answers to gossip: dial the usual peer port, so that a wrong key file is said on both sides."""
        now_s = self._cluster.runtime.monotonic_s()
        if self._cluster.links.linked() or now_s < self._next_try_s:
            return
        self._next_try_s = now_s + TRY_EVERY_S
        for host, port in self._seeds:
            if port + 10_000 <= 65535 and (host, port) != (self._cluster.me.host, self._cluster.me.port):
                self._cluster.links.dialler.try_once(host, port + 10_000)

    def _ask_to_join(self) -> None:
        cluster = self._cluster
        founded = sorted(cluster.peers.founded)
        if not founded or self._asking:
            return
        self._asking = True

        def replied(reply: Reply) -> None:
            self._asking = False
            if isinstance(reply, Refused) and reply.reason != self._said:
                self._said = reply.reason
                self.log.error("cannot join: {reason}", reason=reply.reason)

        node = cluster.runtime.random.choice(founded)
        cluster.links.call(node, Join(cluster.me, self._replicas, self._secrets()), replied, timeout_s=2.0)

    def _on_join(self, arrival: Arrival, message: Join, respond: Respond) -> None:
        registry = self._cluster.registry
        if registry is None or not self._cluster.ownership.is_registered:
            respond(Unable("not a member myself"))
        elif refusal := self._refusal(registry, arrival.node, message.member):
            respond(Refused(refusal))
        elif message.replicas != registry.replicas:
            respond(
                Refused(
                    f"the cluster keeps {registry.replicas} replicas, {message.member.address} was started with "
                    f"{message.replicas}: use --replicas {registry.replicas}"
                )
            )
        elif message.secrets and (lacking := set(self._secrets()).difference(message.secrets)):
            self._wanted.pop(arrival.node, None)
            text = f"the key file of {message.member.address} lacks secret {', '.join(sorted(lacking))}"
            respond(Refused(f"{text}: copy a member's key file as it is now, and start it again"))
        else:
            if registry.find(arrival.node) != message.member:
                self._want(message.member)
                self._tick_soon()
            respond(Done())

    def _refusal(self, registry: Registry, node: bytes, member: Member) -> str:
        """Why a node may not join as what it says it is, or an empty string."""
        if member.node_id != node or not member.is_sound:
            return "a node can ask for itself only, under an address that can be"
        if node in registry.struck_out:
            return f"{member.address} was removed from the cluster: wipe its data folder to join again"
        if registry.zoned and not member.zone:
            return f"the members say where they run: start {member.address} with --zone too"
        if len(registry.members) >= MAX_MEMBERS and registry.find(node) is None:
            return f"the cluster has {len(registry.members)} members, which is as many as it can have; forget one first"
        return ""

    def _want(self, member: Member) -> None:
        """Have a node in the registry; it asks again and again until it is. What it asked for long ago may have been
        granted and taken back meanwhile."""
        self._wanted[member.node_id] = member, self._cluster.runtime.monotonic_s()

    def _as_member(self, known: Member) -> Member:
        """This node as it is to be registered; started without a zone, it stays where it was: data would move."""
        me = self._cluster.me
        return me if me.zone else msgspec.structs.replace(me, zone=known.zone)

    # Changes

    def forget(self, node: bytes) -> None:
        """Strike out a member; begun as soon as no other change stands in the way."""
        self._unwanted.add(node)
        self._wanted.pop(node, None)
        self._tick_soon()

    def _tick_soon(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.reset(0.01)

    def _tick(self) -> None:
        cluster = self._cluster
        self._timer = cluster.runtime.clock.callLater(TICK_S * (0.5 + cluster.runtime.random.random()), self._tick)
        registry = cluster.registry
        if registry is None:
            if self._may_found():
                self._found()
            else:
                self._ask_to_join()
                self._find_out_why_nobody_answers()
            return
        self._hearsay.tick()
        if cluster.ownership.is_removed or self._proposing:
            return
        if not cluster.ownership.is_registered:
            self._ask_to_join()
            return
        mine = registry.find(cluster.me.node_id)
        if mine is not None and mine != (me := self._as_member(mine)):
            self._want(me)  # this node's address changed, or its zone
        goal = self._goal(registry)
        if goal is not None:
            self._propose(registry, goal)
        elif registry.changing and self._is_my_turn(registry):
            self._try_to_settle(registry)

    def _goal(self, registry: Registry) -> Registry | None:
        """The next version wanted, if any: joins only between changes, removals also amend the one under way.

        What a node has asked for before it was struck out does not count; another member may have struck it out.
        """
        now_s = self._cluster.runtime.monotonic_s()
        self._wanted = {
            node: (member, asked_s)
            for node, (member, asked_s) in self._wanted.items()
            if registry.find(node) != member
            and node not in self._unwanted
            and node not in registry.struck_out
            and (member.zone or not registry.zoned)
            and now_s - asked_s < WISH_S
        }
        self._unwanted = {node for node in self._unwanted if node in registry.ids}
        if registry.changing:
            return registry.without(self._unwanted) if self._unwanted else None
        members = {member.node_id: member for member in registry.members if member.node_id not in self._unwanted}
        members |= {node: member for node, (member, _) in self._wanted.items()}
        if not members:
            return None
        goal = registry.with_members(members.values(), know_zones=all(map(self._cluster.peers.knows_zones, members)))
        if goal.changing and goal.ids == registry.ids:
            sometimes("members are in other zones, so that data move between them")
        return goal if (goal.members, goal.zoned) != (registry.members, registry.zoned) else None

    def _propose(self, registry: Registry, goal: Registry) -> None:
        self._proposing = True
        slot = f"{REGISTRY_SLOT}{goal.version}"

        def chosen(value: bytes) -> None:
            self._cluster.adopt(decode_registry(value))

        def failed(failure: Failure) -> None:
            failure.trap(NoAgreement)

        def over(_: object) -> None:
            self._proposing = False
            self._tick_soon()

        agreed: Deferred[bytes] = Agreement(self._cluster, self._acceptors, slot, encode_registry(goal)).result
        agreed.addCallbacks(chosen, failed)
        agreed.addBoth(over)

    def _is_my_turn(self, registry: Registry) -> bool:
        """Whether this node may try to end a change: see `TURN_S`. Those that it strikes out have no part in that."""
        now_s, me = self._cluster.runtime.monotonic_s(), self._cluster.me.node_id
        members = sorted(filter(self._cluster.peers.is_reachable, registry.ids))
        if me not in members:
            return False
        wait_s = members.index(me) * TURN_S
        version, next_s = self._turn
        if version != registry.version:
            next_s = now_s + wait_s
        is_mine = now_s >= next_s
        self._turn = registry.version, now_s + wait_s if is_mine else next_s
        return is_mine

    def _try_to_settle(self, registry: Registry) -> None:
        cluster = self._cluster
        if cluster.standing.is_filling():
            return
        others = [node for node in sorted(registry.ids) if node != cluster.me.node_id]
        owing = [node for node in others if self._owes_something(registry, node)]
        if not all(cluster.links.is_reachable(node) for node in owing):
            return
        done: set[bytes] = set()
        self._proposing = True

        def heard(node: bytes, reply: Reply) -> None:
            if isinstance(reply, Done):
                done.add(node)

        def over() -> None:
            self._proposing = False
            known = done | {cluster.me.node_id}
            enough = len(known & registry.previous_ids) >= majority(len(registry.previous_ids))
            if registry is cluster.registry and done.issuperset(owing) and (enough or self._all_old_left(registry)):
                self._settle(registry)

        asks = [Ask(node, Settle(registry.version), partial(heard, node)) for node in others]
        ask_all(cluster.links, asks, over, SETTLE_TIMEOUT_S)

    def _settle(self, registry: Registry) -> None:
        """End the change, once what this node fetched for it is durable."""
        wal = self._cluster.store.wal

        def durable() -> None:
            if registry is self._cluster.registry and not self._proposing:
                self._propose(registry, registry.settled())

        wal.when_durable(wal.lsn, durable)

    def _all_old_left(self, registry: Registry) -> bool:
        """Whether so few old members stay that they are no majority; the acceptors' own majorities then decide."""
        return len(registry.ids & registry.previous_ids) < majority(len(registry.previous_ids))

    def _owes_something(self, registry: Registry, node: bytes) -> bool:
        return any(owes(registry, node, partition) for partition in range(ALL_PARTITIONS))

    def _on_settle(self, arrival: Arrival, message: Settle, respond: Respond) -> None:
        if message.registry != self._cluster.version:
            respond(Unable("another version"))
        elif self._cluster.standing.is_filling():
            respond(Unable("not whole yet"))
        else:  # a crash must not take back that this node is whole
            wal = self._cluster.store.wal
            wal.when_durable(wal.lsn, lambda: respond(Done()))
