"""What is on a disk: files and names, and how much of both is durable.

A volume outlives processes. After a power cut bytes and names that were not synced may be gone, torn or garbage. Damage
to what was durable (a flipped bit, a misdirected write, a lost file) is done while no process runs, as a disk does it:
unseen.
"""

from __future__ import annotations

import errno
from random import Random

from dynatwist.storage.seal import FILE_HEADER_BYTES, FRAME_HEADER
from dynatwist.storage.segment import segments_in


class File:
    """The bytes of a file: all, and how many of them are durable; and whether the disk gives them back."""

    __slots__ = ("data", "durable", "is_readable")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = 0
        self.is_readable = True

    def fill(self, data: bytes | bytearray) -> None:
        """These are its bytes, and durable."""
        self.data, self.durable = bytearray(data), len(data)

    def cut(self, size_bytes: int) -> None:
        """Its end is gone."""
        del self.data[size_bytes:]
        self.durable = min(self.durable, size_bytes)


class Volume:
    """See the module.

    :ivar random: what chance decides here.
    :ivar foreign: what somebody else has put into the data folder.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self._names: dict[str, File] = {}
        self._durable_names: dict[str, File] = {}
        self._folders: set[str] = set()
        self.foreign: dict[str, bytes] = {}

    # Files and folders

    def create(self, path: str) -> File:
        """A new, empty file in the place of what is there."""
        self._names[path] = file = File()
        return file

    def file(self, path: str) -> File:
        """A file that exists."""
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self._names[path]

    def names(self, folder: str) -> list[str]:
        """The names in a folder."""
        start = folder + "/"
        paths = (path for paths in (self._names, self._folders) for path in paths)
        return sorted({path[len(start) :].split("/")[0] for path in paths if path.startswith(start)})

    def make_folder(self, path: str) -> None:
        """Durable at once."""
        self._folders.add(path)

    def remove_folder(self, path: str) -> None:
        """If nothing is in it."""
        if not self.names(path):
            self._folders.discard(path)

    def rename(self, old: str, new: str) -> None:
        """Durable with the folder."""
        self._names[new] = self._names.pop(old)

    def remove(self, path: str) -> None:
        """Durable with the folder."""
        self._names.pop(path, None)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        start = path + "/"

        def is_in(name: str) -> bool:
            return name.startswith(start) and "/" not in name[len(start) :]

        self._durable_names = {
            **{name: file for name, file in self._durable_names.items() if not is_in(name)},
            **{name: file for name, file in self._names.items() if is_in(name)},
        }

    # What there is

    @property
    def used_bytes(self) -> int:
        """How much of it is taken."""
        return sum(len(file.data) for file in self._names.values())

    @property
    def log_bytes(self) -> int:
        """How much of it the log takes."""
        return sum(len(self._names[path].data) for path in self.paths() if path.endswith(".wal"))

    def paths(self) -> list[str]:
        """All files that hold something and are no strangers', in order."""
        return sorted(path for path, file in self._names.items() if file.data and path not in self.foreign)

    def empty_folders(self) -> list[str]:
        """The folders that nothing is in."""
        return sorted(one for one in self._folders if not any(name.startswith(f"{one}/") for name in self._names))

    def file_data(self, path: str) -> bytearray:
        """The bytes of a file; none of one that is not there."""
        return self._names[path].data if path in self._names else bytearray()

    def missing_foreign(self) -> list[str]:
        """The foreign files that are not as they were put there."""
        return [path for path, data in self.foreign.items() if bytes(self.file_data(path)) != data]

    def is_newest_log(self, path: str) -> bool:
        """Whether this is the segment that was written to last, or a later one that was not even begun.

        A start removes a segment without a first frame, and takes the one before for the last.
        """
        segments = self._segments()
        begun = [one for one in segments if len(frame_ends(self._names[one].data)) > 1]
        return path in segments and path >= max(begun, default="")

    def _segments(self) -> list[str]:
        """The files that a start takes for segments of the log, by their names."""
        return [path for path in self._names if segments_in([path.rpartition("/")[2]])]

    # What happens to machines

    def lose_power(self) -> None:
        """Forget what was not durable, save a random, perhaps garbled part of it."""
        folders = sorted({path.rpartition("/")[0] for path in (*self._names, *self._durable_names)})
        kept_names = {folder for folder in folders if self.random.random() < 0.3}
        names = {path: file for path, file in self._names.items() if path.rpartition("/")[0] in kept_names}
        for path, file in self._durable_names.items():
            if path.rpartition("/")[0] not in kept_names:
                names[path] = file
        self._names = names
        for _, file in sorted(names.items()):
            self._tear(file)
        self._durable_names = dict(names)

    def _tear(self, file: File) -> None:
        kept = self.random.randint(file.durable, len(file.data))
        torn = file.data[:kept]
        if kept > file.durable and self.random.random() < 0.3:
            start = self.random.randrange(file.durable, kept)
            end = min(kept, start + self.random.randint(1, 512))
            torn[start:end] = bytes(end - start) if self.random.random() < 0.5 else self.random.randbytes(end - start)
        file.fill(torn)

    def wipe(self) -> None:
        """A new, empty disk."""
        self._names, self._durable_names = {}, {}
        self._folders, self.foreign = set(), {}

    def image(self) -> dict[str, bytes]:
        """A backup: what would be left after a power cut now, without the tearing."""
        return {path: bytes(file.data[: file.durable]) for path, file in self._durable_names.items()}

    def restore(self, image: dict[str, bytes]) -> None:
        """Put a backup in the place of everything."""
        self.wipe()
        for path, data in image.items():
            self._names[path] = self._durable_names[path] = file = File()
            file.fill(data)

    def put(self, path: str, data: bytes, is_foreign: bool) -> None:
        """A file that no process wrote lies in the data folder.

        :param is_foreign: whether it is somebody else's, and has to stay; else it is what a crash left half written.
        """
        if path not in self._names:
            self._names[path] = self._durable_names[path] = file = File()
            file.fill(data)
            if is_foreign:
                self.foreign[path] = data

    # Damage, to be done while no process runs

    def damage(self, path: str, bits: int) -> None:
        """Flip some bits of a file."""
        data = self._names[path].data
        for _ in range(bits if data else 0):
            at = self.random.randrange(self._damageable(path))
            data[at] ^= 1 << self.random.randrange(8)

    def misdirect(self, source: str, path: str) -> None:
        """A write that was meant for one file went to the middle of another one."""
        data, block = self._names[path].data, self._names[source].data
        start = self.random.randrange(len(block))
        piece = block[start : start + self.random.randint(1, 512)]
        at = self.random.randrange(self._damageable(path))
        piece = piece[: self._damageable(path) - at]
        data[at : at + len(piece)] = piece

    def replace(self, source: str, path: str) -> None:
        """Somebody copied one file over another, as a whole: what verifies of the first verifies in the other place."""
        self._names[path].fill(self._names[source].data)

    def cut(self, path: str, size_bytes: int) -> None:
        """The end of a file is gone."""
        self._names[path].cut(size_bytes)

    def lose(self, path: str) -> None:
        """A file is gone."""
        del self._names[path]
        self._durable_names.pop(path, None)

    def lose_sector(self, path: str) -> None:
        """Whoever reads a file gets ``EIO``, until it is replaced."""
        self._names[path].is_readable = False

    def lose_log(self) -> None:
        """Every segment of the log is gone."""
        for path in self._segments():
            self.lose(path)

    def _damageable(self, path: str) -> int:
        """How much of a file may be damaged.

        Damage to the last frame of the newest log segment cannot be told from a write that was cut short, by anybody;
        so that frame is left alone here, and P6 can be judged.
        """
        return _last_frame(self._names[path].data) if self.is_newest_log(path) else len(self._names[path].data)


def _last_frame(data: bytearray) -> int:
    """Where the last complete frame of a sealed file begins; the length of its header when it has none."""
    ends = [0, *frame_ends(data)]
    return ends[-2] or ends[-1]


def frame_ends(data: bytearray) -> list[int]:
    """Where the header of a sealed file ends, and each of its complete frames."""
    ends = [min(FILE_HEADER_BYTES, len(data))]
    while ends[-1] + FRAME_HEADER.size <= len(data):
        end = ends[-1] + FRAME_HEADER.size + FRAME_HEADER.unpack_from(data, ends[-1])[2]
        if end > len(data):
            break
        ends.append(end)
    return ends
