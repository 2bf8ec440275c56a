"""Opening a data folder: the identity first, with a new epoch before the first write, then what the disk holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dynatwist.errors import StartError
from dynatwist.model.dots import EPOCH_BYTES, NODE_ID_BYTES
from dynatwist.model.registry import decode_registry
from dynatwist.sometimes import sometimes

from .files import FileSystem
from .identity import Identity, IdentityFile
from .keyring import ClusterKeys
from .recovery import Recovered, recover
from .seal import UnknownFormat

REGISTRY = "registry"
"""Name of the meta entry with the newest registry whose consequences for this node's replicas are in the log."""
DATA_KEY_BYTES = 32
"""Of AES-256."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A data folder that is open.

    :ivar findings: what was wrong with it, and is mended or left out; for the log.
    """

    identity: Identity
    identity_file: IdentityFile
    recovered: Recovered
    findings: list[str]


def open_folder(
    *,
    fs: FileSystem,
    folder: str,
    keys: ClusterKeys,
    randbytes: Callable[[int], bytes],
    replicas: int,
    say: Callable[[str], None],
) -> Opened:
    """Open a data folder, or begin one. Where somebody has put another storage secret first, what is written from now
    on is sealed by another data key (`dynatwist.storage.renewal`).

    :param replicas: N; a node that is in a cluster goes by that cluster's.
    :param say: told of the progress.
    :raises StartError: when the folder cannot be used.
    """
    try:
        for path in (folder, f"{folder}/wal", f"{folder}/cold"):
            fs.make_folder(path)
        file = IdentityFile(fs, folder, keys, randbytes)
        identity, findings = file.load()
        if identity is None:
            identity = Identity(randbytes(NODE_ID_BYTES), b"", 0, 0, randbytes(DATA_KEY_BYTES), logs_registry=True)
        elif identity.registry is not None and identity.registry.replicas != replicas:
            raise StartError(
                f"--replicas {replicas}: this node's cluster was founded with {identity.registry.replicas}; "
                "that cannot be changed"
            )
        if file.sealed_by not in (b"", keys.storage[0]):
            sometimes("a start finds another storage secret in use")
            identity.renew_data_key(randbytes(DATA_KEY_BYTES))
        identity.epoch = randbytes(EPOCH_BYTES)
        identity.starts += 1
        identity.incarnation += 1
        file.save(identity)
        recovered = recover(fs, folder, identity.data_keys, identity.registry is not None, say)
        findings += _catch_up(identity, file, recovered)
    except UnknownFormat as error:
        raise StartError(f"{folder}: {error}") from None
    except OSError as error:
        raise StartError(f"{error.filename or folder}: {error.strerror or error}") from None
    identity.wall_ms = max(identity.wall_ms, recovered.wall_ms)
    return Opened(identity, file, recovered, findings + recovered.findings)


def _catch_up(identity: Identity, file: IdentityFile, recovered: Recovered) -> list[str]:
    """An older identity was put in the place of a newer one, when the log has a later start, or a newer registry.

    The log is believed: peers, who have met that start, would take this whole folder for an old backup, and a registry
    that is older than what the replicas go by would have them start over.
    """
    packed = recovered.state.meta.get(REGISTRY)
    logged = decode_registry(packed) if packed else None
    known = identity.registry.version if identity.registry is not None else 0
    is_older = recovered.starts >= identity.starts
    if logged is not None and logged.version > known:
        identity.registry, is_older = logged, True
    if not is_older:
        return []
    sometimes("the identity is older than the log")
    finding = (
        f"the identity files are older than the log (start {identity.starts - 1}, the log has start "
        f"{recovered.starts}): were they put back from a copy? The log is believed"
    )
    identity.starts = max(identity.starts, recovered.starts + 1)
    file.save(identity)
    return [finding]
