"""What a start would make of a damaged disk: looked at on copies of the disks of nodes at rest, and at each start.

Storms damage a file now and then; here disks are damaged several times, and nothing comes of it but a judgement.
What a start finds is what was held, or it says of which partitions it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from dynatwist.core import Core
from dynatwist.errors import StartError
from dynatwist.model.replica import Replica
from dynatwist.sometimes import unnoticed
from dynatwist.storage.identity import COPIES, IdentityFile
from dynatwist.storage.manifest import manifest_name
from dynatwist.storage.recovery import Recovered, recover, scrub
from dynatwist.storage.segment import MAX_START_BYTES
from dynatwist.storage.state import State

from .cluster import SimCluster, SimNode
from .disk import SimDisk
from .mount import Mount
from .volume import frame_ends
from .world import Process

TRIES = 5
"""For each node: a fraction of what its history costs, and in a few hundred seeds every file in every way."""
SORTS = (".wal", "manifest", ".storage.db", "identity")
"""Of most sorts there are few files, of chunks many."""
WAYS_AT_THE_END = ("flipped", "misdirected", "unreadable")
WAYS = (*WAYS_AT_THE_END, "cut", "cut at a frame", "lost")
"""All but the identity may be replaced by another file of its sort, too; its copies are the same."""
REMEMBERED = ("node_id", "epoch", "starts", "data_keys", "registry", "registry_votes", "peer_starts")
"""What an identity has to say as it was written last."""


class Autopsy:
    """See the module.

    :param finds: whether one replica, as a start finds it, is another one as it is held.
    """

    def __init__(self, cluster: SimCluster, finds: Callable[[Replica, Replica], bool]) -> None:
        self._cluster = cluster
        self._finds = finds
        self._random = Random(f"autopsy {cluster.world.seed}")

    def of(self, node: SimNode) -> Iterator[str]:
        """What is wrong with the disk of a node at rest."""
        core = node.core
        if core is None:
            return
        yield from self._without_the_newest_save(node, core)
        for _ in range(TRIES):
            yield from self._harmed(node, core)

    def at_start(self, node: SimNode, core: Core) -> Iterator[str]:
        """What is wrong with the disk of a node that has just started on it: there the log has many segments."""
        if core.folder.recovered.damage:
            return  # what lies there already, mended in the log or not, may have left more or less to be set aside
        twin = self._twin(node)
        harms = [self._harm(twin, sort) for sort in self._random.choice(((".wal",), ("manifest", ".wal")))]
        yield from self._judge(node, core, twin, "with " + " and ".join(harms))

    def _without_the_newest_save(self, node: SimNode, core: Core) -> Iterator[str]:
        """P12: two saves are kept, so that one of them may be damaged, and nothing is missing."""
        newest = core.folder.saver.newest
        if newest is None or not core.folder.saver.has_two:
            return
        twin = self._twin(node)
        twin.damage(f"{core.config.actual_data_dir}/cold/{manifest_name(newest.generation)}", 3)
        how = "with its newest manifest damaged"
        yield from self._judge(node, core, twin, how, may_miss=False)
        yield from self._judge(node, core, twin, f"{how} and {self._harm(twin, '.wal')}")

    def _harmed(self, node: SimNode, core: Core) -> Iterator[str]:
        """P12: a file or two are damaged in any way."""
        twin = self._twin(node)
        spared = f"{core.config.actual_data_dir}/{self._random.choice(COPIES)}"  # one of them is enough
        sorts = self._random.sample(SORTS, self._random.choice((1, 2)))
        harms = [self._harm(twin, sort, spared) for sort in sorts]
        yield from self._judge(node, core, twin, "with " + " and ".join(harms))

    def _twin(self, node: SimNode) -> SimDisk:
        return node.disk.twin(power_lost=False, random=self._random)

    def _harm(self, twin: SimDisk, sort: str, spared: str = "") -> str:
        """Damage a file of some sort, unless that is to be spared.

        The newest segment keeps its end: what was never written looks like that, and peers know better. So does one
        that a crash came before the first sync of, in the newest one's place.
        """
        random = self._random
        paths = [path for path in twin.paths() if sort in path and path != spared]
        if not paths:
            return "nothing"
        path = random.choice((random.choice(paths), paths[len(paths) // 2], paths[-1]))
        ends = frame_ends(twin.file_data(path))
        ways = WAYS_AT_THE_END if twin.is_newest_log(path) else WAYS
        how = random.choice(ways if sort == "identity" else (*ways, "replaced"))
        if how == "flipped":
            twin.damage(path, random.randint(1, 8))
        elif how == "misdirected":
            twin.misdirect(random.choice(twin.paths()), path)
        elif how == "unreadable":
            twin.lose_sector(path)
        elif how == "replaced":
            others = [one for one in paths if not (twin.is_newest_log(path) and _is_stillborn(twin, one))]
            twin.replace(random.choice(others or [path]), path)
        elif how == "lost":
            twin.lose(path)
        else:
            twin.cut(path, random.choice(ends) if how == "cut at a frame" else random.randrange(ends[-1]))
        return f"{path} {how}"

    def _judge(self, node: SimNode, core: Core, twin: SimDisk, how: str, may_miss: bool = True) -> Iterator[str]:
        folder, data_key = core.config.actual_data_dir, core.identity.data_keys
        mount = Mount(twin, Process(self._cluster.world, "look"))
        try:
            with unnoticed():
                identity, _ = IdentityFile(
                    mount, folder, self._cluster.keys_of(node.number), lambda size: bytes(size)
                ).load()
                found = recover(mount, folder, data_key, True)
                scrub(mount, folder, data_key, found)
        except (StartError, OSError) as error:
            yield f"P12: {node.host} would not start {how}: {error}"
            return
        if identity is None:
            yield f"P12: {node.host} would forget who it is {how}"
        for name in REMEMBERED if identity is not None else ():
            if getattr(identity, name) != getattr(core.identity, name):
                yield f"P12: {node.host} would remember other {name} {how}"
        if found.damaged and not may_miss:
            yield f"P12: {node.host} would miss something {how}: {found.findings}"
        yield from self._differences(node, core, found, how)

    def _is_found(self, mine: Replica, theirs: Replica, is_harmed: bool) -> bool:
        """Whether a start finds what is held.

        Of a partition that is not whole anyway less may be set aside, where an earlier part of the log is lost.
        """
        if is_harmed and not (mine.whole or theirs.whole):
            return _without_aside(mine) == _without_aside(theirs)
        return self._finds(mine, theirs)

    def _differences(self, node: SimNode, core: Core, found: Recovered, how: str) -> Iterator[str]:
        """What a start would neither have, nor miss."""
        for mine, theirs in zip(core.store.replicas, found.state.replicas, strict=True):
            if mine.number not in found.damaged and not self._is_found(mine, theirs, bool(found.damage)):
                yield f"P12: {node.host} would start as if partition {mine.number} were whole {how}"
            if mine.number not in found.damaged and _cells(core.store.state, mine) != _cells(found.state, mine):
                yield f"P12: {node.host} would forget votes of partition {mine.number} {how}"
        if not found.damaged and core.store.meta != found.state.meta:
            yield f"P12: {node.host} would forget what it has taken over {how}"


def _is_stillborn(twin: SimDisk, path: str) -> bool:
    return len(twin.file_data(path)) <= MAX_START_BYTES


def _cells(state: State, replica: Replica) -> object:
    registers = state.registers[replica.number]
    return registers.cells, registers.floor


def _without_aside(replica: Replica) -> tuple[object, ...]:
    return replica.records, replica.clock.to_wire(), replica.generation
