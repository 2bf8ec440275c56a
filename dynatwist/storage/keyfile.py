"""The key file: the cluster's secrets, like an Erlang cookie.

    dynakv-keys 1
    cluster BASE64
    storage BASE64

Lines of one kind may repeat, the newest first. ``cluster`` secrets give the gossip, peer and token keys; ``storage``
secrets wrap the data keys, so that rotating one leaves the other alone.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass

from dynatwist.errors import StartError

from .seal import derive_key

_FIRST_LINE = "dynakv-keys 1"


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    """The secrets of a cluster, newest first; at least one of each.

    The representation shows none of them.
    """

    cluster: tuple[bytes, ...]
    storage: tuple[bytes, ...]

    def derive(self, purpose: bytes) -> bytes:
        """The key for one purpose, from the newest cluster secret."""
        return derive_key(self.cluster[0], b"", purpose)

    def admin_password(self) -> str:
        """The administrator's password where none was configured."""
        return base64.b32encode(self.derive(b"admin password")[:15]).decode().lower()

    def __repr__(self) -> str:
        return "ClusterKeys(...)"


def render(keys: ClusterKeys) -> str:
    """The text of a key file."""
    lines = [_FIRST_LINE]
    lines += [f"cluster {base64.b64encode(secret).decode()}" for secret in keys.cluster]
    lines += [f"storage {base64.b64encode(secret).decode()}" for secret in keys.storage]
    return "\n".join(lines) + "\n"


def parse(text: str, path: str) -> ClusterKeys:
    """Read the text of a key file.

    :param path: for the error message.
    :raises StartError: when it is not one.
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != _FIRST_LINE:
        raise StartError(f"{path}: not a dynakv key file (its first line must be '{_FIRST_LINE}')")
    found: dict[str, list[bytes]] = {"cluster": [], "storage": []}
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        kind, _, encoded = line.partition(" ")
        try:
            secret = base64.b64decode(encoded.strip(), validate=True)
        except binascii.Error:
            secret = b""
        if kind not in found or len(secret) != 32:
            raise StartError(f"{path}, line {number}: expected 'cluster' or 'storage' and 32 bytes in base64")
        found[kind].append(secret)
    if not found["cluster"] or not found["storage"]:
        raise StartError(f"{path}: needs at least one 'cluster' and one 'storage' line; copy it from another node")
    return ClusterKeys(tuple(found["cluster"]), tuple(found["storage"]))


def load_or_create(path: str) -> tuple[ClusterKeys, bool]:
    """The secrets in a file, which is made with random ones, mode 0600, when missing.

    Two first starts at once agree on one: the file appears whole, by a link, and the second finds it there.

    :returns: the secrets, and whether the file was made now.
    :raises StartError: when it cannot be read or made.
    """
    try:
        created = False
        if not os.path.exists(path):
            created = _create(path)
        with open(path, encoding="ascii") as file:
            text = file.read()
        if os.stat(path).st_mode & 0o077:
            raise StartError(f"{path}: readable by others; run: chmod 600 {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"cannot use the key file {path}: {getattr(error, 'strerror', None) or error}") from None
    return parse(text, path), created


def _create(path: str) -> bool:
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.new"
    keys = ClusterKeys((os.urandom(32),), (os.urandom(32),))
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, render(keys).encode("ascii"))
        os.fsync(fd)
    finally:
        os.close(fd)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.remove(temporary)
    return True
