"""Rows of an import on their way to a cluster: some hundred at a time, each made once, and told what came of it."""

from __future__ import annotations

import pytest

from dynatwist.cli import writing
from dynatwist.cli.tally import Tally
from dynatwist.cli.writing import BATCH, BATCH_BYTES, LONGEST_TTL_S, Writer
from dynatwist.importing.rows import Refused, Row
from dynatwist.sansio.errors import Forbidden, KvError, Unavailable

MADE = {"status": 201}


class Client:
    """Answers as it is told; remembers what was sent.

    :param outcomes: called with each operation, and how often the key was sent before.
    """

    def __init__(self, outcomes=lambda op, times: MADE):
        self.outcomes = outcomes
        self.sent = []
        self.times = {}

    def batch(self, table, ops):
        self.sent.append((table, ops))
        found = []
        for op in ops:
            self.times[op["key"]] = self.times.get(op["key"], -1) + 1
            found.append(self.outcomes(op, self.times[op["key"]]))
        return found


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(writing, "PAUSE_S", 0)


def written(client, *items, table="", only_absent=True):
    tally = Tally()
    writer = Writer(client, tally, table=table, only_absent=only_absent)
    for item in items:
        writer.take(item)
    writer.flush()
    return tally


def rows(count, value=b"{}"):
    return [Row(f"k{number}", value, "t") for number in range(count)]


class TestBatches:
    def test_of_some_hundred_rows_and_a_mebibyte(self):
        client = Client()
        assert written(client, *rows(1200)).written == 1200
        assert [len(ops) for _, ops in client.sent] == [BATCH, BATCH, 200]
        client = Client()
        written(client, *rows(9, b'{"a":"%b"}' % (b"x" * (BATCH_BYTES // 4))))
        assert [len(ops) for _, ops in client.sent] == [4, 4, 1]

    def test_of_one_table_and_each_key_once(self):
        client = Client()
        tally = written(client, Row("a", b"{}", "t"), Row("a", b'{"n":1}', "t"), Row("b", b"{}", "u"))
        assert [(table, [op["key"] for op in ops]) for table, ops in client.sent] == [
            ("t", ["a"]),
            ("t", ["a"]),
            ("u", ["b"]),
        ]
        assert tally.written == 3

    def test_the_table_that_is_named_counts(self):
        client = Client()
        written(client, Row("a", b"{}", "t"), Row("b", b"{}"), table="mine")
        assert [table for table, _ in client.sent] == ["mine"]
        assert written(Client(), Row("a", b"{}")).first_refused == [("a", "the line has no table; say --table TABLE")]

    def test_every_write_has_a_name_of_its_own(self):
        client = Client()
        written(client, *rows(700))
        names = [op["idempotency_key"] for _, ops in client.sent for op in ops]
        assert len(set(names)) == 700

    def test_ends(self, monkeypatch):
        monkeypatch.setattr(writing, "now_ms", lambda: 1000)
        client = Client()
        ends = (None, 900, 1000, 1001, 3000, 3001, 10**17)
        tally = written(client, *(Row(str(end), b"{}", "t", end) for end in ends))
        assert tally.ended == 2
        assert [op.get("ttl") for _, ops in client.sent for op in ops] == [None, 1, 2, 3, LONGEST_TTL_S]


class TestOutcomes:
    def test_what_is_there_is_left_or_written_over(self):
        def held(op, times):
            return {"status": 412, "error": "held"} if op.get("if_none_match") else MADE

        assert written(Client(held), *rows(2)).left == 2
        assert written(Client(held), *rows(2), only_absent=False).written == 2

    def test_what_is_refused_is_named_the_first_few(self):
        tally = written(Client(lambda op, times: {"status": 403, "error": "not yours"}), *rows(9), Refused("x", "y"))
        assert (tally.refused, tally.first_refused[0]) == (10, ("x", "y"))
        assert tally.first_refused[1:] == [(f"k{number}", "not yours") for number in range(4)]

    def test_what_comes_to_nothing_is_sent_again_by_the_same_name(self):
        def later(op, times):
            return MADE if times == 2 or op["key"] == "k1" else {"status": 503, "code": "uncertain", "error": "?"}

        client = Client(later)
        tally = Tally()
        tally.writes(1)
        writer = Writer(client, tally, table="", only_absent=True)
        for row in rows(3):
            writer.take(row)
        writer.flush()
        assert tally.written == 4
        assert [[op["key"] for op in ops] for _, ops in client.sent] == [["k0", "k1", "k2"], ["k0", "k2"], ["k0", "k2"]]
        assert client.sent[2][1][0] == client.sent[0][1][0]

    @pytest.mark.parametrize(
        ("status", "error", "begun"),
        [(503, Unavailable, 0), (429, Unavailable, 0), (507, KvError, 0), (507, KvError, 9)],
    )
    def test_what_does_not_pass_ends_the_import(self, status, error, begun):
        """A row that a node has no room for, at once; another one when nothing was taken before."""
        client = Client(lambda op, times: {"status": status, "code": "code", "error": "why"})
        tally = Tally()
        tally.writes(begun)
        writer = Writer(client, tally, table="", only_absent=True)
        writer.take(*rows(1))
        with pytest.raises(error, match="why") as raised:
            writer.flush()
        assert (raised.value.status, len(client.sent)) == (status, 1)

    def test_a_batch_that_is_too_large_goes_in_halves(self):
        class Small(Client):
            def batch(self, table, ops):
                if len(ops) > 3 or (len(ops) > 1 and any(op["key"] == "k7" for op in ops)):
                    raise KvError(413, "too_large", "too large")
                return super().batch(table, ops)

        client = Small(lambda op, times: {"status": 413, "error": "too large"} if op["key"] == "k7" else MADE)
        tally = written(client, *rows(12))
        assert (tally.written, tally.first_refused) == (11, [("k7", "too large")])

    def test_a_table_that_is_none_refuses_its_rows_and_others_go_on(self):
        class Strict(Client):
            def batch(self, table, ops):
                if table == "_system":
                    raise Forbidden(403, "system_table", "the system's")
                return super().batch(table, ops)

        tally = written(Strict(), Row("a", b"{}", "_system"), Row("b", b"{}", "t"))
        assert (tally.written, tally.first_refused) == (1, [("a", "the system's")])
