"""The key file: the cluster's secrets, like an Erlang cookie.

    dynakv-keys 1
    cluster BASE64
    storage BASE64
    tokens BASE64 UNTIL

Lines of one kind may repeat, the one in use first. ``cluster`` secrets give the gossip, peer and token keys;
``storage`` secrets wrap the data keys, so that rotating one leaves the other alone. ``tokens`` is what is left of a
retired cluster secret: its tokens are good until then, in seconds since 1970.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable
from contextlib import suppress
from fcntl import LOCK_EX, flock
from glob import escape, glob

from dynatwist.errors import StartError

from .keyring import SECRET_BYTES, ClusterKeys, NoSuchKeys

_FIRST_LINE = "dynakv-keys 1"
_UNTIL = re.compile(r"[0-9]{1,20}")
"""Seconds since 1970. Python would take digits of other scripts too, and refuses to read thousands of them."""


def render(keys: ClusterKeys) -> str:
    """The text of a key file."""
    lines = [_FIRST_LINE]
    lines += [f"cluster {base64.b64encode(secret).decode()}" for secret in keys.cluster]
    lines += [f"storage {base64.b64encode(secret).decode()}" for secret in keys.storage]
    lines += [f"tokens {base64.b64encode(key).decode()} {until_s}" for key, until_s in keys.token_keys]
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
    token_keys: list[tuple[bytes, int]] = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        kind, _, encoded = line.partition(" ")
        until = ""
        if kind == "tokens":
            encoded, _, until = encoded.strip().partition(" ")
        try:
            secret = base64.b64decode(encoded.strip(), validate=True)
        except binascii.Error:
            secret = b""
        if len(secret) == SECRET_BYTES and kind == "tokens" and _UNTIL.fullmatch(until):
            token_keys.append((secret, int(until)))
        elif len(secret) == SECRET_BYTES and kind in found:
            found[kind].append(secret)
        else:
            raise StartError(f"{path}, line {number}: expected 'cluster' or 'storage' and 32 bytes in base64")
    if not found["cluster"] or not found["storage"]:
        raise StartError(f"{path}: needs at least one 'cluster' and one 'storage' line; copy it from another node")
    keys = ClusterKeys(tuple(found["cluster"]), tuple(found["storage"]), tuple(token_keys))
    try:
        return keys.checked()
    except NoSuchKeys as error:
        raise StartError(f"{path}: {error}") from None


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
        keys = _read(path)
        if os.stat(path).st_mode & 0o077:
            raise StartError(f"{path}: readable by others; run: chmod 600 {path}")
    except OSError as error:
        raise StartError(f"cannot use the key file {path}: {error.strerror or error}") from None
    return keys, created


def _read(path: str) -> ClusterKeys:
    """The secrets in a file.

    :raises OSError: when it cannot be read.
    :raises StartError: when it is no key file.
    """
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise StartError(f"{path}: byte {error.start} is none that a key file has; copy it from another node") from None
    return parse(text, path)


def change(path: str, how: Callable[[ClusterKeys], ClusterKeys]) -> ClusterKeys:
    """Change the secrets in a file, durably and at once, also when several nodes that share it do so together.

    :returns: what is in it now.
    :raises OSError: when the file cannot be read or written; it is left as it was.
    :raises StartError: when it is no key file any more.
    :raises NoSuchKeys: when no key file may have what it is changed to.
    """
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flock(folder, LOCK_EX)
        before = _read(path)
        after = how(before).checked()
        if after != before:
            temporary = _write_new(path, after)
            os.replace(temporary, path)
            if not {*before.cluster, *before.storage} <= {*after.cluster, *after.storage}:
                _remove_leftovers(path)
            os.fsync(folder)
        return after
    finally:
        os.close(folder)


def _write_new(path: str, keys: ClusterKeys) -> str:
    """Write secrets durably to a file beside the key file; answers its path."""
    temporary = f"{path}.{os.getpid()}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, render(keys).encode("ascii"))
        os.fsync(fd)
    finally:
        os.close(fd)
    return temporary


def _remove_leftovers(path: str) -> None:
    """What writers left that were killed has secrets, too, that are none any more."""
    for leftover in glob(f"{escape(path)}.*.new"):
        with suppress(OSError):
            os.remove(leftover)


def _create(path: str) -> bool:
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    temporary = _write_new(path, ClusterKeys((os.urandom(32),), (os.urandom(32),)))
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.remove(temporary)
    return True
