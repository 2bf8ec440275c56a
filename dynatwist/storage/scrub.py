"""A look at the files that a start did not need, which are kept in case the newest ones are damaged one day."""

from __future__ import annotations

import msgspec

from .files import FileSystem, read_or_none
from .manifest import CHUNK_KIND, MANIFEST_KIND, Manifest, manifests_in
from .recovered import Recovered
from .seal import Opened, open_file
from .wal import KIND as WAL_KIND
from .wal import segment_name, segments_in


def scrub(fs: FileSystem, folder: str, data_key: bytes, found: Recovered) -> list[str]:
    """Look at what is kept besides what a start has read.

    :returns: findings, for the log; nothing has to be done, the next cold saves replace these files.
    """
    findings: list[str] = []

    def check(path: str, kind: bytes) -> Opened:
        data = read_or_none(fs, f"{folder}/{path}")
        opened = open_file(data_key, kind, data) if data is not None else Opened(damaged=True)
        if not opened.intact:
            harm = "cannot be read" if data is None else "is damaged"
            findings.append(f"{path} {harm}; it was not needed, and the next cold saves replace it")
        return opened

    newest = found.manifest
    if newest is None:
        return findings
    used = {piece.chunk for saved in newest.partitions for piece in saved.pieces}
    for generation, name in sorted(manifests_in(fs.names(f"{folder}/cold")).items()):
        if generation < newest.generation:
            opened = check(f"cold/{name}", MANIFEST_KIND)
            intact = opened.intact and opened.payloads
            older = msgspec.msgpack.decode(opened.payloads[0], type=Manifest) if intact else newest
            chunks = {piece.chunk for saved in older.partitions for piece in saved.pieces}
            for chunk in sorted(chunks - used):
                check(f"cold/{chunk}", CHUNK_KIND)
    for number in segments_in(fs.names(f"{folder}/wal")):
        if number < newest.wal_from:
            check(f"wal/{segment_name(number)}", WAL_KIND)
    return findings
