"""Traps: a node is left alone until it does a certain thing, and struck right then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from dynatwist.model.record import Key
from dynatwist.storage.effects import Effect, Held
from dynatwist.storage.entries import Accepted, AnyEntry, Promised

from ..cluster import SimNode
from ..world import Process
from .storm import Fault, Storm
from .wounds import Wounds


class Traps:
    """See the module.

    :param on_caught: told of the key of a forwarded write whose owner has just been caught with it.
    """

    def __init__(self, storm: Storm, wounds: Wounds, on_caught: Callable[[Key], None]) -> None:
        self._storm = storm
        self._network = storm.cluster.network
        self._wounds = wounds
        self._on_caught = on_caught

    def kinds(self) -> Mapping[str, Fault]:
        """See `Family`."""
        return {"vote_cuts": self._cut_power_at_vote, "ambushes": self._ambush}

    def _cut_power_at_vote(self, node: SimNode) -> bool:
        core, process, storm = node.core, node.process, self._storm
        if core is None:
            return False
        store = core.store

        def vote(entry: AnyEntry, effect: Effect) -> None:
            if isinstance(entry, Promised | Accepted):
                store.ignore(vote)
                after_s = storm.random.choice((0.0005, 0.003, 0.01)) * storm.random.random()
                storm.world.later(after_s, partial(node.kill, power=True), process)
                storm.soon(partial(self._wounds.restart, node), 0.1, 1.0)

        store.observe(vote)
        return storm.say(f"{node.host} will lose power when it votes")

    def _ambush(self, node: SimNode) -> bool:
        """Whoever has forwarded the next write to this node does not hear of it for a while, or never."""
        core, process, storm = node.core, node.process, self._storm
        if core is None or process is None:
            return False
        store = core.store

        def written(entry: AnyEntry, effect: Effect) -> None:
            if isinstance(effect, Held) and effect.record.op and effect.record.dot.actor == store.actor:
                store.ignore(written)
                after_s = storm.random.choice((0.0, 0.0005, 0.003))
                storm.world.later(after_s, partial(self._spring, node, process, effect.key))

        store.observe(written)
        return storm.say(f"{node.host} is waited for")

    def _spring(self, node: SimNode, process: Process, key: Key) -> None:
        storm, random = self._storm, self._storm.random
        others = [one.host for one in storm.others(node) if random.random() < 0.6]
        if not storm.is_raging or not process.alive or process.paused or not others:
            return
        storm.say(f"{node.host} is caught with a forwarded write")
        self._on_caught(key)
        way = random.choice(("frozen", "slow", "slow", "cut"))
        if way == "frozen":
            process.pause()
            storm.soon(process.thaw, 0.1, 1.5)
        elif way == "cut":
            self._network.cut([node.host], others, one_way=True)
            storm.soon(partial(self._network.mend, node.host), 0.2, 1.5)
        else:
            self._slow(node, others)

    def _slow(self, node: SimNode, others: list[str]) -> None:
        """It is slow to be heard by some; each of them hears it in time again at another moment."""
        late_s = self._storm.random.uniform(0.1, 0.9)
        for other in others:
            self._network.slow(node.host, other, late_s)
            self._storm.soon(partial(self._network.slow, node.host, other, 0.0), 0.05, 0.5)
