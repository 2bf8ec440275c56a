"""Sealed files: what every file of the data folder is made of.

    magic "DYNAKV" | version u16 | kind 4 bytes | salt 16 bytes | CRC-32 of these u32 | key 4 bytes | frame | ...
    frame: marker 4 bytes | index u64 | length u32 | nonce 12 bytes | AES-256-GCM ciphertext and tag

The file's key is HKDF-SHA256 of the data key, the salt and the kind; the frame's header and offset are associated data.
So truncation, reordering and every flipped bit are seen. The salt names the file: there is no other with the same one,
and whoever keeps it, as manifests do, is not given an older file for a newer one. The CRC tells a file of another
version, which is refused by name, from one whose version was flipped. Numbers are big-endian. ``key`` names the data
key that opens the file (`key_name`), where there are several: while a node changes them. Files of versions before 6 do
not have it.

A nonce is drawn for each frame. Were it the frame's index, as before version 4, a machine that is copied while it runs,
and resumed twice, would seal two texts with one nonce, and whoever has both disks could read them.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"DYNAKV"
FORMAT_VERSION = 5
"""Written. Since 3 the log may have more kinds of entries, and entries and identities more fields, than in 2. Since 4
each frame has a nonce of its own, and manifests and segments name the salts of the files that they refer to. Since 5
the log may have conflicts, and slices of partitions too."""
NEWEST_VERSION = 6
"""Written where a release that knows no later version than `FORMAT_VERSION` must not go on: where files name their
keys, since there are several, and in identities whose registry places by zones. So a node that has used neither can be
set back to that release."""
READ_VERSIONS = (2, 3, 4, 5, 6)
"""Read: a data folder of the release before is taken over as it is, and its files go as new ones replace them."""
_FILE_HEADER = struct.Struct(">6sH4s16s")
_CRC_BYTES = _KEY_NAME_BYTES = 4
FRAME_HEADER = struct.Struct(">4sQI")
_MARKER = b"\xd7\x9a\xfe\x01"
_LENGTH_AT = 12
_NONCE_BYTES, _TAG_BYTES = 12, 16
_OWN_NONCES_SINCE = 4
_NAMED_KEYS_SINCE = 6
SEARCH_TIMES = 16
"""So often the length of a file is looked through for frames behind damage. A marker comes by chance once in 4 GB; in a
file that was made of markers each of them could name all that is behind it, and a start would take hours."""
_FORMER_HEADER_BYTES = _FILE_HEADER.size + _CRC_BYTES
FILE_HEADER_BYTES = _FORMER_HEADER_BYTES + _KEY_NAME_BYTES

Keys = bytes | tuple[bytes, ...]
"""A data key, or several: the newest first, which seals, and behind it those that only open. A file
that names none is opened by the last one: it was the only one when the file was written."""


class UnknownFormat(Exception):
    """A file of another format version: made by another version of this program, and left alone."""


def derive_key(secret: bytes, salt: bytes, purpose: bytes) -> bytes:
    """Thirty-two bytes for one purpose (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"dynakv 1 " + purpose).derive(secret)


def key_name(key: bytes) -> bytes:
    """Four bytes that name a key in the files that it opens; nothing can be told of the key by that."""
    return blake2b(key, digest_size=4, person=b"dynakv file key").digest()


def _new_nonce() -> bytes:
    """Twelve bytes that no other frame has.

    Of two machines resumed from one snapshot the system's randomness may be the same for a while. So the clock counts
    too: both would have to seal a frame in the same nanosecond. Neither is asked for through `Runtime` here, since
    nothing that a node does can depend on a nonce.
    """
    return (int.from_bytes(os.urandom(_NONCE_BYTES)) ^ time.time_ns()).to_bytes(_NONCE_BYTES)


class Sealer:
    """Makes the bytes of one file, in order.

    :param kind: four bytes that name what the file is for.
    :param salt: sixteen random bytes, of this file alone.
    :param version: at least; see `NEWEST_VERSION`.
    """

    def __init__(self, keys: Keys, kind: bytes, salt: bytes, version: int = FORMAT_VERSION) -> None:
        newest, *others = (keys,) if isinstance(keys, bytes) else keys
        self._cipher = AESGCM(derive_key(newest, salt, b"file " + kind))
        version = NEWEST_VERSION if others else version
        header = _FILE_HEADER.pack(MAGIC, version, kind, salt)
        self.salt = salt
        self.header = header + zlib.crc32(header).to_bytes(_CRC_BYTES)
        if version >= _NAMED_KEYS_SINCE:
            self.header += key_name(newest)
        self.offset = len(self.header)
        self._index = 0

    def seal(self, payload: bytes) -> bytes:
        """The next frame."""
        nonce = _new_nonce()
        header = FRAME_HEADER.pack(_MARKER, self._index, _NONCE_BYTES + len(payload) + _TAG_BYTES)
        sealed = self._cipher.encrypt(nonce, payload, header + self.offset.to_bytes(8))
        frame = b"".join((header, nonce, sealed))
        self._index += 1
        self.offset += len(frame)
        return frame


def seal_file(keys: Keys, kind: bytes, salt: bytes, payload: bytes, version: int = FORMAT_VERSION) -> bytes:
    """A whole file of one frame."""
    sealer = Sealer(keys, kind, salt, version)
    return sealer.header + sealer.seal(payload)


