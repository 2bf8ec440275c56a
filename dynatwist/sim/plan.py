"""What a seed is about: how many nodes, which faults, what load, drawn from the seed.

A seed that has everything at once hides much: a node that is killed every second never gets far enough to lose
anything. So each seed leaves many faults out and is heavy in others (Groce et al., "Swarm Testing", 2012).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from random import Random

from dynatwist.feed.bounds import HubBounds
from dynatwist.model.lineage import EXACT_CREATIONS
from dynatwist.relays.relays import INTEREST_S
from dynatwist.storage.durability import Durability

from .sizes import Sizes, draw_sizes

DAMAGING = (
    "flips", "misdirected", "lost_files", "corners", "backups", "wipes", "forgets", "unreadable", "lost_logs",
    "upheavals", "double_burns",
)  # fmt: skip
"""Faults that take a copy away for good. One at a time, and only while all other copies are whole."""


TIGHT_FEEDS = HubBounds(window_events=12, announced_bytes=1800, fans=3, queue_events=5, at_once=1, replayed=2)
"""So little is remembered that listeners are told so, again and again."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What may go wrong; each a mean number of times in ten seconds, the last four shares of all packets.

    :ivar partitions: some nodes are cut off from the others, both ways.
    :ivar one_way: the same, one way.
    :ivar swizzles: a few nodes lose the network one after another, and get it back in another order.
    :ivar stuck_links: a connection carries nothing for a while, all others do.
    :ivar slow_links: one way between two nodes takes a few tenths of a second longer.
    :ivar pauses: SIGSTOP, later SIGCONT.
    :ivar kills: kill -9.
    :ivar mass_kills: of all nodes at once.
    :ivar power_cuts: what was not synced is gone, torn or garbled.
    :ivar crashes_at_sync: power is lost in the middle of a sync or rename, a few from now.
    :ivar slow_disks: each write of a node takes a tenth of a second and more.
    :ivar full_disks: a disk has little room, or none, for a while.
    :ivar sync_errors: the next sync fails, and what it was for is gone.
    :ivar clocks: a wall clock jumps, ahead or back, by up to a minute; or a node boots in 1970.
    :ivar flips: bits of a file are flipped while its node is down.
    :ivar misdirected: a write went to the wrong file.
    :ivar lost_files: a file is gone.
    :ivar corners: one that missed the last writes is the only one that a damaged one reaches.
    :ivar backups: a node is restarted on an old copy of its disk.
    :ivar wipes: a node comes back with an empty disk, as another one, and its old id is forgotten.
    :ivar joins: a further node.
    :ivar leaves: a node is stopped in order, and started later.
    :ivar forgets: a running node is struck out.
    :ivar strandings: a node is cut off while the others change their members.
    :ivar absences: a node is cut off for most of the storm, and its clients go on.
    :ivar unreadable: the disk does not give a file back that was written while a node was up (``EIO``).
    :ivar lost_logs: all segments of a log are gone.
    :ivar jumps: a wall clock is ahead or behind by hours, days or years for a moment.
    :ivar upheavals: several join and are struck out at once, and meanwhile one of those concerned burns down.
    :ivar double_burns: two nodes come back with empty disks, as others.
    :ivar vote_cuts: power is lost right after a node has voted on a register.
    :ivar ambushes: an owner is frozen, slow to answer, or cut off, right when it has carried out a forwarded write.
    :ivar descriptors: a process may open no more files for a while.
    :ivar foreign: somebody else's files lie in the data folder, and what a crash left half written.
    :ivar rotations: the cluster's secret is changed while all run, or a new storage secret is in the key file.
    :ivar moves: a node is stopped, and started in another zone.
    """

    partitions: float = 0.0
    one_way: float = 0.0
    swizzles: float = 0.0
    stuck_links: float = 0.0
    slow_links: float = 0.0
    pauses: float = 0.0
    kills: float = 0.0
    mass_kills: float = 0.0
    power_cuts: float = 0.0
    crashes_at_sync: float = 0.0
    slow_disks: float = 0.0
    full_disks: float = 0.0
    sync_errors: float = 0.0
    clocks: float = 0.0
    flips: float = 0.0
    misdirected: float = 0.0
    lost_files: float = 0.0
    corners: float = 0.0
    backups: float = 0.0
    wipes: float = 0.0
    joins: float = 0.0
    leaves: float = 0.0
    forgets: float = 0.0
    strandings: float = 0.0
    absences: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    delays: float = 0.05
    garbling: float = 0.0
    unreadable: float = 0.0
    lost_logs: float = 0.0
    foreign: float = 0.0
    jumps: float = 0.0
    upheavals: float = 0.0
    double_burns: float = 0.0
    vote_cuts: float = 0.0
    descriptors: float = 0.0
    rotations: float = 0.0
    ambushes: float = 0.0
    moves: float = 0.0


SHARES = ("loss", "duplication", "delays", "garbling")
KINDS = tuple(one.name for one in fields(Faults) if one.name not in SHARES)
NAMES = tuple(one.name for one in fields(Faults))
LATER = (
    "unreadable", "lost_logs", "foreign", "jumps", "upheavals", "double_burns", "vote_cuts", "descriptors", "ambushes",
    "rotations", "moves",
)  # fmt: skip
"""Kinds that were added when there were seeds with a history: each is drawn by a generator of its own."""
SELDOM = ("upheavals", "double_burns", "vote_cuts", "moves")
"""Kinds that happen in one of eight seeds, and where they are asked for by name (``--faults``)."""

_NEEDS_FSYNC = ("power_cuts", "crashes_at_sync", "sync_errors", "backups", "vote_cuts")
_RARE = {
    "strandings": 0.7,
    "wipes": 0.5,
    "mass_kills": 0.4,
    "clocks": 0.5,
    "absences": 0.5,
    "foreign": 0.5,
    "double_burns": 0.4,
    "rotations": 0.4,
    "ambushes": 3.0,
    "moves": 0.7,
}
_UNCOUNTED = ("ambushes", "moves")
"""They wait for their moment, or end in order: they make a seed no rougher."""


@dataclass(frozen=True, slots=True)
class Load:
    """What clients do.

    :ivar rate_s: requests in a second.
    :ivar keys: how many keys they share.
    :ivar partitions: into how many partitions these fall; 0 for wherever they do.
    :ivar weights: of put, delete, patch, get, put with ``?ttl=``, and put only if absent.
    :ivar levels: weights of quorum, majority, one and all.
    :ivar burst: share of requests that are really several of one key at the same instant, through different nodes.
    :ivar strict: share of requests that belong to sessions with ``majority`` on both sides.
    :ivar causal: share of requests that belong to sessions with causal tokens.
    :ivar listeners: subscriptions open at a time.
    :ivar registrations: new users in ten seconds.
    :ivar locks: sessions that create and delete a key each, as fast as they can.
    :ivar sockets: streams and websockets open at a time.
    :ivar bulk: batches, reads of several keys and listings for each other request.
    :ivar leases: records that end by themselves, written in a second, and watched.
    """

    rate_s: float = 25.0
    keys: int = 12
    partitions: int = 0
    weights: tuple[float, ...] = (5, 2, 1, 3, 0.5, 0.5)
    levels: tuple[float, ...] = (6, 2, 2, 1)
    burst: float = 0.05
    strict: float = 0.2
    causal: float = 0.15
    listeners: int = 4
    registrations: float = 1.0
    locks: int = 0
    bulk: float = 0.0
    sockets: int = 0
    leases: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a seed decides before it starts.

    :ivar storm_s: length of each storm.
    :ivar disk_reserve_bytes: below which writes that add are refused.
    :ivar least_log_bytes: how much log there is at least before a save is due by its size.
    :ivar in_small_steps: pages, slices, chunks and batches hold a few records instead of thousands: so there are many.
    :ivar sizes: bounds in bytes, and how large values are.
    :ivar feeds: what each node's hub keeps.
    :ivar interest_s: how long a table is relayed to a node after its last listener left.
    :ivar agreed: requests on strong tables in a second.
    :ivar rivals: races for one register in a second.
    :ivar shared: requests in a second on the table whose rules change.
    :ivar is_busy: a turn of the reactor takes in one thing and no more, so that others wait.
    :ivar drift_ppm: by how much monotonic clocks are off at most.
    :ivar quiet_s: for how long nobody asks for anything before the fair weather is judged.
    :ivar same_seeds: whether all nodes have the same ``--join`` list.
    :ivar own_key_files: whether each host has its own; see `dynatwist.sim.cluster`.
    :ivar zones: over how many the hosts are spread at first; 0 while nobody says where they stand.
    :ivar scenes: how many are played after the storms; see `dynatwist.sim.scenes`.
    :ivar scene: the only one that is played, again and again; empty for any.
    :ivar exact_creations: how many moments of a history of creations are kept apart; see `dynatwist.model.lineage`.
    """

    nodes: int = 3
    storm_s: float = 16.0
    faults: Faults = field(default_factory=Faults)
    load: Load = field(default_factory=Load)
    durability: Durability = Durability.FSYNC
    grace_s: float = 2.0
    snapshot_s: float = 3.0
    lone_s: float = 3.0
    in_small_steps: bool = True
    disk_reserve_bytes: int = 4_000
    least_log_bytes: int = 100_000
    exact_creations: int = EXACT_CREATIONS
    sizes: Sizes = field(default_factory=Sizes)
    feeds: HubBounds = field(default_factory=HubBounds)
    interest_s: float = INTEREST_S
    rivals: float = 0.0
    agreed: float = 0.0
    shared: float = 0.0
    is_busy: bool = False
    drift_ppm: int = 0
    quiet_s: float = 0.0
    same_seeds: bool = False
    own_key_files: bool = False
    zones: int = 0
    scenes: int = 4
    scene: str = ""

    def text(self) -> str:
        """One line for the trace."""
        faults = ", ".join(f"{n} {getattr(self.faults, n):.2g}" for n in NAMES if getattr(self.faults, n))
        return f"{self.nodes} nodes, {self.durability.value}, {self.load.rate_s:.0f} requests/s; {faults}"


