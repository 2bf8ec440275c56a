"""The shapes of a cold save: a manifest, and the slices of partitions in the chunks that it names."""

from __future__ import annotations

import re

import msgspec

from dynatwist.model.dots import Dot, WireDots
from dynatwist.model.record import Key
from dynatwist.replication.conflicts import Conflict, ConflictId
from dynatwist.replication.register import Cell, Floor

MANIFEST_KIND = b"MANI"
CHUNK_KIND = b"COLD"
MANIFESTS_KEPT = 2
"""If a chunk of the newest save is damaged, the one before has it, and the log of that is kept too."""


NOTHING = msgspec.Raw(b"\xc0")
"""For the record of a key of which there is only a register."""


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is held of one key.

    :ivar record: as `dynatwist.model.records.pack` makes it; or `NOTHING`.
    :ivar seen: dots of the key merged besides its past.
    :ivar aside: whether it was set aside after damage.
    :ivar cell: the key's register, if there is one; without its value where that is the record.
    """

    key: Key
    record: msgspec.Raw
    seen: tuple[Dot, ...] = ()
    aside: bool = False
    cell: Cell | None = None


class Slice(msgspec.Struct, frozen=True, array_like=True):
    """Some records of one partition: the payload of one frame of a chunk.

    :ivar conflicts: some of those that its keys are in; none in slices of former releases.
    :ivar settled: ids of some of those that are settled; none in slices of former releases.
    """

    partition: int
    items: list[Item]
    conflicts: list[Conflict] = []
    settled: list[ConflictId] = []


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """Where a slice lies.

    :ivar chunk: path below the folder of cold saves.
    :ivar frame: number of the frame in it.
    :ivar size_bytes: of the frame's payload.
    """

    chunk: str
    frame: int
    size_bytes: int


class SavedPartition(msgspec.Struct, frozen=True, array_like=True):
    """One partition in a manifest. Its clock, G and floor are those from before its first slice was taken.

    :ivar floor: of its registers; ``None`` while none was forgotten.
    """

    number: int
    clock: WireDots
    generation: int
    whole: bool
    pieces: list[Piece]
    floor: Floor | None = None


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """One cold save.

    :ivar generation: counts up.
    :ivar wal_from: the first segment that is to be replayed on top.
    :ivar wall_ms: the wall clock, as far as it was believed.
    :ivar mark: high-water mark of the hybrid clock.
    :ivar lapse_ms: the time that was over by then; 0 in manifests of former releases.
    :ivar salts: of the chunks that it refers to, by their paths, which name these files and no older ones (see
        `dynatwist.storage.seal`). In manifests of former releases there are none.
    :ivar wal_salt: of the segment `wal_from`; empty when it is not said.
    """

    generation: int
    wal_from: int
    wall_ms: int
    mark: tuple[int, int]
    partitions: list[SavedPartition]
    meta: dict[str, bytes]
    hints: dict[bytes, list[Key]]
    lapse_ms: int = 0
    salts: dict[str, bytes] = {}
    wal_salt: bytes = b""

    @property
    def chunks(self) -> set[str]:
        """The chunks that it refers to."""
        return {piece.chunk for saved in self.partitions for piece in saved.pieces}


_MANIFEST = re.compile(r"manifest-(\d{12})(\.new)?")
_FOLDER = re.compile(r"\d{12}")
_CHUNK = re.compile(r"\d{4,}\.storage\.db(\.new)?")


def manifest_name(generation: int) -> str:
    """The file name of a manifest."""
    return f"manifest-{generation:012d}"


def manifests_in(names: list[str]) -> dict[int, str]:
    """The manifests among the names in the folder of cold saves, by generation; what has another name is not ours."""
    found = (_MANIFEST.fullmatch(name) for name in names)
    return {int(match[1]): match[0] for match in found if match is not None and match[2] is None}


def folders_in(names: list[str]) -> dict[int, str]:
    """The folders of chunks among the names in the folder of cold saves, by generation."""
    return {int(name): name for name in names if _FOLDER.fullmatch(name)}


def is_manifest_or_leftover(name: str) -> bool:
    """Whether a name is that of a manifest, or of one that a crash left half written."""
    return _MANIFEST.fullmatch(name) is not None


def is_chunk_or_leftover(name: str) -> bool:
    """Whether a name is that of a chunk, or of one that a crash left half written."""
    return _CHUNK.fullmatch(name) is not None


def folder_name(generation: int) -> str:
    """The folder of a save's chunks, below the folder of cold saves."""
    return f"{generation:012d}"


def chunk_name(generation: int, number: int) -> str:
    """The path of a chunk, below the folder of cold saves."""
    return f"{folder_name(generation)}/{number:04d}.storage.db"
