"""What other stores tell, made into rows: by samples of what they print, and by any bytes at all."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist.importing import consul, etcd, redis
from dynatwist.importing.jsonl import FORMAT, Lines
from dynatwist.importing.resp import RedisError, Replies, command
from dynatwist.importing.rows import Refused, Row, SourceError, key_flaw, row_of, shown, stripped, value_of

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


def b64(data):
    return b64encode(data).decode()


def is_sound(item):
    """A row can be sent as it is; a refusal fits a line."""
    if isinstance(item, Row):
        item.key.encode()
        return isinstance(json.loads(item.value), dict) and not key_flaw(item.key)
    return isinstance(item, Refused) and "\n" not in item.name + item.why


class TestKeys:
    def test_what_is_no_key(self):
        assert row_of(b"a\xffb", b"{}") == Refused("a\\xffb", "the key is no valid UTF-8")
        assert "is empty" in row_of("", b"{}").why
        assert "1025 bytes; at most 1024" in row_of("k" * 1025, b"{}").why
        for character in "\0\n\x1f\x7f\x9f":
            assert "control character" in row_of(f"a{character}", b"{}").why

    def test_a_slash_is_a_character_like_others(self):
        assert row_of(b"/registry/pods/a", b"{}") == Row("/registry/pods/a", b"{}")

    def test_a_prefix_goes(self):
        assert stripped(Row("/app/a", b"{}", "t", 7), "/app/") == Row("a", b"{}", "t", 7)
        assert stripped(Row("/other", b"{}"), "/app/") == Row("/other", b"{}")
        assert "nothing is left" in stripped(Row("/app/", b"{}"), "/app/").why

    def test_names_are_shown_in_a_line(self):
        assert shown("a\nb") == "a\\nb"
        assert len(shown("k" * 1000)) == 80

    @given(st.text())
    def test_a_node_says_the_same_of_keys(self, key):
        from dynatwist.api.limits import Limits, check_key
        from dynatwist.errors import ApiError

        try:
            check_key(key, Limits())
        except ApiError:
            assert key_flaw(key)
        else:
            assert not key_flaw(key)


class TestValues:
    def test_an_object_stays_as_it_was_written(self):
        assert value_of(b'{"n": 1.10, "big": 12345678901234567890}') == b'{"n": 1.10, "big": 12345678901234567890}'

    def test_anything_else_is_wrapped(self):
        assert json.loads(value_of(b"text")) == {"value": "text"}
        assert json.loads(value_of(b"[1]")) == {"value": "[1]"}
        assert json.loads(value_of(b"")) == {"value": ""}
        assert json.loads(value_of(b"\xff\0")) == {"value": {"base64": "/wA="}}
        assert json.loads(value_of(b'{"a": "\xff"}')) == {"value": {"base64": b64(b'{"a": "\xff"}')}}

    @given(st.binary())
    def test_every_value_is_one(self, data):
        assert isinstance(json.loads(value_of(data)), dict)


class TestLines:
    HEAD = b'{"format":"dynakv-export","version":1,"at":"2026-11-28T09:00:00Z","tables":["t"]}\n'
    RECORD = b'{"table":"t","key":"a","value":{"n":1.10},"owner":"ann","version":3,"expires_at":1795859601082}\n'

    def read(self, *lines):
        reader = Lines()
        items = [item for line in lines if (item := reader.read(line)) is not None]
        return items, reader.fault()

    def test_an_export(self):
        foot = b'{"end":"dynakv-export","total":1,"records":{"t":1}}\n'
        assert self.read(self.HEAD, self.RECORD, foot) == ([Row("a", b'{"n":1.10}', "t", 1795859601082)], "")

    def test_one_that_is_cut(self):
        assert "cut: its last line is missing; records up to there: 1" in self.read(self.HEAD, self.RECORD)[1]
        foot = b'{"end":"dynakv-export","total":2,"records":{"t":2}}\n'
        assert "damaged: records in it: 1, by its last line: 2" in self.read(self.HEAD, self.RECORD, foot)[1]
        items, fault = self.read(self.HEAD, self.RECORD[:40])
        assert items[0].name == "line 2"
        assert "cut" in fault

    def test_plain_lines(self):
        items, fault = self.read(b'{"key": "a", "value": {"n": 1}}\n', b"\n", b'{"key": "b", "value": [1, "x"]}')
        assert items == [Row("a", b'{"n": 1}'), Row("b", b'{"value":[1, "x"]}')]
        assert fault == ""

    def test_what_is_no_line(self):
        items, _ = self.read(b"key,value\n", b'{"kye": "a"}\n', b'{"key": "a"}\n', b'{"key": 1, "value": {}}\n', b"[]")
        assert [item.name for item in items] == [f"line {number}" for number in range(1, 6)]
        assert 'no "key"' in items[1].why
        assert "missing required field `value`" in items[2].why

    def test_a_format_of_another_release(self):
        with pytest.raises(SourceError, match="version 2, is not known here"):
            self.read(b'{"format":"dynakv-export","version":2}\n')

    @given(st.lists(st.binary(max_size=60) | ANY_JSON.map(lambda value: json.dumps(value).encode()), max_size=6))
    def test_any_bytes(self, lines):
        assert all(is_sound(item) for item in self.read(*lines)[0])

    @given(st.dictionaries(st.sampled_from(["key", "value", "table", "expires_at", "format", "end"]), ANY_JSON))
    def test_any_fields(self, fields):
        try:
            items, _ = self.read(json.dumps(fields).encode())
        except SourceError:
            assert fields["format"] != FORMAT or fields["version"] != 1
        else:
            assert all(is_sound(item) for item in items)


class TestEtcd:
    # As etcdctl 3.4 prints it; its gateway writes numbers of 64 bits as texts.
    PRINTED = json.dumps(
        {
            "header": {"cluster_id": 14841639068965178418, "member_id": 1, "revision": 7, "raft_term": 2},
            "kvs": [
                {"key": b64(b"/a"), "create_revision": 2, "mod_revision": 2, "version": 1, "value": b64(b'{"n":1}')},
                {"key": b64(b"/b"), "create_revision": 3, "value": b64(b"x"), "lease": 7587881267164551173},
                {"key": b64(b"/empty"), "create_revision": 4, "mod_revision": 4, "version": 1},
            ],
            "count": 3,
        }
    ).encode()

    def test_what_etcdctl_prints(self):
        page = etcd.page_of(self.PRINTED)
        assert list(etcd.rows_of(page, {})) == [
            Row("/a", b'{"n":1}'),
            Row("/b", b'{"value":"x"}'),
            Row("/empty", b'{"value":""}'),
        ]
        assert page.next_key == b""

    def test_leases(self):
        page = etcd.page_of(self.PRINTED)
        assert list(etcd.rows_of(page, {7587881267164551173: 99}))[1] == Row("/b", b'{"value":"x"}', "", 99)
        assert etcd.seconds_left(b'{"ID":"7","TTL":"41","grantedTTL":"60"}') == 41
        assert etcd.seconds_left(b'{"ID":"7","TTL":"-1"}') == -1

    def test_pages_of_the_gateway(self):
        answer = {"header": {"revision": "7"}, "kvs": [{"key": b64(b"k")}], "more": True, "count": "9"}
        page = etcd.page_of(json.dumps(answer).encode())
        assert (page.revision, page.next_key, page.count) == (7, b"k\0", 9)
        assert etcd.range_request(page.next_key, page.revision, 5) == {
            "key": b64(b"k\0"), "range_end": b64(b"\0"), "limit": 5, "revision": 7,
        }  # fmt: skip

    def test_an_empty_store(self):
        assert etcd.page_of(b'{"header":{"revision":"1"}}').entries == []

    def test_what_is_nothing_of_etcds(self):
        with pytest.raises(SourceError, match="is not what 'etcdctl"):
            etcd.page_of(b"/a\nvalue\n")
        page = etcd.page_of(b'{"kvs": [{"key": "***"}, 5]}')
        assert [one.name for one in page.faults] == ["entry 1", "entry 2"]

    @given(st.binary() | ANY_JSON.map(lambda kvs: json.dumps({"kvs": kvs, "more": True}).encode()))
    def test_any_bytes(self, answer):
        try:
            page = etcd.page_of(answer)
        except SourceError:
            return
        assert all(is_sound(item) for item in etcd.rows_of(page, {}))

    @given(st.lists(st.tuples(st.binary(), st.binary())))
    def test_any_keys_and_values(self, entries):
        kvs = [{"key": b64(key), "value": b64(value)} for key, value in entries]
        items = list(etcd.rows_of(etcd.page_of(json.dumps({"kvs": kvs}).encode()), {}))
        assert len(items) == len(entries)
        assert all(is_sound(item) for item in items)


# As Consul's manual shows it: `consul kv export`, and GET /v1/kv/?recurse.
EXPORTED = b"""[
    {"key": "vault/core/lock", "flags": 3304740253564472344, "value": "NGY4ZDcyOTE="},
    {"key": "folder/", "flags": 0, "value": ""},
    {"key": "config", "flags": 0, "value": "eyJuIjogMS4xMH0="}
]"""
ANSWERED = b"""[
    {"CreateIndex": 100, "ModifyIndex": 200, "LockIndex": 200, "Key": "zip", "Flags": 0, "Value": "dGVzdA==",
     "Session": "adf4238a-882b-9ddc-4a9d-5b6758e4159e"},
    {"LockIndex": 0, "Key": "folder/", "Flags": 0, "Value": null, "CreateIndex": 5, "ModifyIndex": 5}
]"""


class TestConsul:
    def test_what_consul_prints(self):
        assert list(consul.rows_of(EXPORTED)) == [
            Row("vault/core/lock", b'{"value":"4f8d7291"}'),
            Row("folder/", b'{"value":""}'),
            Row("config", b'{"n": 1.10}'),
        ]

    def test_what_its_api_answers(self):
        assert list(consul.rows_of(ANSWERED)) == [
            Row("zip", b'{"value":"test"}'),
            Row("folder/", b'{"value":""}'),
        ]

    def test_what_is_nothing_of_consuls(self):
        with pytest.raises(SourceError, match="is not what 'consul kv export' prints"):
            list(consul.rows_of(b"Error! Invalid token"))
        assert [item.name for item in consul.rows_of(b'[{"key": "a", "value": "***"}, 5]')] == ["entry 1", "entry 2"]

    @given(st.binary() | ANY_JSON.map(lambda value: json.dumps([value]).encode()))
    def test_any_bytes(self, document):
        try:
            items = list(consul.rows_of(document))
        except SourceError:
            return
        assert all(is_sound(item) for item in items)


REPLIES = st.recursive(
    st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=10,
)


def said(reply):
    """A reply as Redis sends it."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"*%d\r\n%b" % (len(reply), b"".join(map(said, reply)))


