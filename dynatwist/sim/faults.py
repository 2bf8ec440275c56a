"""Makes things go wrong, as a seed's plan says, and well again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import ensureDeferred

from dynatwist.agreement.rotation import RotationRefused
from dynatwist.model.record import Key
from dynatwist.model.registry import Registry, majority
from dynatwist.storage.effects import Effect, Held
from dynatwist.storage.entries import AnyEntry, MetaSet

from .cluster import EPOCH_MS, SMALLEST, SimCluster, SimNode
from .network import Weather
from .plan import DAMAGING, KINDS, Faults
from .world import Process

LARGEST = 9
DOWN_S = (0.2, 4.0)
JUMPS_MS = (30_000, 3_600_000, 7_200_000, 86_400_000, 10 * 365 * 86_400_000)

FOREIGN = (
    "notes.txt", "identity-c", "identity-a.bak", "wal/copy of 1.wal", "wal/99.wal", "wal/000000000003.wal.gz",
    "wal/lost+found/x.wal", "wal/manifest-000000000001", "cold/manifest-000000000001.bak", "cold/manifest-2",
    "cold/manifest-", "cold/000000000001.tar", "cold/readme", "cold/000000000002/mine", "cold/lost+found/x",
    "cold/backup/0000.storage.db",
)  # fmt: skip
LEFTOVERS = (
    "identity-a.new", "identity-b.new", "cold/manifest-000000000003.new", "cold/manifest-000000000040.new",
    "cold/000000000002/0000.storage.db.new", "cold/000000000030/0001.storage.db.new",
    "cold/000000000031/0000.storage.db",
)  # fmt: skip

OnDamage = Callable[[SimNode, bool], None]
"""Told that what a node held may be gone for good; and whether it is to find out by itself."""


class Mischief:
    """See the module.

    :ivar struck: how often each fault happened.
    :ivar on_caught: told of the key of a forwarded write whose owner has just been caught with it.
    """

    def __init__(self, cluster: SimCluster, faults: Faults, on_damage: OnDamage) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._faults = faults
        self._on_damage = on_damage
        self._running = False
        self._storm = 0
        self._burnt: set[bytes] = set()
        self._jumped: dict[SimNode, int] = {}
        self._wounded: dict[SimNode, Process] = {}
        self._images: dict[int, tuple[bytes, dict[str, bytes]]] = {}
        self.struck: dict[str, int] = {}
        self.on_caught: Callable[[Key], None] = lambda key: None

    def start(self) -> None:
        """A storm begins."""
        self._running = True
        self._storm += 1
        faults = self._faults
        self._cluster.network.weather = Weather(faults.loss, faults.duplication, faults.delays, faults.garbling)
        for kind in KINDS:
            self._plan(kind, self._storm)

    def stop(self) -> None:
        """Everything is well again: all healed, thawed, with room on the disk, on time, and started."""
        self._running = False
        self._cluster.network.weather = Weather(delays=0.0)
        self._cluster.network.heal()
        for node in self._cluster.nodes:
            node.disk.crash_after = 0
            node.disk.fails_sync = False
            node.disk.relieve(self._world.now_s)
            node.disk.stall_s = 0.0
            if node.process is not None:
                node.process.thaw()
        self._set_clocks()
        self.tidy()

    def _set_clocks(self) -> None:
        """All but one are set right; that one may stay as wrong as it is."""
        for node, skew_ms in self._jumped.items():
            node.set_clock(skew_ms)
        self._jumped.clear()
        wrong = [node for node in self._cluster.active() if abs(node.skew_ms) > 5_000]
        for node in wrong[:-1]:
            node.set_clock(0)

    def tidy(self) -> None:
        """Do what an operator does: start what is down, forget what has burnt, switch off what was struck out."""
        for node in self._cluster.nodes:
            core = node.core
            if core is not None and core.cluster.ownership.is_removed and not core.repair.surplus():
                self._retire(node)
            elif not node.running and not node.retired:
                node.start()
        for core in self._cluster.cores():
            if core.cluster.standing.is_ready:
                for node_id in self._burnt_members():
                    core.registrar.forget(node_id)

    def _burnt_members(self) -> list[bytes]:
        """Ids that will not return, and that the registry has, or has again: a join may have been under way."""
        registry = self._cluster.registry()
        return sorted(self._burnt & registry.ids) if registry is not None else []

    def is_tidy(self) -> bool:
        """Whether nothing is left for `tidy` to do."""
        return not self._burnt_members() and all(
            node.retired or (node.core is not None and not node.core.cluster.ownership.is_removed)
            for node in self._cluster.nodes
        )

    def _may_damage(self) -> bool:
        """Whether every copy is where it should be, on disk at least: one loss at a time."""
        healed = [node for node, process in self._wounded.items() if node.retired or self._has_recovered(node, process)]
        for node in healed:
            del self._wounded[node]
        registry = self._cluster.registry()
        return (
            not self._wounded
            and not self._burnt_members()
            and registry is not None
            and not registry.changing
            and not any(
                core.cluster.ownership.is_removed or core.cluster.standing.not_whole() or core.repair.surplus()
                for core in self._cluster.cores()
            )
        )

    def _has_recovered(self, node: SimNode, before: Process) -> bool:
        core = node.core
        return (
            node.process is not before
            and core is not None
            and core.cluster.standing.is_ready
            and not core.cluster.standing.not_whole()
        )

    # Planning

    def _plan(self, kind: str, storm: int) -> None:
        per_ten_s = getattr(self._faults, kind)
        if per_ten_s > 0:
            delay_s = self._world.random.expovariate(per_ten_s / 10)
            self._world.later(delay_s, lambda: self._strike(kind, storm))

    def _strike(self, kind: str, storm: int) -> None:
        if not self._running or storm != self._storm:
            return
        self._plan(kind, storm)
        node = self._world.random.choice(self._cluster.active())
        if kind in DAMAGING and not self._may_damage():
            return
        if not getattr(self, f"_{kind}")(node):
            return
        self.struck[kind] = self.struck.get(kind, 0) + 1
        for down in self._cluster.nodes:
            if not down.running:
                self._soon(lambda down=down: self._restart(down), *DOWN_S)  # type: ignore[misc]

    def _soon(self, call: Callable[[], object], least_s: float, most_s: float) -> None:
        """Call after a while, unless the storm is over by then: `stop` has mended everything."""
        storm = self._storm

        def due() -> None:
            if self._running and storm == self._storm:
                call()

        self._world.later(self._world.random.uniform(least_s, most_s), due)

    def _restart(self, node: SimNode) -> None:
        if node.running or node.retired:
            return
        node.start()
        if node in self._wounded and self._world.random.random() < 0.7:
            self._soon(lambda: self._relapse(node), 0.005, self._world.random.choice((0.03, 0.1, 0.4)))

    def _relapse(self, node: SimNode) -> None:
        """It has just found its damage, and is not done with it: what it does now has to outlive this."""
        self._say(f"{node.host} dies again")
        node.kill(power=self._faults.power_cuts > 0 and self._world.random.random() < 0.5)
        self._soon(lambda: self._restart(node), 0.05, 0.5)

    def _say(self, text: str) -> bool:
        self._world.say(f"fault: {text}")
        return True

    # The network

    def _partitions(self, node: SimNode, one_way: bool = False) -> bool:
        random, network = self._world.random, self._cluster.network
        hosts = [one.host for one in self._cluster.active()]
        random.shuffle(hosts)
        split = random.randint(1, len(hosts) - 1)
        network.cut(hosts[:split], hosts[split:], one_way)
        self._soon(network.heal, 0.3, random.choice((2.0, 8.0)))
        return self._say(f"{hosts[:split]} {'do not reach' if one_way else 'are cut off from'} {hosts[split:]}")

    def _one_way(self, node: SimNode) -> bool:
        return self._partitions(node, one_way=True)

    def _swizzles(self, node: SimNode) -> bool:
        random, network = self._world.random, self._cluster.network
        everyone = [one.host for one in self._cluster.active()]
        chosen = random.sample(everyone, random.randint(1, len(everyone)))
        for host in chosen:
            self._soon(lambda host=host: network.cut([host], set(everyone) - {host}), 0.0, 1.0)  # type: ignore[misc]
            self._soon(lambda host=host: network.mend(host), 1.0, 5.0)  # type: ignore[misc]
        return self._say(f"{chosen} lose the network one by one")

    def _absences(self, node: SimNode) -> bool:
        network = self._cluster.network
        hosts = {one.host for one in self._cluster.active()}
        network.cut([node.host], hosts - {node.host})
        self._soon(lambda: network.mend(node.host), 6.0, 30.0)
        return self._say(f"{node.host} is away for long")

    def _stuck_links(self, node: SimNode) -> bool:
        random = self._world.random
        streams = list(self._cluster.network.hosts[node.host].streams.values()) if node.running else []
        if not streams:
            return False
        stream = random.choice(streams)
        stream.stuck_until_s = self._world.now_s + random.uniform(0.2, 8.0)
        return self._say(f"a connection of {node.host} carries nothing until {stream.stuck_until_s:.1f}")

    def _slow_links(self, node: SimNode) -> bool:
        random, network = self._world.random, self._cluster.network
        other = random.choice(self._cluster.active())
        network.slow(node.host, other.host, random.uniform(0.05, 0.6))
        self._soon(lambda: network.slow(node.host, other.host, 0.0), 0.5, 5.0)
        return self._say(f"slow from {node.host} to {other.host}")

    # Processes

    def _pauses(self, node: SimNode) -> bool:
        process = node.process
        if process is None or not node.awake:
            return False
        process.pause()
        self._soon(process.thaw, 0.05, self._world.random.choice((0.4, 4.0)))
        return self._say(f"{node.host} is paused")

    def _kills(self, node: SimNode) -> bool:
        node.kill()
        return True

    def _mass_kills(self, node: SimNode) -> bool:
        power = self._faults.power_cuts > 0 and self._world.random.random() < 0.5
        for one in self._cluster.nodes:
            one.kill(power)
        return self._say("all are killed")

    def _power_cuts(self, node: SimNode) -> bool:
        node.kill(power=True)
        return True

    def _crashes_at_sync(self, node: SimNode) -> bool:
        node.disk.crash_after = self._world.random.randint(1, 12)
        return self._say(f"{node.host} will crash at sync {node.disk.crash_after} from now")

    def _leaves(self, node: SimNode) -> bool:
        node.stop()
        self._soon(lambda: self._restart(node), 1.0, 5.0)
        return True

    # Disks and clocks

    def _slow_disks(self, node: SimNode) -> bool:
        disk = node.disk
        disk.stall_s = self._world.random.choice((0.02, 0.1, 0.5))
        self._soon(lambda: setattr(disk, "stall_s", 0.0), 0.5, 4.0)
        return self._say(f"the disk of {node.host} is slow")

    def _full_disks(self, node: SimNode) -> bool:
        """There is little room, or none; later there is, unless deletes and cold saves make it before."""
        random, disk = self._world.random, node.disk
        room_bytes = random.choice((0, 0, 500, 3_000, 12_000))
        disk.cramp(room_bytes)
        self._soon(lambda: disk.relieve(self._world.now_s), 0.2, random.choice((3.0, 10.0)))
        return self._say(f"the disk of {node.host} has room for {room_bytes} bytes")

    def _descriptors(self, node: SimNode) -> bool:
        """At once, or in the middle of a cold save or a new segment."""
        node.disk.cramp(None)
        node.disk.opens_left = self._world.random.choice((0, 0, 1, 2, 3, 4, 6))
        self._soon(lambda: node.disk.relieve(self._world.now_s), 0.2, 3.0)
        return self._say(f"{node.host} may open no more files")

    def _sync_errors(self, node: SimNode) -> bool:
        node.disk.fails_sync = True
        return self._say(f"the next sync of {node.host} fails")

    def _clocks(self, node: SimNode) -> bool:
        random = self._world.random
        if random.random() < 0.15:
            node.kill()
            node.set_clock(-EPOCH_MS)
        else:
            node.set_clock(random.choice((-60_000, -9_000, -500, -20, 0, 20, 500, 9_000, 60_000)))
        return self._say(f"the clock of {node.host} is off by {node.skew_ms} ms")

    def _jumps(self, node: SimNode) -> bool:
        random = self._world.random
        if node in self._jumped or node.skew_ms == -EPOCH_MS:
            return False
        self._jumped[node] = node.skew_ms
        node.set_clock(node.skew_ms + random.choice((-1, 1, 1, 1)) * random.choice(JUMPS_MS))
        self._soon(lambda: node.set_clock(self._jumped.pop(node)), 0.05, random.choice((0.5, 2.0, 5.0)))
        return self._say(f"the clock of {node.host} is off by {node.skew_ms} ms for a moment")

    def _rotations(self, node: SimNode) -> bool:
        """Where a member cannot be reached, it is refused, and may be done in part."""
        core, process, random = node.core, node.process, self._world.random
        if random.random() < 0.3:
            keys = self._cluster.keys
            self._cluster.keys = replace(keys, storage=(random.randbytes(32), *keys.storage))
            return self._say("there is a new storage secret")
        if core is None or process is None or not core.cluster.standing.is_ready:
            return False
        rotation = core.handlers.keys.rotation
        process.run(lambda: ensureDeferred(rotation.rotate()).addErrback(lambda failure: failure.trap(RotationRefused)))
        return self._say(f"{node.host} has the cluster's secret changed")

    # Damage

    def _down_for_damage(self, node: SimNode, unseen: bool = True) -> list[str]:
        """Kill a node that is about to lose something; answers its files."""
        if not node.disk.paths() or len(self._cluster.active()) < SMALLEST:
            return []
        assert node.process is not None
        node.kill()
        self._wounded[node] = node.process
        self._on_damage(node, unseen)
        return node.disk.paths()

    def _flips(self, node: SimNode) -> bool:
        paths = self._down_for_damage(node)
        if not paths:
            return False
        path = self._world.random.choice(paths)
        node.disk.damage(path, self._world.random.randint(1, 8))
        return self._say(f"bits of {path} are flipped")

    def _misdirected(self, node: SimNode) -> bool:
        paths = self._down_for_damage(node)
        if not paths:
            return False
        path = self._world.random.choice(paths)
        node.disk.misdirect(self._world.random.choice(paths), path)
        return self._say(f"a write went to {path} instead")

    def _lost_files(self, node: SimNode) -> bool:
        paths = [path for path in self._down_for_damage(node) if not node.disk.is_newest_log(path)]
        if not paths:
            return False
        path = self._world.random.choice(paths)
        node.disk.lose(path)
        return self._say(f"{path} is lost")

    def _unreadable(self, node: SimNode) -> bool:
        paths = self._down_for_damage(node)
        if not paths:
            return False
        path = self._world.random.choice(paths)
        node.disk.lose_sector(path)
        return self._say(f"{path} cannot be read")

    def _lost_logs(self, node: SimNode) -> bool:
        if not self._down_for_damage(node):
            return False
        node.disk.lose_log()
        return self._say(f"the log of {node.host} is lost")

    def _foreign(self, node: SimNode) -> bool:
        """Somebody leaves files in the folder while the node is down; or a crash did, and left a folder empty."""
        node.kill()
        random, folder = self._world.random, f"/sim/{node.number}"
        for name in random.sample(FOREIGN, 3):
            node.disk.put(f"{folder}/{name}", random.randbytes(random.randrange(60)), True)
        for name in random.sample(LEFTOVERS, 2):
            node.disk.put(f"{folder}/{name}", random.randbytes(random.randrange(60)), False)
        node.disk.make_folder(f"{folder}/cold/{random.randrange(40):012d}")
        return self._say(f"foreign files in the folder of {node.host}")

    def _backups(self, node: SimNode) -> bool:
        """Take a backup, or restart on the one taken before."""
        core = node.core
        registry = core.cluster.registry if core is not None else None
        if core is None or registry is None:
            return False
        kept = self._image_of(node)
        if kept is None:
            self._images[node.number] = (core.identity.node_id, node.disk.image())
            return self._say(f"a backup of {node.host}")
        if not all(core.cluster.peers.is_reachable(member) for member in registry.ids):
            return False  # they would not remember how far it had come
        self._down_for_damage(node, unseen=False)
        node.disk.restore(kept)
        del self._images[node.number]
        return self._say(f"{node.host} is restored from its backup")

    def _image_of(self, node: SimNode) -> dict[str, bytes] | None:
        node_id, image = self._images.get(node.number, (b"", None))
        return image if node.core is not None and node.core.identity.node_id == node_id else None

    def _corners(self, node: SimNode) -> bool:
        """One that has missed the last writes is soon the only one that a damaged one reaches."""
        random, network = self._world.random, self._cluster.network
        others = [one for one in self._cluster.active() if one is not node]
        if len(others) < SMALLEST - 1 or not node.running:
            return False
        ignorant, lost = random.sample(others, 2)
        hosts = {one.host for one in self._cluster.active()}
        network.cut([ignorant.host], hosts - {ignorant.host})

        def turn() -> None:
            network.mend(ignorant.host)
            network.cut([lost.host], hosts - {lost.host})
            if node.running and self._may_damage():
                self._flips(node)
                self._soon(lambda: self._restart(node), 0.1, 0.4)
            self._soon(lambda: network.mend(lost.host), 2.0, 5.0)

        self._soon(turn, 0.5, 2.0)
        return self._say(f"{node.host} is driven into a corner, with {ignorant.host}, without {lost.host}")

    # Membership

    def _strandings(self, node: SimNode) -> bool:
        """A node is cut off, and the others change their members meanwhile."""
        network = self._cluster.network
        hosts = {one.host for one in self._cluster.active()}
        network.cut([node.host], hosts - {node.host})
        self._soon(lambda: network.mend(node.host), 2.0, 5.0)
        others = [one for one in self._cluster.active() if one is not node]
        return self._joins(node) or bool(others and self._forgets(self._world.random.choice(others)))

    def _wipes(self, node: SimNode) -> bool:
        core = node.core
        if core is None or len(self._cluster.active()) < SMALLEST:
            return False
        self._burnt.add(core.identity.node_id)
        self._down_for_damage(node, unseen=False)
        node.disk.wipe()
        self._images.pop(node.number, None)
        if self._world.random.random() < 0.7:
            self._soon(self.tidy, 0.5, 6.0)
        return self._say(f"{node.host} has an empty disk")

    def _burns(self, node: SimNode) -> None:
        """It comes back with an empty disk, as another one; somebody has the old one struck out sooner or later."""
        core = node.core
        if core is not None and self._down_for_damage(node, unseen=False):
            burnt = core.identity.node_id
            self._burnt.add(burnt)
            node.disk.wipe()
            self._images.pop(node.number, None)
            self._soon(lambda: self._strike_out(burnt), 0.0, 2.0)
            self._say(f"{node.host} burns down")

    def _strike_out(self, node_id: bytes) -> None:
        able = [core for core in self._cluster.cores() if core.cluster.standing.is_ready]
        if able:
            self._world.random.choice(able).registrar.forget(node_id)

    def _double_burns(self, node: SimNode) -> bool:
        members = [one for one in self._cluster.active() if one.core is not None]
        if len(members) < 5:
            return False
        for one in self._world.random.sample(members, 2):
            self._burns(one)
        return True

    def _upheavals(self, node: SimNode) -> bool:
        """Some join, another one is struck out in the same moment, and then somebody burns down."""
        random = self._world.random
        members = [one for one in self._cluster.active() if one.core is not None]
        for _ in range(random.choice((0, 1, 1, 2))):
            self._joins(node)
        joined = [one for one in self._cluster.active() if one not in members]
        if (not joined or random.random() < 0.5) and not self._forgets(random.choice(members)):
            return bool(joined)

        def burn() -> None:
            registry = self._cluster.registry()
            victim = random.choice(random.choice((joined, members)) or members)
            if registry is None or not registry.changing or victim.core is None or self._wounded:
                return
            if _can_spare(registry, victim.core.identity.node_id):
                self._burns(victim)

        for most_s in (0.5, 2.0):
            self._soon(burn, 0.05, most_s)
        return self._say("an upheaval")

    def _vote_cuts(self, node: SimNode) -> bool:
        core, process = node.core, node.process
        if core is None:
            return False
        store = core.store

        def vote(entry: AnyEntry, effect: Effect) -> None:
            if isinstance(entry, MetaSet) and entry.name.startswith("vote "):
                store.ignore(vote)
                after_s = self._world.random.choice((0.0005, 0.003, 0.01)) * self._world.random.random()
                self._world.later(after_s, lambda: node.kill(power=True), process)
                self._soon(lambda: self._restart(node), 0.1, 1.0)

        store.observe(vote)
        return self._say(f"{node.host} will lose power when it votes")

    def _ambushes(self, node: SimNode) -> bool:
        """Whoever has forwarded the next write to this node does not hear of it for a while, or never."""
        core, process = node.core, node.process
        if core is None or process is None:
            return False
        random, store = self._world.random, core.store

        def written(entry: AnyEntry, effect: Effect) -> None:
            if isinstance(effect, Held) and effect.record.op and effect.record.dot.actor == store.actor:
                store.ignore(written)
                self._world.later(random.choice((0.0, 0.0005, 0.003)), lambda: self._spring(node, process, effect.key))

        store.observe(written)
        return self._say(f"{node.host} is waited for")

    def _spring(self, node: SimNode, process: Process, key: Key) -> None:
        random, network = self._world.random, self._cluster.network
        others = [one.host for one in self._cluster.active() if one is not node and random.random() < 0.6]
        if not self._running or not process.alive or process.paused or not others:
            return
        self._say(f"{node.host} is caught with a forwarded write")
        self.on_caught(key)
        way = random.choice(("frozen", "slow", "slow", "cut"))
        if way == "frozen":
            process.pause()
            self._soon(process.thaw, 0.1, 1.5)
        elif way == "cut":
            network.cut([node.host], others, one_way=True)
            self._soon(lambda: network.mend(node.host), 0.2, 1.5)
        else:
            late_s = random.uniform(0.1, 0.9)
            for other in others:
                network.slow(node.host, other, late_s)
                self._soon(lambda other=other: network.slow(node.host, other, 0.0), 0.05, 0.5)  # type: ignore[misc]

    def _joins(self, node: SimNode) -> bool:
        if len(self._cluster.active()) >= LARGEST:
            return False
        added = self._cluster.add()
        added.start()
        if self._world.random.random() < 0.5:  # it fills slowly
            added.disk.stall_s = self._world.random.uniform(0.05, 0.4)
            self._soon(lambda: setattr(added.disk, "stall_s", 0.0), 1.0, 4.0)
        return self._say(f"{added.host} joins")

    def _forgets(self, node: SimNode) -> bool:
        core = node.core
        able = [one for one in self._cluster.cores() if one.cluster.standing.is_ready]
        registry = self._cluster.registry()
        members = len(registry.ids - self._burnt) if registry is not None else 0  # who is just joining is none yet
        if core is None or not able or min(members, len(self._cluster.active())) <= SMALLEST:
            return False
        self._world.random.choice(able).registrar.forget(core.identity.node_id)
        for delay_s in (3.0, 6.0, 9.0):
            self._soon(self.tidy, delay_s, delay_s)
        return self._say(f"{node.host} is to be forgotten")

    def _retire(self, node: SimNode) -> None:
        """It is no member, and has handed off everything: switch it off for good."""
        self._say(f"{node.host} is switched off for good")
        self._on_damage(node, False)
        if node.core is not None:
            self._burnt.add(node.core.identity.node_id)  # it may have asked to join again just before
        node.retired = True
        node.kill()
        self._images.pop(node.number, None)


def _can_spare(registry: Registry, node_id: bytes) -> bool:
    """Whether the others could go on without a node: of two old members both are needed to end a change."""
    groups = (registry.previous_ids, registry.ids)
    return all(len(group - {node_id}) >= majority(len(group)) for group in groups if group)
