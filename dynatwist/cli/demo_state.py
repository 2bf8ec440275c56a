"""Which demos run on this machine: what ``dynakv demo kill`` and the like look at."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import msgspec

from .files import load, save, state_folder


class Running(msgspec.Struct):
    """One demo.

    :ivar pid: of ``dynakv demo`` itself.
    :ivar began_s: when it began, since the epoch.
    :ivar folder: where its data and logs are.
    :ivar ports: of its nodes.
    :ivar pids: of their processes; 0 for one that is down.
    :ivar frozen: the numbers of those that are frozen.
    :ivar wanted: the numbers of those that are to be started again.
    """

    pid: int
    began_s: float
    folder: str
    ports: list[int]
    pids: list[int]
    frozen: list[int] = []
    wanted: list[int] = []


def _path(pid: int) -> str:
    return os.path.join(state_folder(), "demos", f"{pid}.json")


def remember(running: Running) -> None:
    """A demo runs, or something of it has changed."""
    save(_path(running.pid), running)


def forget(pid: int) -> None:
    """A demo has ended."""
    with suppress(OSError):
        os.unlink(_path(pid))


def recall(pid: int) -> Running | None:
    """What is known of a demo."""
    return load(_path(pid), Running)


def all_running() -> list[Running]:
    """Those that run, the newest first. What is left of others, which were killed, is cleared away."""
    found: list[Running] = []
    with suppress(OSError):
        for name in os.listdir(os.path.join(state_folder(), "demos")):
            one = load(os.path.join(state_folder(), "demos", name), Running)
            if one is None:
                continue
            if _is_there(one.pid):
                found.append(one)
            else:
                forget(one.pid)
                _end_nodes(one)
    return sorted(found, key=lambda one: one.began_s, reverse=True)


def _end_nodes(killed: Running) -> None:
    """End the nodes of a demo that was killed: those that run have noticed and ended, a frozen one notices nothing."""
    for pid in killed.pids:
        with suppress(OSError):  # it is gone, or this system does not tell
            if f"{killed.folder}{os.sep}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def send(pid: int, number: signal.Signals) -> bool:
    """Send a process a signal; false where it is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