NEWCOMERS = ("joins", "wipes", "upheavals", "forgets", "double_burns", "strandings")
"""Faults after which a host joins anew: its operator would have to copy the key file as it is in that very moment."""


def draw(seed: int, nodes: int | None = None, kinds: tuple[str, ...] | None = None) -> Plan:
    """The plan of a seed.

    :param nodes: instead of a number from the seed.
    :param kinds: the only faults to choose from, all of which then happen; see `NAMES`.
    """
    random, disk = Random(f"plan {seed}"), Random(f"disk {seed}")
    durability = Durability.FSYNC if random.random() < 0.8 else random.choice(list(Durability))
    rates: dict[str, float] = {}
    for kind in KINDS:
        chance = Random(f"{kind} {seed}") if kind in LATER else random
        rate = chance.choice([0.0, 0.0, 0.7, 2.0]) * _RARE.get(kind, 1.0)
        if kinds is not None:
            rate = chance.choice([0.7, 2.0]) * _RARE.get(kind, 1.0) if kind in kinds else 0.0
        elif kind in SELDOM and Random(f"seldom {kind} {seed}").random() < 0.75:
            rate = 0.0
        if kind in _NEEDS_FSYNC and durability is not Durability.FSYNC:
            rate = 0.0
        rates[kind] = rate
    for share in ("loss", "duplication", "garbling"):
        rates[share] = random.choice([0.0, 0.02, 0.1, 0.3]) if kinds is None or share in kinds else 0.0
    rates["delays"] = random.choice([0.05, 0.3]) if kinds is None or "delays" in kinds else 0.05
    total = sum(rates[kind] for kind in KINDS if kind not in _UNCOUNTED)
    milder = min(1.0, random.choice([2.0, 5.0, 12.0]) / max(total, 2.0))
    faults = Faults(**{name: rate if name in SHARES else rate * milder for name, rate in rates.items()})
    return Plan(
        random.choices([3, 4, 5, 6, 7, 8, 9], [8, 2, 4, 1, 1, 0.5, 0.5])[0] if nodes is None else nodes,
        random.choice([8.0, 16.0, 32.0]),
        faults,
        _draw_load(random),
        durability,
        random.choice([0.3, 0.5, 1.0, 3.0]),
        random.choice([0.3, 1.0, 3.0, 8.0]),
        random.choice([1.0, 3.0, 3.0]),
        random.random() < 0.7,
        exact_creations=random.choice([1, 2, 4, EXACT_CREATIONS]),
        sizes=draw_sizes(seed),
        feeds=random.choice([HubBounds(), HubBounds(at_once=1, replayed=2), TIGHT_FEEDS]),
        is_busy=random.random() < 0.5,
        drift_ppm=random.choice([0, 100, 500]),
        quiet_s=random.choice([0.0] * 11 + [600.0]),
        interest_s=Random(f"interest {seed}").choice([INTEREST_S, 0.5]),
        agreed=Random(f"agreed {seed}").choice([0.0, 1.0, 4.0, 10.0]),
        shared=Random(f"shared {seed}").choice([0.0, 0.0, 2.0, 6.0]),
        rivals=Random(f"rivals {seed}").choice([0.0, 1.0, 3.0, 6.0]),
        same_seeds=Random(f"seeds {seed}").random() < 0.3,
        own_key_files=not any(rates[kind] for kind in NEWCOMERS) and Random(f"key files {seed}").random() < 0.7,
        zones=Random(f"zones {seed}").choice([0, 0, 0, 0, 0, 0, 2, 3]),
        disk_reserve_bytes=disk.choice([0, 2_000, 8_000]),
        least_log_bytes=disk.choice([10_000, 50_000, 1_000_000]),
    )


def _draw_load(random: Random) -> Load:
    weights = tuple(weight * random.choice([0.5, 1, 2]) for weight in Load().weights)
    levels = tuple(weight * random.choice([0, 1, 2]) for weight in Load().levels)
    return Load(
        random.choice([10.0, 25.0, 40.0]),
        random.choice([2, 6, 12, 24]),
        random.choice([0, 1, 1, 3]),
        weights,
        levels if any(levels) else Load().levels,
        random.choice([0.0, 0.05, 0.2]),
        random.choice([0.0, 0.2, 0.5]),
        random.choice([0.0, 0.15, 0.3]),
        random.choice([0, 3, 6]),
        random.choice([0.0, 1.0, 3.0]),
        locks=random.choice([0, 0, 0, 1, 2]),
        bulk=random.choice([0.0, 0.05, 0.15]),
        sockets=random.choice([0, 2, 5]),
        leases=random.choice([0.0, 0.0, 1.0, 3.0]),
    )
