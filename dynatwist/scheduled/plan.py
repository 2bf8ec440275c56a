"""What an administrator wants a node to back up by itself."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dynatwist.backups.errors import BackupError
from dynatwist.backups.keys import Secret
from dynatwist.config.node import NodeConfig
from dynatwist.errors import StartError
from dynatwist.storage.backup_key import read_key_file


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module.

    :ivar keep: how many backups of this node are kept; and what increments among them go on from.
    :ivar full_each: each so many-th is a full one, those between are increments.
    """

    folder: str
    every_s: float
    keep: int
    secret: Secret
    full_each: int = 1


def plan_of(config: NodeConfig) -> Plan | None:
    """What a node's settings say; ``None`` for no backups.

    :raises StartError: the key cannot be read.
    """
    if config.backup_folder is None or config.backup_key is None:
        return None
    try:
        secret = read_key_file(config.backup_key)
    except BackupError as error:
        raise StartError(f"--backup-key {error}") from None
    folder = os.path.abspath(os.path.expanduser(config.backup_folder))
    return Plan(folder, config.backup_every_s, config.backup_keep, secret, config.backup_full_each)
