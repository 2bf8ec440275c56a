"""Asking all members one thing, for people who look at the cluster.

Members that do not answer are named, with the reason; they hold up the others for a second at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from dynatwist.calls import all_of
from dynatwist.cluster.cluster import Cluster
from dynatwist.net.messages import AnyMessage
from dynatwist.net.replies import NoAnswer, Reply

M = TypeVar("M")
R = TypeVar("R")
TIMEOUT_S = 1.0
"""For one member to answer, half of what clients are promised."""
JUST_MET = "has only just been met, and was not asked"
AN_OLDER_RELEASE = "runs an older release, which cannot be asked"
_WHY = {NoAnswer.LATE: f"no answer within {TIMEOUT_S:.0f} s", NoAnswer.LOST: "the connection ended"}


class Everybody:
    """See the module."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._answers: dict[type[Any], Callable[[Any], AnyMessage]] = {}

    def on_ask(self, kind: type[M], answer: Callable[[M], AnyMessage]) -> None:
        """Register what answers a kind of question, here and when other members ask."""
        self._answers[kind] = answer
        self._cluster.peers.on_call(kind, lambda arrival, message, respond: respond(answer(message)))

    async def ask(self, message: AnyMessage, kind: type[R]) -> dict[bytes, R | str]:
        """What each member answers; in words, why there is no answer.

        :param kind: of an answer.
        """
        members = self.members()
        replies = await all_of([self._ask(node, message) for node in members])
        return {node: _told(reply, kind) for node, reply in zip(members, replies, strict=True)}

    def members(self) -> list[bytes]:
        """Those who are asked: this node, and the members of the registry; while it changes, of the one before too."""
        cluster = self._cluster
        return sorted({cluster.me.node_id, *cluster.ownership.members})

    def _ask(self, node: bytes, message: AnyMessage) -> Deferred[Reply | str]:
        cluster, answered = self._cluster, Deferred[Reply | str]()
        if node == cluster.me.node_id:
            answered.callback(self._answers[type(message)](message))
        elif cluster.peers.has_insight(node):
            cluster.links.call(node, message, answered.callback, timeout_s=TIMEOUT_S)
        elif cluster.peers.is_reachable(node):
            answered.callback(JUST_MET if cluster.peers.status_of(node) is None else AN_OLDER_RELEASE)
        else:
            answered.callback("cannot be reached")
        return answered


def _told(reply: Reply | str, kind: type[R]) -> R | str:
    if isinstance(reply, str | kind):
        return reply
    return _WHY.get(reply, "cannot be reached") if isinstance(reply, NoAnswer) else "does not answer now"
