"""What the soak does to the clocks and the disk of one host, in a small file that both sides map into memory."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_FORM = struct.Struct("=ddd")
VARIABLE = "SOAK_CIRCUMSTANCES"
"""The environment variable that names the file to the node's process."""


class Circumstances:
    """The clocks and the disk of a host, as they are now; changes are seen at once, in whichever process.

    :param path: the file; made when it is not there. It outlives the node's process, as a machine's clock does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(bytes(_FORM.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _FORM.size)

    @property
    def wall_offset_s(self) -> float:
        """How far the wall clock is ahead of the true time."""
        return self._read()[0]

    @property
    def drift_ppm(self) -> float:
        """By how many millionths all clocks run too fast."""
        return self._read()[1]

    @property
    def sync_s(self) -> float:
        """How long the disk takes for a sync."""
        return self._read()[2]

    def change(
        self, *, wall_offset_s: float | None = None, drift_ppm: float | None = None, sync_s: float | None = None
    ) -> None:
        """Change what is given."""
        given = (wall_offset_s, drift_ppm, sync_s)
        values = [old if new is None else new for old, new in zip(self._read(), given, strict=True)]
        self._map[:] = _FORM.pack(*values)

    def _read(self) -> tuple[float, float, float]:
        return _FORM.unpack(self._map)
