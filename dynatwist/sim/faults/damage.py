"""Faults that take a copy away for good: while a node is down, its disk loses or changes what was durable."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..cluster import SMALLEST, SimNode
from .storm import Fault, Storm
from .wounds import Wounds


class Damage:
    """See the module."""

    def __init__(self, storm: Storm, wounds: Wounds) -> None:
        self._storm = storm
        self._wounds = wounds
        self._images: dict[int, tuple[bytes, dict[str, bytes], tuple[bytes, ...]]] = {}
        """By number of the node: its id, its disk, and the storage secrets of its key file."""

    def kinds(self) -> Mapping[str, Fault]:
        """See `Family`."""
        return {
            "flips": self._flip,
            "misdirected": self._misdirect,
            "lost_files": self._lose_file,
            "unreadable": self._lose_sector,
            "lost_logs": self._lose_log,
            "backups": self._back_up_or_restore,
            "corners": self._corner,
        }

    # Of one disk

    def _flip(self, node: SimNode) -> bool:
        paths, random = self._wounds.inflict(node), self._storm.random
        if not paths:
            return False
        path = random.choice(paths)
        node.disk.damage(path, random.randint(1, 8))
        return self._storm.say(f"bits of {path} are flipped")

    def _misdirect(self, node: SimNode) -> bool:
        paths, random = self._wounds.inflict(node), self._storm.random
        if not paths:
            return False
        path = random.choice(paths)
        node.disk.misdirect(random.choice(paths), path)
        return self._storm.say(f"a write went to {path} instead")

    def _lose_file(self, node: SimNode) -> bool:
        paths = [path for path in self._wounds.inflict(node) if not node.disk.is_newest_log(path)]
        if not paths:
            return False
        path = self._storm.random.choice(paths)
        node.disk.lose(path)
        return self._storm.say(f"{path} is lost")

    def _lose_sector(self, node: SimNode) -> bool:
        paths = self._wounds.inflict(node)
        if not paths:
            return False
        path = self._storm.random.choice(paths)
        node.disk.lose_sector(path)
        return self._storm.say(f"{path} cannot be read")

    def _lose_log(self, node: SimNode) -> bool:
        if not self._wounds.inflict(node):
            return False
        node.disk.lose_log()
        return self._storm.say(f"the log of {node.host} is lost")

    # Backups

    def _back_up_or_restore(self, node: SimNode) -> bool:
        """Take a backup, or restart on the one that was taken before, unless the node is another one by now."""
        core = node.core
        registry = core.cluster.registry if core is not None else None
        if core is None or registry is None:
            return False
        node_id, image, secrets = self._images.get(node.number, (b"", {}, ()))
        if node_id != core.identity.node_id:
            storage = self._storm.cluster.keys_of(node.number).storage
            self._images[node.number] = core.identity.node_id, node.disk.image(), storage
            return self._storm.say(f"a backup of {node.host}")
        if not all(core.cluster.peers.is_reachable(member) for member in registry.ids):
            return False  # they would not remember how far it had come
        self._wounds.inflict(node, unseen=False)
        node.disk.restore(image)
        self._storm.cluster.return_storage_secrets(node.number, secrets)
        del self._images[node.number]
        return self._storm.say(f"{node.host} is restored from its backup")

    # With others cut off

    def _corner(self, node: SimNode) -> bool:
        """One that has missed the last writes is soon the only one that a damaged one reaches."""
        storm, network = self._storm, self._storm.cluster.network
        others = storm.others(node)
        if len(others) < SMALLEST - 1 or not node.running:
            return False
        ignorant, lost = (one.host for one in storm.random.sample(others, 2))
        hosts = storm.hosts()
        network.cut([ignorant], hosts - {ignorant})

        def turn() -> None:
            network.mend(ignorant)
            network.cut([lost], hosts - {lost})
            if node.running and self._wounds.may_damage():
                self._flip(node)
                storm.soon(partial(self._wounds.restart, node), 0.1, 0.4)
            storm.soon(partial(network.mend, lost), 2.0, 5.0)

        storm.soon(turn, 0.5, 2.0)
        return storm.say(f"{node.host} is driven into a corner, with {ignorant}, without {lost}")