def depth(reply):
    return 1 + max(map(depth, reply), default=0) if isinstance(reply, list) else 0


class TestRedisProtocol:
    def test_commands(self):
        assert command("GET", b"k\xff", 7) == b"*3\r\n$3\r\nGET\r\n$2\r\nk\xff\r\n$1\r\n7\r\n"

    @given(st.lists(REPLIES.filter(lambda reply: depth(reply) <= 8), max_size=4), st.lists(st.integers(1, 9)))
    def test_replies_however_they_are_cut(self, replies, sizes):
        data, reader, found = b"".join(map(said, replies)), Replies(), []
        for size in [*sizes, len(data)]:
            found += reader.feed(data[:size])
            data = data[size:]
        assert found == replies

    def test_errors_and_plain_answers(self):
        error, plain = Replies().feed(b"-NOAUTH Authentication required.\r\n+OK\r\n")
        assert isinstance(error, RedisError)
        assert str(error).startswith("NOAUTH")
        assert plain == b"OK"

    NOTHING = {
        "HTTP": b"HTTP/1.1 400 Bad Request\r\n",
        "a long string": b"$99999999999\r\n",
        "a long array": b"*99999999999\r\n",
        "no number": b":x\r\n",
        "a deep array": b"*1\r\n" * 9,
        "no end": b"+" * 70_000,
    }
    PARTS = st.lists(st.sampled_from([b"$", b"*", b"-1", b"3", b"\r\n", b":", b"+a", b"abc"]))

    @pytest.mark.parametrize("data", NOTHING.values(), ids=NOTHING)
    def test_what_is_nothing_of_redis(self, data):
        with pytest.raises(SourceError):
            Replies().feed(data)

    @given(st.binary() | PARTS.map(b"".join))
    def test_any_bytes(self, data):
        with suppress(SourceError):
            Replies().feed(data)


