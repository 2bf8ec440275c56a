"""The parts of a node's own backups, put together as its settings want them."""

from __future__ import annotations

from dynatwist.api.context import VERSION, Context
from dynatwist.config.node import NodeConfig
from dynatwist.requests.backups import BackupSource
from dynatwist.runtime import Runtime
from dynatwist.storage.room import DiskRoom

from .plan import plan_of
from .reading import Reading
from .rounds import ScheduledBackups
from .shelf import Shelf

NAME_DIGITS = 8
"""Of a node's id, in the names of its backups."""


def scheduled_backups(
    config: NodeConfig, runtime: Runtime, context: Context, source: BackupSource, room: DiskRoom
) -> ScheduledBackups | None:
    """What makes a node's backups; ``None`` where it is to make none.

    :raises StartError: the key cannot be read.
    """
    plan = plan_of(config)
    if plan is None:
        return None
    cluster, tables = context.cluster, context.coordinator.tables
    shelf = Shelf(
        plan,
        fs=runtime.fs,
        thread=runtime.new_writer("backup"),
        node=cluster.me.node_id.hex()[:NAME_DIGITS],
        spare_bytes=lambda: 2 * room.reserve_bytes,  # below one of it, writes of clients are refused
    )
    return ScheduledBackups(
        plan,
        runtime=runtime,
        shelf=shelf,
        reading=lambda: Reading(runtime, source, tables),
        is_ready=lambda: cluster.standing.is_ready,
        version=VERSION,
    )
