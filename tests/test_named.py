"""Writes with an ``Idempotency-Key``: made once, however often they are sent, by whatever door, to whatever node."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.named import KEPT_MS, MAX_NAMED, Named, is_flawless, made_before, name_for
from dynatwist.model.record import Draft, Record, write_over
from dynatwist.replication.request import Kind, Operation, etag, quoted

from .test_doors import WebSocket

ACTOR = b"a" * 16


def written(held, name=b"", *, ms=1_000, seq=1, value=b"{}"):
    draft = Draft(value, "alice", name=name)
    return write_over(held, (), 0, draft, Dot(ACTOR, seq), Stamp(ms, 0, ACTOR), ms)


class TestWhatARecordRemembers:
    def test_its_own_name_and_those_before(self):
        one, two = name_for("alice", "one", b"{}"), name_for("alice", "two", b"{}")
        first = written(None, one)
        last = written(written(written(first, two, seq=2)), b"", seq=3)
        found = made_before(last.named, one, 2_000)
        assert (found.version, quoted(found.tag)) == (1, etag(first))
        assert made_before(last.named, two, 2_000).version == 2

    def test_deletes_remember_too(self):
        name = name_for("alice", "one", b"{}")
        gone = written(written(None, name), value=None, seq=2)
        assert made_before(gone.named, name, 2_000).version == 1

    def test_others_names_are_others_and_another_body_is_found(self):
        held = written(None, name_for("alice", "one", b"{}"))
        assert made_before(held.named, name_for("bob", "one", b"{}"), 2_000) is None
        other = name_for("alice", "one", b'{"n":1}')
        assert made_before(held.named, other, 2_000).name != other

    def test_a_name_counts_for_ten_minutes(self):
        name = name_for("alice", "one", b"{}")
        held = written(None, name, ms=1_000)
        assert made_before(held.named, name, 1_000 + KEPT_MS) is not None
        assert made_before(held.named, name, 1_001 + KEPT_MS) is None
        assert written(held, ms=1_001 + KEPT_MS, seq=2).named == ()

    def test_the_last_ones_are_kept(self):
        names = [name_for("alice", str(number), b"{}") for number in range(MAX_NAMED + 5)]
        held = None
        for seq, name in enumerate(names, 1):
            held = written(held, name, seq=seq)
        assert [one.name for one in held.named] == names[5:]
        assert is_flawless(held.named, 1 << 53)
        assert not is_flawless((*held.named, held.named[0]), 1 << 53)

    @given(st.lists(st.tuples(st.text(), st.text(), st.binary()), unique=True, max_size=8))
    def test_names_are_equal_for_equal_requests_only(self, requests):
        names = [name_for(*one) for one in requests]
        assert all(one != other for one, other in pairwise(sorted(names)))

    @pytest.mark.parametrize("name", [b"", b"short", b"x" * 25])
    def test_a_peers_name_that_is_none_is_a_flaw(self, name):
        assert not is_flawless((Named(name, 1, 1, b"t" * 12),), 1 << 53)

    def test_records_and_operations_of_the_release_before_have_no_names(self):
        for value, kind in ((Operation(Kind.PUT, ("t", "k")), Operation), (written(None), Record)):
            fields = msgspec.msgpack.decode(msgspec.msgpack.encode(value))
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(fields[:-1]), type=kind) == value


@pytest.fixture(scope="module")
def alice(cluster):
    answer = cluster.nodes[0].request("PUT", "/admin/tables/strong", {"consistency": "strong"}, cluster.admin_token())
    assert answer.status == 200
    return cluster.nodes[0].register("alice", "a long secret")


@pytest.fixture(params=["strong", "usual"])
def table(request):
    return request.param


def put(node, table, key, value, token, name, **headers):
    return node.request("PUT", f"/{table}/key/{key}", value, token, Idempotency_Key=name, **headers)


@pytest.mark.processes
class TestOnRealProcesses:
    def test_a_put_is_made_once_whatever_node_hears_it(self, cluster, alice, table):
        answers = [
            put(node, table, "once", {"n": 1}, alice, "the first") for node in (*cluster.nodes, cluster.nodes[0])
        ]
        assert {(one.status, one.body, one.headers["etag"]) for one in answers} == {
            (201, answers[0].body, answers[0].headers["etag"])
        }

    def test_what_others_wrote_since_stays(self, cluster, alice, table):
        first, second, third = cluster.nodes
        made = put(first, table, "since", {"n": 1}, alice, "mine")
        assert second.put(table, "since", {"n": 2}, alice).status == 201
        again = put(third, table, "since", {"n": 1}, alice, "mine")
        assert again.status == 201
        assert again.headers["etag"] == made.headers["etag"]
        known = {name: value for name, value in made.json.items() if name != "owner"}
        assert again.json == {**known, "vector_clock": {}, "superseded": True}
        assert first.get(table, "since", alice).json["value"] == {"n": 2}

    def test_another_body_under_a_name_is_422(self, cluster, alice, table):
        first, second, _ = cluster.nodes
        put(first, table, "body", {"n": 1}, alice, "one name")
        other = put(second, table, "body", {"n": 2}, alice, "one name")
        assert (other.status, other.json["code"]) == (422, "idempotency_mismatch")
        assert first.get(table, "body", alice).json["value"] == {"n": 1}
        assert put(first, table, "another", {"n": 2}, alice, "one name").status == 201, "it is another record"

    def test_patches_conditions_and_deletes(self, cluster, alice, table):
        first, second, third = cluster.nodes
        created = put(first, table, "all", {"n": 1}, alice, "c", If_None_Match="*")
        assert put(second, table, "all", {"n": 1}, alice, "c", If_None_Match="*").status == 201
        assert put(second, table, "all", {"n": 1}, alice, "d", If_None_Match="*").status == 412
        patch = {"method": "PATCH", "path": f"/{table}/key/all", "body": {"m": 2}, "token": alice}
        tag = created.headers["etag"]
        patched = [node.request(**patch, Idempotency_Key="p", If_Match=tag) for node in cluster.nodes]
        assert [(one.status, one.json["value"]) for one in patched] == [(200, {"n": 1, "m": 2})] * 3
        assert first.request(**patch, If_Match=tag).status == 412
        gone = [node.request("DELETE", f"/{table}/key/all", None, alice, Idempotency_Key="x") for node in cluster.nodes]
        assert [(one.status, one.json) for one in gone] == [(200, gone[0].json)] * 3
        assert third.delete(table, "all", alice).status == 404
        late = second.request(**patch, Idempotency_Key="p", If_Match=tag)
        assert (late.status, late.json["value"], late.json["superseded"]) == (200, None, True)
        assert third.get(table, "all", alice).status == 404

    def test_operations_of_a_batch(self, cluster, alice, table):
        ops = [{"op": "put", "key": "b", "value": {"n": 1}, "idempotency_key": "1"}]
        answers = [node.request("POST", f"/{table}/batch", {"ops": ops}, alice) for node in cluster.nodes]
        assert {one.body for one in answers} == {answers[0].body}
        ops[0]["value"] = {"n": 2}
        refused = cluster.nodes[0].request("POST", f"/{table}/batch", {"ops": ops}, alice)
        assert refused.json["results"][0]["code"] == "idempotency_mismatch"

    def test_a_batch_creates_and_gives_ends(self, cluster, alice, table):
        def batch(node, *ops):
            return node.request("POST", f"/{table}/batch", {"ops": list(ops)}, alice).json["results"]

        first, second, _ = cluster.nodes
        op = {"op": "put", "key": "in a batch", "value": {"n": 1}, "ttl": 500, "if_none_match": True}
        op["idempotency_key"] = "o"
        assert [batch(node, op)[0]["status"] for node in cluster.nodes] == [201] * 3
        assert batch(second, {**op, "idempotency_key": "p"})[0]["code"] == "precondition_failed"
        assert batch(second, {**op, "ttl": 400})[0]["code"] == "idempotency_mismatch"
        held = first.get(table, "in a batch", alice).json
        assert 0 < held["expires_at"] - held["timestamp"] <= 501_000
        bad = batch(first, {**op, "ttl": 0}, {**op, "ttl": "5"}, {"op": "delete", "key": "in a batch", "ttl": 5})
        assert [(one["status"], one["code"]) for one in bad] == [(400, "malformed")] * 3

    def test_writes_on_a_websocket(self, cluster, alice, table):
        told = []
        for node in cluster.nodes:
            socket = WebSocket(node)
            assert socket.ask(op="auth", id=1, token=alice)["ok"]
            put = {"op": "put", "id": 2, "table": table, "key": "ws", "value": {"n": 1}, "idempotency_key": "w"}
            told.append(socket.ask(**put))
            assert socket.ask(**{**put, "idempotency_key": 5})["code"] == "bad_idempotency_key"
            socket.client.close()
        assert told[0]["ok"]
        assert [one["record"] for one in told] == [told[0]["record"]] * 3

    @pytest.mark.parametrize("name", ["", "x" * 129])
    def test_a_name_that_is_none_is_refused(self, cluster, alice, name):
        answer = put(cluster.nodes[0], "usual", "k", {"n": 1}, alice, name)
        assert (answer.status, answer.json["code"]) == (400, "bad_idempotency_key")
        assert "128" in answer.json["error"]

    def test_names_outlive_kill_9(self, cluster, alice, table):
        first, second, _ = cluster.nodes
        made = put(first, table, "kill", {"n": 1}, alice, "k")
        assert second.put(table, "kill", {"n": 2}, alice).status == 201
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:
            node.start()
        cluster.wait_ready()
        again = put(first, table, "kill", {"n": 1}, alice, "k")
        assert (again.status, again.json["version"]) == (201, made.json["version"])
        assert second.get(table, "kill", alice).json["value"] == {"n": 2}
