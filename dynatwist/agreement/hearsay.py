"""What strangers say of the registry: a node that was away may meet new members before it hears of them.

Whoever has the cluster key can say anything, so a newer registry is believed only from members. Of a stranger's it is
found out whether it can be true:

- This node has itself accepted that very registry in a ballot: it is true.
- A majority of the members that this node knows answers: then it can tell what was chosen, if anything was, and that is
  believed rather than the stranger.
- No majority answers: the members that this node knows may all have been replaced while it was away. It is believed,
  since nobody else is left to ask.
"""

from __future__ import annotations

from twisted.python.failure import Failure

from dynatwist.cluster.cluster import Cluster
from dynatwist.model.registry import Registry, decode_registry, encode_registry, majority
from dynatwist.sometimes import sometimes

from .agreement import REGISTRY_SLOT, Acceptors, Agreement, NoAgreement

LOOK_EVERY_S = 2.0
"""Between ballots about what strangers say: they may say something new all the time."""
MAX_LOOKS = 5
"""So many at what one stranger says: a ballot may fail for others that are under way, though it is true."""


class Hearsay:
    """See the module."""

    def __init__(self, cluster: Cluster, acceptors: Acceptors) -> None:
        self._cluster = cluster
        self._acceptors = acceptors
        self._claim: Registry | None = None
        self._is_looking = False
        self._next_look_s = 0.0
        self._looks = 0
        cluster.on_hearsay.append(self._heard)

    def _heard(self, claim: Registry) -> None:
        registry = self._cluster.registry
        if registry is None or claim.cluster_id != registry.cluster_id or claim.version <= registry.version:
            return
        vote = self._cluster.identity.vote_on(claim.version)
        if claim.version == registry.version + 1 and vote is not None and vote.value == encode_registry(claim):
            sometimes("a stranger tells a registry that this node has voted for")
            self._cluster.adopt(claim)
        elif self._claim is None or claim.version > self._claim.version:
            self._claim, self._looks = claim, 0

    def tick(self) -> None:
        """Look into what was heard; to be called a few times a second."""
        registry, claim = self._cluster.registry, self._claim
        now_s = self._cluster.runtime.monotonic_s()
        if claim is None or registry is None or self._is_looking or now_s < self._next_look_s:
            return
        if claim.version <= registry.version:
            self._claim = None
            return
        sometimes("a node looks into what a stranger says of the registry")
        self._is_looking = True
        self._looks += 1
        slot = f"{REGISTRY_SLOT}{registry.version + 1}"
        looked = Agreement(self._cluster, self._acceptors, slot, b"").result
        looked.addCallbacks(lambda value: self._cluster.adopt(decode_registry(value)), self._nothing, (), {}, (claim,))
        looked.addBoth(lambda _: self._looked(registry))

    def _looked(self, before: Registry) -> None:
        self._is_looking = False
        if self._cluster.registry is before:  # else the next version is looked at, at once
            self._next_look_s = self._cluster.runtime.monotonic_s() + LOOK_EVERY_S

    def _nothing(self, failure: Failure, claim: Registry) -> None:
        failure.trap(NoAgreement)
        cluster = self._cluster
        registry = cluster.registry
        if self._looks >= MAX_LOOKS and claim is self._claim:
            self._claim = None
        if registry is None or claim.version <= registry.version or cluster.standing.is_stopping:
            return
        for group in (registry.ids, registry.previous_ids):
            if group and sum(map(cluster.peers.is_reachable, group)) < majority(len(group)):
                sometimes("a stranger's registry is believed, since the members are gone")
                cluster.adopt(claim)
                return
