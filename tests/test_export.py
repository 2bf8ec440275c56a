"""``dynakv export`` by itself: which pages it asks for, what it leaves out, and the file that it writes."""

from __future__ import annotations

import json
import os

import pytest

from dynatwist.cli import exporting
from dynatwist.cli.exporting import MOST_AT_ONCE, PAGE_BYTES, how_many_next
from dynatwist.cli.whole_file import whole_file
from dynatwist.errors import DynakvError
from dynatwist.importing.jsonl import Lines


class Client:
    """Answers as a cluster does; remembers how much was asked for at once.

    :ivar values: by key, as JSON.
    """

    def __init__(self, values, **more):
        self.values = values
        self.more = more
        self.fetched = []
        self.gone = set()

    def keys(self, table, prefix, after, limit):
        return [key for key in sorted(self.values) if key.startswith(prefix) and key > after][:limit]

    def ask(self, method, path, body, headers, *, repeatable):
        assert (method, path, repeatable) == ("POST", "/a%2Fb/keys", True)
        found = {key: self.values[key] for key in body["keys"] if key not in self.gone}
        self.fetched.append((len(body["keys"]), sum(map(len, found.values()))))
        records = (
            f'{json.dumps(key)}:{{"value":{value},"vector_clock":{{}},"version":2,"timestamp":5,"owner":"ann","etag":"e"'
            f"{self.more.get(key, '')}}}"
            for key, value in found.items()
        )
        return ("{" + ",".join(records) + "}").encode()


def exported(client, prefix=""):
    return [line for lines, _ in exporting._lines(client, ["a/b"], prefix) for line in lines.splitlines(keepends=True)]


def test_lines_in_order_with_a_head_and_a_foot():
    head, *records, foot = exported(Client({"b": '{"n":1.10}', "a": "{}"}))
    assert json.loads(head)["tables"] == ["a/b"]
    assert records[1] == b'{"table":"a/b","key":"b","value":{"n":1.10},"owner":"ann","version":2,"timestamp":5}\n'
    assert json.loads(foot) == {"end": "dynakv-export", "total": 2, "records": {"a/b": 2}}


def test_what_an_import_reads():
    reader = Lines()
    lines = exported(Client({"a": "{}", "b": "{}"}, b=',"expires_at":77'))
    rows = [row for line in lines if (row := reader.read(line))]
    assert [(row.table, row.key, row.ends_ms) for row in rows] == [("a/b", "a", None), ("a/b", "b", 77)]
    assert reader.fault() == ""


def test_what_is_deleted_meanwhile_or_lives_with_a_connection_is_left_out():
    client = Client({"a": "{}", "b": "{}", "c": "{}"}, b=',"ephemeral":true,"expires_at":77')
    client.gone = {"a"}
    _, *records, foot = exported(client)
    assert [json.loads(one)["key"] for one in records] == ["c"]
    assert json.loads(foot)["total"] == 1


def test_few_large_records_are_fetched_together_and_many_small_ones():
    small = {f"a{n:04}": "{}" for n in range(1200)}
    large = {f"b{n:04}": json.dumps({"text": "x" * 900_000}) for n in range(6)}
    client = Client({**small, **large})
    assert len(exported(client)) == 1208
    assert max(count for count, _ in client.fetched) == MOST_AT_ONCE
    assert client.fetched[0][0] == 4
    assert client.fetched[-1][0] <= 6
    assert how_many_next(count=6, at_once=100, size_bytes=6 * 900_000) == 1
    assert how_many_next(count=1, at_once=1, size_bytes=100) == 2
    assert how_many_next(count=10, at_once=64, size_bytes=10 * PAGE_BYTES // 20) == 20


class TestFile:
    def test_it_is_there_when_it_is_whole(self, tmp_path):
        path = tmp_path / "out"
        with whole_file(str(path)) as file:
            file.write(b"text")
            assert not path.exists()
        assert path.read_bytes() == b"text"
        assert path.stat().st_mode & 0o777 == 0o600
        assert os.listdir(tmp_path) == ["out"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError, SystemExit, ValueError])
    def test_what_ends_in_between_leaves_what_was_there(self, tmp_path, error):
        path = tmp_path / "out"
        path.write_text("before")

        def end():
            with whole_file(str(path)) as file:
                file.write(b"half")
                raise error

        with pytest.raises((error, DynakvError)):
            end()
        assert path.read_text() == "before"
        assert os.listdir(tmp_path) == ["out"]

    def test_where_none_can_be(self, tmp_path):
        for path, text in ((tmp_path, "is a folder"), (tmp_path / "no" / "out", "No such file or directory")):
            with pytest.raises(DynakvError, match=text), whole_file(str(path)):
                pass
