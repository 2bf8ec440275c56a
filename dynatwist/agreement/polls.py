"""Questions to acceptors on their way: what all requests of one turn ask of an owner is one message."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dynatwist.calls import call_safely
from dynatwist.cluster.cluster import Cluster
from dynatwist.model.dots import Dot
from dynatwist.model.record import Key
from dynatwist.net.messages import Chose, Poll, Polled, Question
from dynatwist.net.replies import Reply
from dynatwist.replication.proposal import Vote
from dynatwist.replication.register_flaws import vote_flaw

from .voting import Voting

POLL_TIMEOUT_S = 2.0
"""For one question; whoever asks may have given up long before."""
MAX_QUESTIONS = 256
"""In one message, and no more bytes than answers have: whoever gets it is busy with it for some milliseconds."""

_Asked = tuple[Question, Callable[[Vote | None], None]]


class Polls:
    """Gathers the questions of a turn to each owner, and what is to be told that is chosen."""

    def __init__(self, cluster: Cluster, voting: Voting) -> None:
        self._cluster = cluster
        self._voting = voting
        self._asked: dict[bytes, list[_Asked]] = {}
        self._chosen: dict[bytes, list[tuple[Key, Dot]]] = {}

    def ask(self, owner: bytes, question: Question, heard: Callable[[Vote | None], None]) -> None:
        """Ask an owner, with all that is asked of it in this turn.

        :param heard: called once; with ``None`` when the owner does not vote.
        """
        self._begin()
        self._asked.setdefault(owner, []).append((question, heard))

    def tell(self, owner: bytes, key: Key, dot: Dot) -> None:
        """Tell an owner what is chosen, before it is asked anything more."""
        self._begin()
        self._chosen.setdefault(owner, []).append((key, dot))

    def _begin(self) -> None:
        if not self._asked and not self._chosen:
            self._cluster.runtime.at_turn_end(self._send)

    def _send(self) -> None:
        chosen, self._chosen = self._chosen, {}
        asked, self._asked = self._asked, {}
        for owner, dots in chosen.items():
            self._cluster.links.tell(owner, Chose(dots))
        for owner, asks in asked.items():
            for page in self._pages(asks):
                self._poll(owner, page)

    def _pages(self, asks: list[_Asked]) -> Iterator[list[_Asked]]:
        """As many messages as keep each of a bounded size."""
        page: list[_Asked] = []
        size_bytes = 0
        for ask in asks:
            size_bytes += len(ask[0].value or b"")
            if page and (size_bytes > self._cluster.answer_bytes or len(page) >= MAX_QUESTIONS):
                yield page
                page, size_bytes = [], len(ask[0].value or b"")
            page.append(ask)
        yield page

    def _poll(self, owner: bytes, asks: list[_Asked]) -> None:
        cluster = self._cluster
        over = False

        def heard(votes: list[Vote | None]) -> None:
            nonlocal over
            if not over:
                over = True
                for (question, hear), vote in zip(asks, votes, strict=True):
                    call_safely(hear, self._sound(owner, question, vote))

        def replied(reply: Reply) -> None:
            if isinstance(reply, Polled) and len(reply.votes) == len(asks):
                heard(reply.votes)
            else:
                cluster.learn(reply)
                heard([None] * len(asks))

        questions = [question for question, _ in asks]
        if owner == cluster.me.node_id:
            self._voting.poll(questions, heard)
        elif not cluster.links.is_reachable(owner):
            heard([None] * len(asks))
        else:
            message = Poll(cluster.version, questions)
            cluster.links.call(owner, message, replied, lambda: heard([None] * len(asks)), POLL_TIMEOUT_S)

    def _sound(self, owner: bytes, question: Question, vote: Vote | None) -> Vote | None:
        """A vote, if it can be one."""
        flaw = vote_flaw(question.key, vote) if vote is not None else ""
        if flaw:
            self._cluster.links.refuse_record(owner, flaw)
            return None
        return vote
