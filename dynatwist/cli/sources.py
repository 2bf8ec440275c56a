"""Where an import reads from: files, stdin, and other stores that run. What the bytes mean is `dynatwist.importing`."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from dynatwist.importing import consul, etcd
from dynatwist.importing.jsonl import Lines
from dynatwist.importing.rows import Item, Refused, SourceError

from .show import counted

MOST_LINE_BYTES = 64 << 20
"""Of one line: a value of the greatest size that a node is ever configured to take, escaped, has room."""
KINDS = ("jsonl", "etcd", "consul", "redis")


class Source(ABC):
    """What is imported."""

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Row by row.

        :raises SourceError: it cannot be read, or not further.
        """

    def count(self) -> int | None:
        """How many there are, about, if that is known.

        :raises SourceError: it cannot be read.
        """
        return None

    def fault(self) -> str:
        """What is wrong with the source as a whole, once all items were read; empty when nothing is."""
        return ""

    def note(self) -> str:
        """What whoever imports has to know of the source, once all items were read; perhaps empty."""
        return ""


def source_of(kind: str, place: str) -> Source:
    """What is to be read.

    :param kind: one of `KINDS`.
    :param place: a file, ``-`` for stdin, or a URL.
    :raises SourceError: that kind is not read from there.
    """
    if "://" not in place:
        if kind == "redis":
            raise SourceError("Redis is read from where it runs: redis://[:PASSWORD@]HOST:PORT/DB")
        return _FILES[kind](place)
    from . import source_http, source_redis

    scheme = place.split("://")[0]
    if kind == "redis" and scheme == "redis":
        return source_redis.RedisServer(place)
    if kind in ("etcd", "consul") and scheme in ("http", "https"):
        return source_http.EtcdGateway(place) if kind == "etcd" else source_http.ConsulApi(place)
    raise SourceError(f"{kind} is not read from {scheme}://; {_INSTEAD[kind]}")


_INSTEAD = {
    "jsonl": "give a file, or - for stdin",
    "etcd": "give a file, or http://HOST:2379",
    "consul": "give a file, or http://HOST:8500",
    "redis": "give redis://HOST:PORT/DB",
}


def now_ms() -> int:
    """The time, as ends of records are told."""
    return time.time_ns() // 1_000_000


@contextmanager
def _told(path: str) -> Iterator[None]:
    """What goes wrong with a file is a `SourceError`."""
    try:
        yield
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from None


def _opened(path: str) -> BinaryIO:
    with _told(path):
        return sys.stdin.buffer if path == "-" else open(path, "rb")


class _JsonLines(Source):
    def __init__(self, path: str) -> None:
        self._path = path
        self._file = _opened(path)
        self._lines = Lines()

    def _line(self) -> bytes:
        with _told(self._path):
            return self._file.readline(MOST_LINE_BYTES)

    def items(self) -> Iterator[Item]:
        with self._file:
            while line := self._line():
                if len(line) == MOST_LINE_BYTES and not line.endswith(b"\n"):
                    raise SourceError(f"a line is longer than {MOST_LINE_BYTES >> 20} MiB; this is no export")
                item = self._lines.read(line)
                if item is not None:
                    yield item

    def fault(self) -> str:
        return self._lines.fault()


class _Document(Source):
    """One JSON document: all of it is in memory."""

    def __init__(self, path: str) -> None:
        with _told(path), _opened(path) as file:
            self.data = file.read()


class _EtcdFile(_Document):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._leased = 0

    def items(self) -> Iterator[Item]:
        page = etcd.page_of(self.data)
        self._leased = sum(1 for one in page.entries if one.lease)
        yield from etcd.rows_of(page, {})
        if page.next_key:
            yield Refused("the rest", "etcdctl printed only a part: leave its --limit out")

    def note(self) -> str:
        if not self._leased:
            return ""
        keys = counted(self._leased, "key")
        return f"{keys} got no end: the file names leases, and not how long they last; etcd's URL tells it"


class _ConsulFile(_Document):
    def items(self) -> Iterator[Item]:
        yield from consul.rows_of(self.data)


_FILES: dict[str, Callable[[str], Source]] = {"jsonl": _JsonLines, "etcd": _EtcdFile, "consul": _ConsulFile}
