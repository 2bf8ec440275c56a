"""Proposers that race for one register, read it, and come back to it later: registrations are too rare for that.

What a register holds names all requests that have changed it since it was created; versions grow over deletes. So what
anybody is told shows a history, and the histories that are told have to be one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import msgspec

from dynatwist.agreement.rewriting import Rewriting
from dynatwist.agreement.turns import Ended
from dynatwist.core import Core
from dynatwist.model.record import Draft, Key, Record

from .cluster import SimCluster, SimNode
from .recurring import Recurring
from .register_history import Told, judge
from .witness import Witness

TABLE = "_rivals"
"""A table of the system: all members vote."""
RETURNING = 0.6
"""Share of proposals for a register of lately."""
REMEMBERED = 6
ASKED_FOR_S = 2.0
"""When whoever asks gives up."""
TOGETHER_S = 0.01
"""Within so short a time rivals begin: their messages cross each other."""


@dataclass(slots=True, eq=False)
class _Register:
    """One register, and what was told of it."""

    key: Key
    told: list[Told] = field(default_factory=list)


class Rivals:
    """See the module.

    :param rate_s: races in a second.
    """

    def __init__(self, cluster: SimCluster, witness: Witness, *, rate_s: float) -> None:
        self._cluster = cluster
        self._witness = witness
        self._random = Random(f"rivals {cluster.world.seed}")
        self._proposing = Recurring(cluster.world, rate_s, self._race, self._random)
        self._registers: list[_Register] = []
        self._count = 0
        self._requests = 0

    def start(self) -> None:
        """Begin to propose."""
        self._proposing.start()

    def stop(self) -> None:
        """No more proposals."""
        self._proposing.stop()

    def _race(self) -> None:
        random = self._random
        nodes = self._cluster.ready_nodes()
        if not nodes:
            return
        self._registers = self._registers[-REMEMBERED:]
        if not self._registers or random.random() >= RETURNING:
            self._registers.append(self._new())
        register = random.choice(self._registers)
        for _ in range(random.choice((1, 2, 2, 3))):
            node, ask = random.choice(nodes), random.choice((self._append, self._append, self._read, self._remove))
            self._cluster.world.later(
                random.uniform(0.0, TOGETHER_S),
                lambda node=node, ask=ask: ask(node, register),  # type: ignore[misc]
            )

    def _new(self) -> _Register:
        self._count += 1
        return _Register((TABLE, f"r{self._count}"))

    def new_slot(self) -> Callable[[SimNode], None]:
        """A register that nobody has asked for; answers what has a node change it in its own way."""
        register = self._new()
        return lambda node: self._append(node, register)

    # Requests

    def _append(self, node: SimNode, register: _Register) -> None:
        """Add this request to those that the value names."""
        self._requests += 1
        number = self._requests

        def draft(held: Record | None) -> Draft | None:
            value = msgspec.json.encode({"ids": [*ids_of(held), number]})
            has_room = node.core is not None and node.core.coordinator.deciding.has_room(register.key, value)
            return Draft(value, "rivals") if has_room else None

        self._change(node, register, draft, number)

    def _remove(self, node: SimNode, register: _Register) -> None:
        def draft(held: Record | None) -> Draft | None:
            return Draft(None, "rivals") if held is not None and held.value is not None else None

        self._change(node, register, draft, 0)

    def _read(self, node: SimNode, register: _Register) -> None:
        told = self._begin(register, is_removal=False, number=0)
        self._on(node, lambda core: core.registers.read(register.key, self._until_s(core), self._ended(register, told)))

    def _change(
        self, node: SimNode, register: _Register, draft: Callable[[Record | None], Draft | None], number: int
    ) -> None:
        told = self._begin(register, is_removal=not number, number=number)

        def begin(core: Core) -> None:
            rewriting = Rewriting(core.store, register.key, draft)
            ended = self._ended(register, told)

            def over(end: Ended) -> None:
                mine = rewriting.result(end)
                ended(end, mine)

            core.registers.change(register.key, rewriting, self._until_s(core), over)

        self._on(node, begin)

    def _on(self, node: SimNode, ask: Callable[[Core], None]) -> None:
        if node.core is not None and node.process is not None and node.process.alive:
            node.process.run(ask, node.core)

    def _until_s(self, core: Core) -> float:
        return core.cluster.runtime.monotonic_s() + ASKED_FOR_S

    def _begin(self, register: _Register, *, is_removal: bool, number: int) -> Told:
        told = Told(self._cluster.world.now_s, number=number, is_removal=is_removal)
        register.told.append(told)
        return told

    def _ended(self, register: _Register, told: Told) -> Callable[..., None]:
        def ended(end: Ended, mine: Record | None = None) -> None:
            if end.chosen is None:
                return
            record = mine or end.record
            told.end(self._cluster.world.now_s, record, ids_of(record), is_mine=mine is not None)
            for flaw in judge(register.told, told):
                self._witness.say(f"P9: register {register.key[1]}: {flaw}")

        return ended


def ids_of(record: Record | None) -> tuple[int, ...]:
    """The requests that a value names."""
    if record is None or record.value is None:
        return ()
    return tuple(msgspec.json.decode(record.value)["ids"])
