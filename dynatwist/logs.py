"""The node's log, as ``--log-format`` and ``--log-level`` want it: text for people, or an object of JSON a line.

twistd makes its log before the node is there, and asks a factory that its options name; so what was chosen waits here.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import msgspec
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEvent,
    textFileLogObserver,
)
from twisted.python.logfile import LogFile


def call_now(call: Callable[[], object]) -> object:
    """Where there is no reactor."""
    return call()


FACTORY = f"{__name__}.observer"
"""The name under which twistd finds `observer`."""
LEVELS = ("debug", "info", "warn", "error")
_WORDS = ("request", "node")
"""Fields of an event that have a member of their own."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the log is to be.

    :ivar path: of its file; empty for twistd's usual place.
    :ivar in_reactor: has something done in a turn of the reactor.
    """

    is_json: bool = False
    level: str = "info"
    path: str = ""
    is_daemon: bool = False
    in_reactor: Callable[[Callable[[], object]], object] = call_now

    @property
    def is_usual(self) -> bool:
        """Whether twistd's own log is that."""
        return not self.is_json and self.level == "info"


_chosen = [Choice()]


class Line(msgspec.Struct, omit_defaults=True):
    """A line of the log.

    :ivar time: UTC, to the millisecond.
    :ivar logger: the module that speaks.
    :ivar request: id of the request that the line is about; see `dynatwist.api.followed`.
    :ivar failure: a traceback.
    """

    time: str
    level: str
    logger: str
    text: str
    request: str = ""
    node: str = ""
    failure: str = ""


def choose(choice: Choice) -> None:
    """Have twistd's next call of `observer` make that."""
    _chosen[:] = [choice]


def observer() -> ILogObserver:
    """The log that was chosen, for twistd."""
    return observer_for(_file(_chosen[0]), is_json=_chosen[0].is_json, level=_chosen[0].level)


def observer_for(file: TextIO, *, is_json: bool, level: str) -> ILogObserver:
    """What writes events to a file, from a level on."""
    written = FileLogObserver(file, json_line) if is_json else textFileLogObserver(file)
    return FilteringLogObserver(written, [LogLevelFilterPredicate(LogLevel.levelWithName(level))])


def json_line(event: dict[str, Any]) -> str:
    """An event as a line of JSON; nothing that an event holds can break the line, or the log."""
    text = formatEvent(event)
    failure = event.get("log_failure")
    level = event.get("log_level") or LogLevel.info
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC).isoformat(timespec="milliseconds")
    line = Line(
        moment.replace("+00:00", "Z"),
        level.name,
        str(event.get("log_namespace") or "-"),
        _sound(text),
        **{word: _sound(str(event[word])) for word in _WORDS if word in event},
        failure=_sound(eventAsText(event, includeTimestamp=False, includeSystem=False)) if failure is not None else "",
    )
    return msgspec.json.encode(line).decode() + "\n"


def _sound(text: str) -> str:
    """What JSON can say: a path that is no UTF-8 comes with lone surrogates."""
    return text.encode(errors="replace").decode()


def _file(choice: Choice) -> TextIO:
    if choice.path == "-" or not (choice.path or choice.is_daemon):
        return sys.stdout
    file = LogFile.fromFullPath(choice.path or "twistd.log")
    if not signal.getsignal(signal.SIGUSR1):  # begins another file, as with twistd's own log
        signal.signal(signal.SIGUSR1, lambda number, frame: choice.in_reactor(file.rotate))
    return cast(TextIO, file)
