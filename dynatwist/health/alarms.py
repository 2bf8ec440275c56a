"""What a node's own figures say is wrong with it: what the alerts of Prometheus of the same names say, without waiting.

``deploy/prometheus/alerts.yml`` has the alerts, ``docs/monitoring.rst`` what to do about each. Only those are here that
one look at a node can tell, and that do not follow from who answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Figures = Mapping[str, float]
"""By names of `dynatwist.figures`; those with labels are left out."""
A_LOG_BYTES = 1e9
"""So much log, and four times what is held: a start would read for minutes."""
NEARLY = 0.9
NO_MAJORITY = "DynakvNoMajority"


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm.

    :ivar rings: whether it is so, by a node's figures now and a minute ago.
    :ivar text: how it is.
    :ivar advice: what to do about it.
    :ivar is_danger: whether clients are refused, or data may be wrong.
    """

    name: str
    rings: Callable[[Figures, Figures], bool]
    text: str
    advice: str
    is_danger: bool


def _is_set(figure: str) -> Callable[[Figures, Figures], bool]:
    return lambda now, was: now.get(figure, 0) > 0


ALARMS = (
    Alarm(
        NO_MAJORITY,
        _is_set("partitions_without_majority"),
        "reaches too few owners of some partitions",
        "bring the other owners back, or mend the network between them and it",
        is_danger=True,
    ),
    Alarm("DynakvLogStuck", _is_set("log_is_stuck"), "has a disk that takes nothing", "make room", is_danger=True),
    Alarm(
        "DynakvDiskFull",
        _is_set("disk_is_low"),
        "refuses writes that add: less than the reserve is free on its disk",
        "delete something, give the disk more room, or lower --disk-reserve",
        is_danger=True,
    ),
    Alarm(
        "DynakvMemoryNearLimit",
        lambda now, was: now.get("store_bytes", 0) > NEARLY * now.get("store_limit_bytes", float("inf")),
        "holds nine tenths of the records that --max-memory allows",
        "raise it, add nodes, or delete",
        is_danger=False,
    ),
    Alarm(
        "DynakvClock",
        _is_set("clock_is_refused"),
        "refuses writes since its clock is off",
        "mend NTP on its machine",
        is_danger=True,
    ),
    Alarm(
        "DynakvAlarm",
        _is_set("anti_entropy_alarms"),
        "has found replicas in a state that no sequence of writes leads to",
        "keep the logs of all nodes, take a backup, and report it",
        is_danger=True,
    ),
    Alarm(
        "DynakvHintsGrow",
        lambda now, was: now.get("hints", 0) > was.get("hints", float("inf")),
        "keeps more and more writes for a member that is away",
        "look at the one that is away",
        is_danger=False,
    ),
    Alarm(
        "DynakvLogGrows",
        lambda now, was: now.get("log_since_save_bytes", 0) > 4 * now.get("store_bytes", 0) + A_LOG_BYTES,
        "has much log since its last cold save",
        "see in its log why saves fail",
        is_danger=False,
    ),
    Alarm(
        "DynakvBackupFails",
        _is_set("backup_is_failing"),
        "failed to make its last backup",
        "see its log",
        is_danger=False,
    ),
)
BY_NAME = {alarm.name: alarm for alarm in ALARMS}


def ringing(now: Figures, was: Figures) -> list[str]:
    """The names of the alarms that a node's figures ring.

    :param was: the figures a minute ago, as far as they are known.
    """
    return [alarm.name for alarm in ALARMS if alarm.rings(now, was)]
