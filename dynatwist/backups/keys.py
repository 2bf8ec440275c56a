"""The key of a backup: made of a passphrase, or of a file of random bytes.

Each backup has a salt of its own, and with it keys of its own: no chunk of one opens in another. Of the same secret and
salt a short *check* is made, which is in the header: so a wrong key is told from damage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from .errors import BackupError

KEY_BYTES = 32
CHECK_BYTES = 16
MIN_PASSPHRASE_CHARS = 12
"""Whoever has the file may guess without end; scrypt makes each try cost a third of a second."""
MIN_KEY_FILE_BYTES, MAX_KEY_FILE_BYTES = 32, 64 << 10
"""32 random bytes cannot be guessed; and whoever names a film by mistake is told so."""


class ByPassphrase(msgspec.Struct, frozen=True, tag_field="kind", tag="scrypt"):
    """How the key comes from a passphrase: OWASP's recommendation for scrypt, 128 MiB and a third of a second."""

    n: int = 1 << 17
    r: int = 8
    p: int = 1

    @property
    def is_bearable(self) -> bool:
        """Whether it takes no more than a gibibyte and some seconds: a header may say anything."""
        return 2 <= self.n <= 1 << 20 and self.n & (self.n - 1) == 0 and self.r == 8 and self.p == 1


class ByKeyFile(msgspec.Struct, frozen=True, tag_field="kind", tag="key file"):
    """How the key comes from a key file: as it is."""


Derivation = ByPassphrase | ByKeyFile


@dataclass(frozen=True, slots=True)
class Secret:
    """What a backup is sealed with: a passphrase, or what is in a key file.

    :ivar derivation: how a new backup's key is made of it.
    """

    material: bytes = field(repr=False)
    derivation: Derivation


def of_passphrase(text: str, *, is_new: bool = False) -> Secret:
    """A passphrase.

    :param is_new: whether something is to be sealed with it.
    :raises BackupError: it is too short for that.
    """
    if is_new and len(text) < MIN_PASSPHRASE_CHARS:
        raise BackupError(f"a passphrase has at least {MIN_PASSPHRASE_CHARS} characters; choose a longer one")
    return Secret(text.encode(errors="surrogatepass"), ByPassphrase())


def of_key_file(content: bytes) -> Secret:
    """What is in a key file; white space at its end does not count, since editors add some.

    :raises BackupError: it is too short, or too long to be meant.
    """
    material = content.rstrip()
    if not MIN_KEY_FILE_BYTES <= len(material) <= MAX_KEY_FILE_BYTES:
        raise BackupError(
            f"a backup's key file has {MIN_KEY_FILE_BYTES} to {MAX_KEY_FILE_BYTES} bytes; "
            "make one: openssl rand -base64 32 > FILE"
        )
    return Secret(material, ByKeyFile())


@dataclass(frozen=True, slots=True)
class FileKeys:
    """The keys of one backup.

    :ivar sealing: of its chunks.
    :ivar check: what the header says to tell a wrong key.
    """

    sealing: bytes = field(repr=False)
    check: bytes


def derive(secret: Secret, derivation: Derivation, salt: bytes) -> FileKeys:
    """The keys of the backup with a salt.

    :param derivation: as its header says.
    :raises BackupError: the secret is of the other kind, or the header asks for too much.
    """
    if isinstance(derivation, ByKeyFile):
        if not isinstance(secret.derivation, ByKeyFile):
            raise BackupError("it is sealed with a key file; give that with --backup-key FILE")
        root = sha256(secret.material).digest()
    else:
        if not isinstance(secret.derivation, ByPassphrase):
            raise BackupError("it is sealed with a passphrase; leave --backup-key out")
        if not derivation.is_bearable:
            raise BackupError("its header is damaged: it asks for more work than any backup does")
        root = Scrypt(salt, KEY_BYTES, derivation.n, derivation.r, derivation.p).derive(secret.material)
    return FileKeys(_expand(root, salt, b"chunks", KEY_BYTES), _expand(root, salt, b"check", CHECK_BYTES))


def _expand(root: bytes, salt: bytes, what: bytes, size_bytes: int) -> bytes:
    return HKDF(SHA256(), size_bytes, salt, b"dynakv backup " + what).derive(root)
