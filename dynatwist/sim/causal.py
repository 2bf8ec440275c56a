"""Sessions with causal tokens: each sends the token of what it saw along, and must not be shown anything older."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from dynatwist.api.request import Request
from dynatwist.model.record import Key, Record
from dynatwist.model.ring import partition_of

from .clients import KINDS, LEVELS, Clients
from .cluster import SimNode
from .history import Call
from .order import is_preferred
from .plan import Load
from .world import World

SESSIONS = 3
PATIENCE_S = 8.0
"""A session whose request was not answered by then goes on: its node died."""


@dataclass(slots=True)
class _Session:
    """One session: what it saw last of each key, as the merge order has it."""

    name: str
    token: str = ""
    saw: dict[Key, Record] = field(default_factory=dict)
    busy: bool = False


class Causal:
    """See the module."""

    def __init__(self, world: World, clients: Clients, load: Load) -> None:
        self._world = world
        self._clients = clients
        self._load = load
        self._sessions = [_Session(f"causal{number}") for number in range(SESSIONS)]

    def ask(self, node: SimNode) -> None:
        """An idle session asks for something."""
        random = self._world.random
        idle = [session for session in self._sessions if not session.busy]
        if not idle:
            return
        session = random.choice(idle)
        key = random.choice(self._clients.keys.all)
        kind = random.choices(KINDS, (3, 1, 0, 5))[0]
        session.busy = True
        level = random.choices(LEVELS, self._load.levels)[0]
        call = self._clients.ask(
            node, session.name, kind, key, level, token=session.token, then=partial(self._saw, session)
        )
        self._world.later(PATIENCE_S, lambda: self._release(session, call))

    def _release(self, session: _Session, call: Call) -> None:
        if not call.code:
            session.busy = False  # its node died

    def _saw(self, session: _Session, call: Call) -> None:
        session.busy = False
        if call.record is None:
            return  # an absent key: the final judgement knows whether it may be
        before = session.saw.get(call.key)
        if before is not None and is_preferred(before, call.record):
            self._clients.say(f"P6: {call.text()}, which is older than what its token names, {before.value!r}")
        session.saw[call.key] = call.record
        token = Request(headers={"x-causal-token": session.token} if session.token else {}).causal()
        session.token = token.with_dot(partition_of(*call.key), call.record.dot).render()
