"""Faults of the network: ways between nodes are cut, slow, or carry nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..cluster import SimNode
from .storm import Fault, Storm


class Ways:
    """See the module."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm
        self._network = storm.cluster.network

    def kinds(self) -> Mapping[str, Fault]:
        """See `Family`."""
        return {
            "partitions": self._partition,
            "one_way": partial(self._partition, one_way=True),
            "swizzles": self._swizzle,
            "absences": self._send_away,
            "stuck_links": self._stick,
            "slow_links": self._slow,
        }

    def _partition(self, node: SimNode, one_way: bool = False) -> bool:
        random = self._storm.random
        hosts = [one.host for one in self._storm.cluster.active()]
        random.shuffle(hosts)
        split = random.randint(1, len(hosts) - 1)
        self._network.cut(hosts[:split], hosts[split:], one_way)
        self._storm.soon(self._network.heal, 0.3, random.choice((2.0, 8.0)))
        return self._storm.say(f"{hosts[:split]} {'do not reach' if one_way else 'are cut off from'} {hosts[split:]}")

    def _swizzle(self, node: SimNode) -> bool:
        """Some lose the network one by one, and get it back in another order."""
        random, network = self._storm.random, self._network
        everyone = [one.host for one in self._storm.cluster.active()]
        chosen = random.sample(everyone, random.randint(1, len(everyone)))
        for host in chosen:
            self._storm.soon(partial(network.cut, [host], set(everyone) - {host}), 0.0, 1.0)
            self._storm.soon(partial(network.mend, host), 1.0, 5.0)
        return self._storm.say(f"{chosen} lose the network one by one")

    def _send_away(self, node: SimNode) -> bool:
        self._network.cut([node.host], self._storm.hosts() - {node.host})
        self._storm.soon(partial(self._network.mend, node.host), 6.0, 30.0)
        return self._storm.say(f"{node.host} is away for long")

    def _stick(self, node: SimNode) -> bool:
        random = self._storm.random
        streams = list(self._network.hosts[node.host].streams.values()) if node.running else []
        if not streams:
            return False
        stream = random.choice(streams)
        stream.stuck_until_s = self._storm.world.now_s + random.uniform(0.2, 8.0)
        return self._storm.say(f"a connection of {node.host} carries nothing until {stream.stuck_until_s:.1f}")

    def _slow(self, node: SimNode) -> bool:
        random, network = self._storm.random, self._network
        other = random.choice(self._storm.cluster.active())
        network.slow(node.host, other.host, random.uniform(0.05, 0.6))
        self._storm.soon(partial(network.slow, node.host, other.host, 0.0), 0.5, 5.0)
        return self._storm.say(f"slow from {node.host} to {other.host}")
