"""Which keys the files on a disk need: they say it in their headers, which anybody can read."""

from __future__ import annotations

from collections import Counter

from .files import FileSystem
from .identity import COPIES, seal_key
from .keyring import name_of
from .manifest import folders_in, is_chunk_or_leftover, is_manifest_or_leftover
from .seal import FILE_HEADER_BYTES, UnknownFormat, header_of, key_name
from .segment import segment_name, segments_in

UNNAMED = b""
"""Some key, which the file does not name: it is a former release's, or its header cannot be read."""


def keys_named(fs: FileSystem, folder: str) -> Counter[tuple[str, bytes]]:
    """How many files of a data folder need which data key: by sort of file, and name of the key.

    :raises OSError: when a folder cannot be listed.
    """
    cold = f"{folder}/cold"
    names = fs.names(cold)
    paths = [("log segments", f"{folder}/wal/{segment_name(one)}") for one in segments_in(fs.names(f"{folder}/wal"))]
    paths += [("manifests", f"{cold}/{name}") for name in names if is_manifest_or_leftover(name)]
    for chunks in folders_in(names).values():
        paths += [
            ("chunks", f"{cold}/{chunks}/{name}") for name in fs.names(f"{cold}/{chunks}") if is_chunk_or_leftover(name)
        ]
    return Counter((sort, _key_named(fs, path)) for sort, path in paths)


def secrets_needed(fs: FileSystem, folder: str, secrets: tuple[bytes, ...]) -> frozenset[str]:
    """Of some storage secrets, the names of those that the identity files of a data folder need.

    Where one does not say which, it may be any of them.
    """
    try:
        copies = [name for name in COPIES if name in fs.names(folder)]
    except OSError:
        return frozenset(map(name_of, secrets))
    named = {_key_named(fs, f"{folder}/{name}") for name in copies}
    return frozenset(name_of(one) for one in secrets if UNNAMED in named or key_name(seal_key(one)) in named)


def _key_named(fs: FileSystem, path: str) -> bytes:
    try:
        header = header_of(fs.read(path, FILE_HEADER_BYTES))
    except (OSError, UnknownFormat):
        return UNNAMED
    return header.key if header is not None else UNNAMED
