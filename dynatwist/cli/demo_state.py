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
            if _is_of(one.pid, b"demo"):
                found.append(one)
            else:
                forget(one.pid)
                _end_nodes(one)
    return sorted(found, key=lambda one: one.began_s, reverse=True)


def _end_nodes(killed: Running) -> None:
    """End the nodes of a demo that was killed: those that run have noticed and ended, a frozen one notices nothing."""
    for pid in killed.pids:
        if os.path.isdir("/proc/self"):  # another system does not tell whose a process is by now
            send(killed, pid, signal.SIGKILL)


def _is_of(pid: int, mark: bytes) -> bool:
    """Whether a process is there, and has something in its command line: a number may be another process's by now."""
    try:
        os.kill(pid, 0)
        if os.path.isdir("/proc/self"):
            return mark in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return True


def send(running: Running, pid: int, number: signal.Signals) -> bool:
    """Send a node of a demo a signal; false where it is gone."""
    if not pid or not _is_of(pid, f"{running.folder}{os.sep}".encode()):
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
