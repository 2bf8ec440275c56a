"""The pure parts of the browser's client, by Node.js where that is installed; Chromium runs the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dynatwist.web.client
from dynatwist.replication.followed import MADE
from dynatwist.replication.request import is_followed

from . import javascript

MODULE = Path(dynatwist.web.client.__file__).with_name("dynakv.js")
pytestmark = javascript.needs_node


def evaluated(expression):
    """What an expression comes to, in which the module's names are there; as JSON."""
    before = f"import * as dynakv from {json.dumps(MODULE.as_uri())}\nconst {{named, query, urlsOf, lifeOf, errorOf, "
    before += "EventParser, frameOf, freshName, KvError, NotFound, PreconditionFailed} = dynakv"
    return javascript.evaluated(before, expression)


STREAM = (
    ":\nid: c0\n\n"
    'id: c1\ndata: {"Updated":{"value":{"n":1}},"key":"a"}\n\n'
    'data: "Deleted"\r\n\r\n'
    'id: c2\ndata: {"Deleted":"expired","key":"b"}\n\n'
    "event: synced\nid: c3\ndata: {}\n\n:\n\nevent: reset\ndata: {}\n\n"
)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_stream_is_read_however_it_is_cut(size):
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    frames = evaluated(
        f"(parser => {json.dumps(pieces)}.flatMap(piece => parser.push(piece)).map(event => frameOf(event, 't', 'k')))"
        "(new EventParser())"
    )
    event = {"op": "event", "table": "t"}
    assert frames == [
        {"id": 3, "cursor": "c0"},
        {**event, "key": "a", "cursor": "c1", "type": "Updated", "record": {"value": {"n": 1}}},
        {**event, "key": "k", "type": "Deleted", "record": None, "reason": "deleted"},
        {**event, "key": "b", "cursor": "c2", "type": "Deleted", "record": None, "reason": "expired"},
        {"op": "synced", "cursor": "c3"},
        {"op": "reset"},
    ]


def test_each_operation_of_a_batch_has_a_name_unless_it_is_to_have_none():
    ops = evaluated("named([{op: 'put', key: 'a', value: {}}, {op: 'delete', key: 'b', idempotencyKey: ''}, "
                    "{op: 'put', key: 'c', value: {}, ttl: 5, ifNoneMatch: true, idempotencyKey: 'my'}])")  # fmt: skip
    assert ops[0].pop("idempotency_key").endswith(".0")
    assert ops == [
        {"op": "put", "key": "a", "value": {}},
        {"op": "delete", "key": "b"},
        {"op": "put", "key": "c", "value": {}, "ttl": 5, "if_none_match": True, "idempotency_key": "my"},
    ]
    one, other = evaluated("[freshName(), freshName()]")
    assert one != other
    assert len(one) == 16


def test_urls_and_queries_are_forgiving():
    assert evaluated("urlsOf('127.0.0.1:6661/')") == ["http://127.0.0.1:6661"]
    assert evaluated("urlsOf(['https://a.example//', 'b.example:1'])") == ["https://a.example", "http://b.example:1"]
    assert evaluated("query({a: 1, b: undefined, c: 'ä&'})") == "?a=1&c=%C3%A4%26"
    assert evaluated("query({b: undefined})") == ""
    assert evaluated("(() => { try { urlsOf([]) } catch (error) { return error.message } })()").startswith("give at")


def test_errors_are_classes_with_status_and_code():
    missing = evaluated("(e => [e instanceof NotFound, e instanceof KvError, e.name, e.status, e.code, e.message])"
                        """(errorOf(404, '{"error":"no such key","code":"not_found"}'))""")  # fmt: skip
    assert missing == [True, True, "NotFound", 404, "not_found", "no such key"]
    told = evaluated("""errorOf(412, '{"error":"x","code":"precondition_failed","record":null}').held""")
    assert told is None
    assert evaluated("(e => [e.code, e.retryAfterS])(errorOf(502, '<html>bad gateway', '7'))") == ["unknown", 7]


def test_a_request_has_one_id_over_all_its_tries_and_its_error_names_it():
    asked = """await (async () => {
      const seen = []
      globalThis.fetch = async (url, {headers}) => {
        seen.push(headers["X-Request-Id"])
        return new Response('{"error":"busy","code":"busy"}', {status: url.includes("none") ? 404 : 503})
      }
      const kv = new dynakv.Client(["a", "b"]), told = []
      for (const ask of [() => kv.stats(), () => kv.stats({requestId: "mine"}), () => kv.get("none", "k")])
        await ask().catch((error) => told.push([error.requestId, error.message]))
      return [seen, told]
    })()"""
    seen, told = evaluated(asked)
    made, other = seen[0], seen[-1]
    assert seen == [made] * 6 + ["mine"] * 6 + [other]
    assert is_followed(made)
    assert made.startswith(MADE)
    assert other not in (made, "mine")
    assert told == [[made, f"busy (request {made})"], ["mine", "busy (request mine)"], [other, "busy"]]


def test_how_long_a_token_lives_is_read_from_it():
    assert evaluated("lifeOf(`x.${btoa(JSON.stringify({iat: 10, exp: 70}))}.y`)") == 60_000
    assert evaluated("lifeOf('a service token') === Infinity")
