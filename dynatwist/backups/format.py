"""The bytes of a backup.

::

    dynakv-backup 1
    {"created":"2026-11-28T09:40:00Z","dynatwist":"...","derivation":{...},"salt":"...","check":"..."}
    chunk, chunk, ... the last chunk

The first two lines are in clear, and name nobody. A chunk is its length (4 bytes), a byte that is 1 for the last chunk
and 0 for all others, and what AES-256-GCM makes of records, compressed; the last chunk holds the `Totals`. The nonce of
a chunk is its number and that byte, and the two lines are authenticated with each chunk. So a chunk that is damaged, is
in another place, or comes from another backup does not open; and a file that was cut has no last chunk.

A full backup has the format 1, an increment 2: releases that know no increments would take one for all there is.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .entries import Base, Entry, Mark, Tallies, Totals
from .errors import BackupError
from .keys import Derivation, FileKeys, Secret, derive

FULL, INCREMENT = 1, 2
CHUNK_BYTES = 1 << 20
"""Of records in a chunk, about, before they are compressed; one record is always in it."""
MAX_CHUNK_BYTES = 64 << 20
"""No chunk is longer: the longest record, or the counts of a hundred thousand tables, have room four times."""
MAX_HEADER_BYTES = 4096
SALT_BYTES = 16
_FIRST_WORD = b"dynakv-backup "
_FRAME_BYTES = 5
_TAG_BYTES = 16

Read = Callable[[int], bytes]
"""The next bytes of a file, so many at most; less than that only at its end."""


class Header(msgspec.Struct, frozen=True):
    """What a backup says in clear.

    :ivar created: when, RFC 3339, UTC.
    :ivar dynatwist: the version of the program that has made it.
    :ivar check: see `dynatwist.backups.keys`.
    """

    created: str
    dynatwist: str
    derivation: Derivation
    salt: bytes
    check: bytes

    @property
    def id(self) -> str:
        """Names the backup: no other one has this salt."""
        return self.salt.hex()


_PACK = msgspec.msgpack.Encoder()
_ENTRIES = msgspec.msgpack.Decoder(list[Entry])
_TOTALS = msgspec.msgpack.Decoder(Totals)
_HEADER = msgspec.json.Decoder(Header)


Decoded = TypeVar("Decoded")


class _Frame(NamedTuple):
    is_last: bool
    sealed: bytes


class _Cipher:
    """Of the chunks of one backup."""

    def __init__(self, head: bytes, keys: FileKeys) -> None:
        self._aead = AESGCM(keys.sealing)
        self._about = sha256(head).digest()

    def seal(self, index: int, is_last: bool, payload: bytes) -> bytes:
        sealed = self._aead.encrypt(_nonce(index, is_last), zlib.compress(payload), self._about)
        return len(sealed).to_bytes(4) + bytes((is_last,)) + sealed

    def open(self, index: int, frame: _Frame) -> bytes:
        try:
            packed = self._aead.decrypt(_nonce(index, frame.is_last), frame.sealed, self._about)
        except InvalidTag:
            raise BackupError(f"chunk {index + 1} does not verify: the file is damaged, or was put together") from None
        unpacking = zlib.decompressobj()
        try:
            payload = unpacking.decompress(packed, MAX_CHUNK_BYTES)
        except zlib.error:
            payload = b""
        if not unpacking.eof:
            raise BackupError(f"chunk {index + 1} is none that this program writes")
        return payload


def _nonce(index: int, is_last: bool) -> bytes:
    return index.to_bytes(11) + bytes((is_last,))


class BackupWriter:
    """Makes the bytes of one backup, in order.

    :param randbytes: for its salt.
    :param created: when, RFC 3339, UTC.
    :param dynatwist: the version of this program.
    :param base: for an increment.
    :ivar head: the first bytes of the file.
    :ivar tallies: how much was added.
    """

    def __init__(
        self,
        secret: Secret,
        randbytes: Callable[[int], bytes],
        *,
        created: str,
        dynatwist: str,
        base: Base | None = None,
    ) -> None:
        salt = randbytes(SALT_BYTES)
        keys = derive(secret, secret.derivation, salt)
        header = Header(created, dynatwist, secret.derivation, salt, keys.check)
        version = FULL if base is None else INCREMENT
        self.head = _FIRST_WORD + b"%d\n" % version + msgspec.json.encode(header) + b"\n"
        self.tallies = Tallies()
        self._base = base
        self._cipher = _Cipher(self.head, keys)
        self._index = 0
        self._waiting: list[Entry] = []
        self._waiting_bytes = 0

    def add(self, entries: Sequence[Entry]) -> bytes:
        """Some records; answers what is to be appended to the file now, perhaps nothing."""
        made: list[bytes] = []
        self.tallies.add(entries)
        for entry in entries:
            self._waiting.append(entry)
            self._waiting_bytes += entry.size_bytes
            if self._waiting_bytes >= CHUNK_BYTES:
                made.append(self._flush())
        return b"".join(made)

    def end(
        self,
        *,
        strong: Sequence[str] = (),
        only: Sequence[str] = (),
        prefix: str = "",
        missing: Sequence[int] = (),
        mark: Mark | None = None,
    ) -> bytes:
        """The last bytes of the file; for the parameters see `Totals`."""
        made, base = self.tallies.by_table, self._base
        totals = Totals(made, tuple(strong), tuple(only), prefix, tuple(missing), mark, base)
        left = self._flush() if self._waiting else b""
        return left + self._cipher.seal(self._index, True, _PACK.encode(totals))

    def _flush(self) -> bytes:
        frame = self._cipher.seal(self._index, False, _PACK.encode(self._waiting))
        self._index += 1
        self._waiting, self._waiting_bytes = [], 0
        return frame


class Backup:
    """A backup that is read.

    :param read: takes its bytes, from the first one on.
    :raises BackupError: it is none, of a later format.
    :ivar header: what it says in clear.
    :ivar size_bytes: how much of it was read so far.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._hash = sha256()
        self.size_bytes = 0
        self._is_increment = False
        self._head, self.header = self._take_head()

    @property
    def base(self) -> Base:
        """What an increment on it names, once all of it was read."""
        return Base(self.header.id, self._hash.digest(), self.header.created)

    def _take(self, count: int) -> bytes:
        taken = self._read(count)
        self._hash.update(taken)
        self.size_bytes += len(taken)
        return taken

    def _take_head(self) -> tuple[bytes, Header]:
        first = self._line(len(_FIRST_WORD) + 10)
        if not first.startswith(_FIRST_WORD):
            raise BackupError("it is no backup of dynakv")
        version = first.removeprefix(_FIRST_WORD).strip()
        if version not in (b"%d" % FULL, b"%d" % INCREMENT):
            shown = version.decode("ascii", "replace")
            raise BackupError(f"its format is {shown}, and this program knows {INCREMENT}; use a later release")
        self._is_increment = version == b"%d" % INCREMENT
        second = self._line(MAX_HEADER_BYTES)
        try:
            return first + second, _HEADER.decode(second)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise BackupError("its header is damaged") from None

    def _line(self, most_bytes: int) -> bytes:
        line = bytearray()
        while len(line) < most_bytes and (byte := self._take(1)):
            line += byte
            if byte == b"\n":
                break
        return bytes(line)

    def opened(self, secret: Secret) -> Iterator[list[Entry] | Totals]:
        """The records, some at a time, and at the end what has to be before it; all of that is checked.

        :raises BackupError: the key does not fit; or, on the way, the file is damaged. What came before is what was
            backed up, and perhaps not all of it.
        """
        cipher = self._cipher(secret)
        tallies = Tallies()
        for index, frame in enumerate(self._frames()):
            payload = cipher.open(index, frame)
            if frame.is_last:
                totals = self._totals_of(payload)
                if totals.tables != tallies.by_table:
                    raise BackupError("its counts are not those of its records")
                yield totals
            else:
                entries = _decoded(_ENTRIES, payload)
                tallies.add(entries)
                yield entries

    def totals(self, secret: Secret) -> Totals:
        """What the end says is in it; nothing else is looked at.

        :raises BackupError: the key does not fit, or the end is damaged or missing.
        """
        cipher = self._cipher(secret)
        for index, frame in enumerate(self._frames()):
            if frame.is_last:
                return self._totals_of(cipher.open(index, frame))
        raise AssertionError("frames end with a last one")

    def _totals_of(self, payload: bytes) -> Totals:
        totals = _decoded(_TOTALS, payload)
        if totals.is_increment is not self._is_increment:
            raise BackupError("its end is not one of its format")
        return totals

    def _cipher(self, secret: Secret) -> _Cipher:
        keys = derive(secret, self.header.derivation, self.header.salt)
        if keys.check != self.header.check:
            raise BackupError("the passphrase or key is not the one that it is sealed with, or its header is damaged")
        return _Cipher(self._head, keys)

    def _frames(self) -> Iterator[_Frame]:
        while True:
            head = self._take(_FRAME_BYTES)
            length = int.from_bytes(head[:4])
            if len(head) < _FRAME_BYTES:
                raise BackupError("it is cut short: its end is missing")
            if not _TAG_BYTES <= length <= MAX_CHUNK_BYTES or head[4] > 1:
                raise BackupError(f"it is damaged near byte {self.size_bytes}")
            sealed = self._take(length)
            if len(sealed) < length:
                raise BackupError("it is cut short: its end is missing")
            frame = _Frame(head[4] == 1, sealed)
            if frame.is_last and self._take(1):
                raise BackupError("something follows its end")
            yield frame
            if frame.is_last:
                return


def _decoded(decoder: msgspec.msgpack.Decoder[Decoded], payload: bytes) -> Decoded:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BackupError("it holds something that this program does not write") from None