@dataclass(slots=True)
class Opened:
    """What could be read of a sealed file.

    :ivar salt: names the file; empty when its header does not say it.
    :ivar payloads: of the frames that verify, from the start up to the first that does not.
    :ivar good_bytes: the length up to which all verifies.
    :ivar damaged: there is something that verifies behind something that does not, or the header is not readable.
    :ivar torn: the file ends in something that does not verify, and nothing behind it does: a write cut short.
    """

    salt: bytes = b""
    payloads: list[bytes] = field(default_factory=list)
    good_bytes: int = 0
    damaged: bool = False
    torn: bool = False

    @property
    def intact(self) -> bool:
        """Whether every byte verifies."""
        return not self.damaged and not self.torn


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    :ivar key: names the key that opens it; empty where the release that wrote it had but one. (The checksum does not
        cover it, so that releases before version 6 find theirs where it was, and refuse the version by name.)
    :ivar size_bytes: where its frames begin.
    """

    version: int
    kind: bytes
    salt: bytes
    key: bytes
    size_bytes: int


def header_of(data: bytes) -> Header | None:
    """The header of a file, of which the first `FILE_HEADER_BYTES` are enough; ``None`` where it does not verify.

    :raises UnknownFormat: when it says that it is of another version.
    """
    if len(data) < _FORMER_HEADER_BYTES:
        return None
    magic, version, kind, salt = _FILE_HEADER.unpack_from(data)
    checksum = int.from_bytes(data[_FILE_HEADER.size : _FORMER_HEADER_BYTES])
    if magic != MAGIC or zlib.crc32(data[: _FILE_HEADER.size]) != checksum:
        return None
    if version not in READ_VERSIONS:
        known = " and ".join(map(str, READ_VERSIONS))
        raise UnknownFormat(f"format version {version}; this program knows {known}")
    if version < _NAMED_KEYS_SINCE:
        return Header(version, kind, salt, b"", _FORMER_HEADER_BYTES)
    key = data[_FORMER_HEADER_BYTES:FILE_HEADER_BYTES]
    return Header(version, kind, salt, key, FILE_HEADER_BYTES) if len(key) == _KEY_NAME_BYTES else None


def open_file(keys: Keys, kind: bytes, data: bytes) -> Opened:
    """Read a sealed file as far as it verifies, with the key that it names.

    :raises UnknownFormat: when it says that it is of another version.
    """
    opened = Opened()
    header = header_of(data)
    if header is None and len(data) < FILE_HEADER_BYTES:
        opened.torn = True
        return opened
    key = _key_of(keys, header, data) if header is not None else None
    if header is None or key is None or header.kind != kind:
        opened.damaged = True
        return opened
    opened.salt = header.salt
    cipher = _cipher(key, header)
    offset, index = header.size_bytes, 0
    while offset < len(data):
        found = _open_frame(cipher, data, offset, index)
        if found is None:
            break
        payload, offset = found
        opened.payloads.append(payload)
        index += 1
    opened.good_bytes = offset
    if offset < len(data):
        opened.damaged = _any_frame_behind(cipher, data, offset)
        opened.torn = not opened.damaged
    return opened


def _key_of(keys: Keys, header: Header, data: bytes) -> bytes | None:
    """The key that a file names; where it names none, the one that opens it, or else the one that should."""
    known = (keys,) if isinstance(keys, bytes) else keys
    if header.key:
        return next((key for key in known if key_name(key) == header.key), None)
    opens = (key for key in reversed(known) if _open_frame(_cipher(key, header), data, header.size_bytes, 0))
    return known[0] if len(known) == 1 else next(opens, known[-1])


class _Cipher(NamedTuple):
    """What opens the frames of a file.

    :ivar has_nonces: whether each frame has a nonce of its own; else its index is its nonce.
    """

    aead: AESGCM
    has_nonces: bool


def _cipher(key: bytes, header: Header) -> _Cipher:
    own_nonces = header.version >= _OWN_NONCES_SINCE
    return _Cipher(AESGCM(derive_key(key, header.salt, b"file " + header.kind)), own_nonces)


def _open_frame(cipher: _Cipher, data: bytes, offset: int, index: int | None) -> tuple[bytes, int] | None:
    """The frame at an offset and the offset behind it, if it verifies; `index` None takes the one it claims."""
    if offset + FRAME_HEADER.size > len(data):
        return None
    marker, claimed, length = FRAME_HEADER.unpack_from(data, offset)
    end = offset + FRAME_HEADER.size + length
    if marker != _MARKER or end > len(data) or (index is not None and claimed != index):
        return None
    start = offset + FRAME_HEADER.size
    header, nonce = data[offset:start], claimed.to_bytes(_NONCE_BYTES)
    if cipher.has_nonces:
        nonce, start = data[start : start + _NONCE_BYTES], start + _NONCE_BYTES
    if end - start < _TAG_BYTES:
        return None
    try:
        payload = cipher.aead.decrypt(nonce, data[start:end], header + offset.to_bytes(8))
    except InvalidTag:
        return None
    return payload, end


def _any_frame_behind(cipher: _Cipher, data: bytes, offset: int) -> bool:
    """Whether something that verifies lies behind an offset; also yes when that takes too long to tell."""
    left_bytes = SEARCH_TIMES * len(data)
    while (offset := data.find(_MARKER, offset + 1)) != -1:
        if _open_frame(cipher, data, offset, None) is not None:
            return True
        left_bytes -= min(int.from_bytes(data[offset + _LENGTH_AT : offset + FRAME_HEADER.size]), len(data) - offset)
        if left_bytes < 0:
            return True
    return False
