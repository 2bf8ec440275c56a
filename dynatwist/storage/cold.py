"""The folder of cold saves: sealed chunks and manifests are written to it, and what nobody needs is removed.

All of it in the writer's thread.
"""

from __future__ import annotations

from contextlib import suppress

from .files import FileSystem, replace_file
from .manifest import (
    CHUNK_KIND,
    MANIFEST_KIND,
    Manifest,
    folder_name,
    folders_in,
    is_chunk_or_leftover,
    is_manifest_or_leftover,
    manifest_name,
)
from .seal import Keys, Sealer, seal_file


class ColdFolder:
    """See the module.

    :param path: of the folder.
    :param data_keys: the first one seals what is written.
    """

    def __init__(self, fs: FileSystem, path: str, data_keys: Keys) -> None:
        self._fs = fs
        self._path = path
        self._data_keys = data_keys

    def use(self, data_keys: Keys) -> None:
        """Seal by another key, from the next file on."""
        self._data_keys = data_keys

    def write_chunk(self, name: str, salt: bytes, frames: list[bytes]) -> None:
        """Write a chunk, whole or not at all.

        :param name: see `dynatwist.storage.manifest.chunk_name`.
        :raises OSError: when the disk does not take it.
        """
        folder, _, file = f"{self._path}/{name}".rpartition("/")
        self._fs.make_folder(folder)
        sealer = Sealer(self._data_keys, CHUNK_KIND, salt)
        replace_file(self._fs, folder, file, sealer.header + b"".join(sealer.seal(frame) for frame in frames))

    def write_manifest(self, generation: int, salt: bytes, payload: bytes) -> None:
        """Write a manifest, whole or not at all; from then on the save counts.

        :raises OSError: when the disk does not take it.
        """
        data = seal_file(self._data_keys, MANIFEST_KIND, salt, payload)
        replace_file(self._fs, self._path, manifest_name(generation), data)

    def clean(self, kept: list[Manifest]) -> None:
        """Remove what no kept manifest needs, and what crashes left half written; nothing that is not ours."""
        needed = {manifest_name(one.generation) for one in kept}
        chunks = {piece.chunk for one in kept for saved in one.partitions for piece in saved.pieces}
        names = self._fs.names(self._path)
        for name in names:
            if is_manifest_or_leftover(name) and name not in needed:
                self._remove(f"{self._path}/{name}")
        for folder in folders_in(names).values():
            self._clean_folder(folder, chunks)
        self._fs.sync_folder(self._path)

    def discard(self, generation: int) -> None:
        """Remove what a save that failed has written: first its manifest, durably."""
        with suppress(OSError):
            for name in (manifest_name(generation), f"{manifest_name(generation)}.new"):
                self._remove(f"{self._path}/{name}")
            self._fs.sync_folder(self._path)
            self._clean_folder(folder_name(generation), set())

    def _clean_folder(self, folder: str, chunks: set[str]) -> None:
        path = f"{self._path}/{folder}"
        for chunk in self._fs.names(path):
            if is_chunk_or_leftover(chunk) and f"{folder}/{chunk}" not in chunks:
                self._remove(f"{path}/{chunk}")
        if not self._fs.names(path):
            self._fs.remove_folder(path)

    def _remove(self, path: str) -> None:
        """What cannot be removed now is in nobody's way, and the next save tries again."""
        with suppress(OSError):
            self._fs.remove(path)
