"""A look at the files that a start did not need, which are kept in case the newest ones are damaged one day."""

from __future__ import annotations

import msgspec

from .files import FileSystem, read_or_none
from .manifest import CHUNK_KIND, MANIFEST_KIND, Manifest, manifests_in
from .recovered import Recovered
from .seal import Keys, Opened, open_file
from .segment import Segment, segment_name, segments_in


def scrub(fs: FileSystem, folder: str, data_key: Keys, found: Recovered) -> list[str]:
    """Look at what is kept besides what a start has read.

    :returns: findings, for the log; nothing has to be done, the next cold saves replace these files.
    """
    findings: list[str] = []

    def check(path: str, kind: bytes, salt: bytes = b"") -> Opened:
        data = read_or_none(fs, f"{folder}/{path}")
        opened = open_file(data_key, kind, data) if data is not None else Opened(damaged=True)
        if not opened.intact:
            tell(path, "cannot be read" if data is None else "is damaged")
        elif salt not in (b"", opened.salt):
            tell(path, "is another file than it was")
        return opened

    def tell(path: str, harm: str) -> None:
        findings.append(f"{path} {harm}; it was not needed, and the next cold saves replace it")

    newest = found.manifest
    if newest is None:
        return findings
    for generation, name in sorted(manifests_in(fs.names(f"{folder}/cold")).items()):
        if generation < newest.generation:
            opened = check(f"cold/{name}", MANIFEST_KIND)
            if not opened.intact or not opened.payloads:
                continue
            older = msgspec.msgpack.decode(opened.payloads[0], type=Manifest)
            if older.generation != generation:
                tell(f"cold/{name}", "is another file than it was")
            for chunk in sorted(older.chunks - newest.chunks):
                check(f"cold/{chunk}", CHUNK_KIND, older.salts.get(chunk, b""))
    for number in segments_in(fs.names(f"{folder}/wal")):
        if number < newest.wal_from:
            path = f"wal/{segment_name(number)}"
            segment = Segment(number, read_or_none(fs, f"{folder}/{path}"), data_key)
            if segment.is_another:
                tell(path, "is another file than it was")
            elif not segment.opened.intact:
                tell(path, "is damaged" if segment.is_readable else "cannot be read")
    return findings
