"""Faults of disks that harm nothing durable: slow, full, out of descriptors, a failed sync, and strangers' files."""

from __future__ import annotations

from collections.abc import Mapping

from ..cluster import SimNode
from .storm import Fault, Storm

FOREIGN = (
    "notes.txt", "identity-c", "identity-a.bak", "wal/copy of 1.wal", "wal/99.wal", "wal/000000000003.wal.gz",
    "wal/lost+found/x.wal", "wal/manifest-000000000001", "cold/manifest-000000000001.bak", "cold/manifest-2",
    "cold/manifest-", "cold/000000000001.tar", "cold/readme", "cold/000000000002/mine", "cold/lost+found/x",
    "cold/backup/0000.storage.db",
)  # fmt: skip
"""Files of somebody else, which have to stay."""
LEFTOVERS = (
    "identity-a.new", "identity-b.new", "cold/manifest-000000000003.new", "cold/manifest-000000000040.new",
    "cold/000000000002/0000.storage.db.new", "cold/000000000030/0001.storage.db.new",
    "cold/000000000031/0000.storage.db",
)  # fmt: skip
"""What a crash may have left half written."""


class Disks:
    """See the module."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm

    def kinds(self) -> Mapping[str, Fault]:
        """See `Family`."""
        return {
            "slow_disks": self._slow,
            "full_disks": self._fill,
            "descriptors": self._take_descriptors,
            "sync_errors": self._fail_sync,
            "foreign": self._leave_foreign,
        }

    def _slow(self, node: SimNode) -> bool:
        disk = node.disk
        disk.stall_s = self._storm.random.choice((0.02, 0.1, 0.5))
        self._storm.soon(lambda: setattr(disk, "stall_s", 0.0), 0.5, 4.0)
        return self._storm.say(f"the disk of {node.host} is slow")

    def _fill(self, node: SimNode) -> bool:
        """There is little room, or none; later there is, unless deletes and cold saves make it before."""
        random, disk = self._storm.random, node.disk
        room_bytes = random.choice((0, 0, 500, 3_000, 12_000))
        disk.cramp(room_bytes)
        self._storm.soon(lambda: disk.relieve(self._storm.world.now_s), 0.2, random.choice((3.0, 10.0)))
        return self._storm.say(f"the disk of {node.host} has room for {room_bytes} bytes")

    def _take_descriptors(self, node: SimNode) -> bool:
        """At once, or in the middle of a cold save or a new segment."""
        disk = node.disk
        disk.cramp(None)
        disk.opens_left = self._storm.random.choice((0, 0, 1, 2, 3, 4, 6))
        self._storm.soon(lambda: disk.relieve(self._storm.world.now_s), 0.2, 3.0)
        return self._storm.say(f"{node.host} may open no more files")

    def _fail_sync(self, node: SimNode) -> bool:
        node.disk.fails_sync = True
        return self._storm.say(f"the next sync of {node.host} fails")

    def _leave_foreign(self, node: SimNode) -> bool:
        """Somebody leaves files in the folder while the node is down; or a crash did, and left a folder empty."""
        node.kill()
        random, folder = self._storm.random, f"/sim/{node.number}"
        for name in random.sample(FOREIGN, 3):
            node.disk.put(f"{folder}/{name}", random.randbytes(random.randrange(60)), True)
        for name in random.sample(LEFTOVERS, 2):
            node.disk.put(f"{folder}/{name}", random.randbytes(random.randrange(60)), False)
        node.disk.make_folder(f"{folder}/cold/{random.randrange(40):012d}")
        return self._storm.say(f"foreign files in the folder of {node.host}")
