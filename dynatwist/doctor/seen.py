"""What was seen of a machine and of a cluster, as values: looking is apart from judging."""

from __future__ import annotations

from dataclasses import dataclass

from dynatwist.health.members import MemberSeen


@dataclass(frozen=True, slots=True)
class PortSeen:
    """A port that a node would use.

    :ivar name: for people.
    :ivar option: that chooses it.
    :ivar problem: why it cannot be had, in the system's words; empty where it can.
    :ivar is_taken: whether the reason is that somebody has it.
    """

    name: str
    option: str
    problem: str = ""
    is_taken: bool = False


@dataclass(frozen=True, slots=True)
class KeyFileSeen:
    """The file with the cluster's secrets.

    :ivar is_there: whether there is such a file.
    :ivar mode: its permissions.
    :ivar folder_mode: those of the folder that it is in; ``None`` where there is none yet.
    :ivar problem: why it cannot be used, in one line; empty where it can.
    :ivar data_folder: that of the node.
    """

    path: str
    is_there: bool
    mode: int
    folder_mode: int | None
    problem: str
    data_folder: str


@dataclass(frozen=True, slots=True)
class FolderSeen:
    """The data folder, or the nearest folder above it that is there.

    :ivar mode: its permissions; ``None`` where the data folder is not there yet.
    :ivar problem: why it cannot be used, in one line; empty where it can.
    :ivar file_system: such as ext4; empty where the system does not tell.
    :ivar free_bytes: left on its disk, of `total_bytes`.
    :ivar reserve_bytes: below which a node refuses writes that add.
    :ivar syncs_s: how long each of some small writes took until it was on the disk.
    """

    path: str
    mode: int | None
    problem: str
    file_system: str
    free_bytes: int
    total_bytes: int
    reserve_bytes: int
    syncs_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class DescriptorsSeen:
    """Open files and sockets.

    :ivar limit: how many a process may have.
    :ivar pid: of the node that runs in the data folder; ``None`` where there is none, and the limit is this command's.
    :ivar used: how many that node has; ``None`` where that cannot be seen.
    """

    limit: int
    pid: int | None = None
    used: int | None = None


@dataclass(frozen=True, slots=True)
class CertificateSeen:
    """A certificate that clients are shown.

    :ivar where: the file, or the node.
    :ivar ends_s: when it ends, in seconds since 1970; ``None`` where that cannot be read.
    :ivar problem: why not.
    """

    where: str
    ends_s: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node that was asked.

    :ivar problem: why it gave no answer; empty where it did.
    :ivar clock_ahead_s: how far its clock is ahead of this machine's.
    :ivar unsure_s: by how much that may be wrong: half a round trip.
    :ivar is_ready: whether its data routes answer.
    :ivar not_whole: how many of its partitions are fetched from other owners.
    :ivar findings: what the node itself has found damaged.
    """

    url: str
    problem: str = ""
    clock_ahead_s: float = 0.0
    unsure_s: float = 0.0
    is_ready: bool = False
    not_whole: int = 0
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """A cluster, as it looks from here.

    :ivar urls: that were asked.
    :ivar is_named: whether somebody said which nodes to ask.
    :ivar counted: how many members the cluster has by its registry.
    :ivar unseen: those of them that are shown no more, as ``ID at ADDRESS``, where the administrator asks.
    :ivar problem: why no node told of its members; empty where one did.
    :ivar needs_login: whether the reason is that only the administrator is told.
    """

    urls: tuple[str, ...]
    is_named: bool
    nodes: tuple[NodeSeen, ...] = ()
    members: tuple[MemberSeen, ...] = ()
    counted: int = 0
    unseen: tuple[str, ...] = ()
    problem: str = ""
    needs_login: bool = False
    certificates: tuple[CertificateSeen, ...] = ()