class TestRedisValues:
    @pytest.mark.parametrize(
        ("kind", "reply", "value"),
        [
            (b"string", b'{"n": 1.10}', {"n": 1.1}),
            (b"string", b"\xff", {"value": {"base64": "/w=="}}),
            (b"hash", [b"name", b"Ann", b"raw", b"\xff"], {"name": "Ann", "raw": {"base64": "/w=="}}),
            (b"list", [b"b", b"a", b"b"], {"value": ["b", "a", "b"]}),
            (b"set", [b"b", b"a"], {"value": ["a", "b"]}),
            (b"zset", [b"a", b"1.5", b"b", b"inf"],
             {"value": [{"member": "a", "score": 1.5}, {"member": "b", "score": "inf"}]}),
            (b"stream", [[b"1-0", [b"f", b"v"]]], {"value": [{"id": "1-0", "fields": {"f": "v"}}]}),
        ],
        ids=["object", "bytes", "hash", "list", "set", "zset", "stream"],
    )  # fmt: skip
    def test_by_type(self, kind, reply, value):
        item = redis.row_of_key(b"k", kind, reply, 7)
        assert (item.key, json.loads(item.value), item.ends_ms) == ("k", value, 7)

    def test_what_has_ended_meanwhile_is_left_out(self):
        assert redis.row_of_key(b"k", b"string", None, None) is None
        assert redis.row_of_key(b"k", b"hash", [], None) is None

    def test_what_has_no_counterpart(self):
        assert "no valid UTF-8" in redis.row_of_key(b"k", b"hash", [b"\xff", b"v"], None).why
        assert redis.row_of_key(b"k", b"string", RedisError("WRONGTYPE"), None) == Refused("k", "WRONGTYPE")
        assert redis.is_too_large(b"string", 17 << 20)
        assert redis.is_too_large(b"set", 1_000_000)

    @given(st.binary(max_size=9), st.sampled_from(sorted(redis.SIZES)), REPLIES)
    def test_any_reply(self, key, kind, reply):
        item = redis.row_of_key(key, kind, reply, None)
        assert item is None or is_sound(item)
