"""Values that lost a concurrent write: shown to whom they concern, at every node, until somebody settles the matter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from dynatwist.client import Client, NotFound
from dynatwist.sync import Client as SyncClient

from .real import RealCluster, check_logs, wait_until

pytestmark = pytest.mark.processes
DYNAKV = str(Path(sys.executable).with_name("dynakv"))
SHARED = [{"read": ["*"], "create": ["*"], "update": ["owner"], "delete": ["owner"]}]


def sees(node, other):
    return node.request("GET", "/membership").json["nodes"][other.address]["reachable"]


@contextmanager
def halves(cluster):
    """Two nodes while the third one is stopped; afterwards it alone, which has heard nothing of what they did."""
    one, two, three = cluster.nodes

    def other_side():
        one.freeze()
        two.freeze()
        three.thaw()
        return three

    three.freeze()
    try:
        wait_until(lambda: not sees(one, three) and not sees(two, three), what="nothing waits in a socket")
        yield one, other_side
    finally:
        for node in cluster.nodes:
            node.thaw()
    wait_until(lambda: all(sees(a, b) for a in cluster.nodes for b in cluster.nodes), what="all see each other")


def contest(cluster, table, names, token, other_token=None):
    """Each key is written on both sides of a cut; the later value wins, or the earlier creation."""
    with halves(cluster) as (one, other_side):
        for name in names:
            assert one.put(table, name, {"by": "one", "key": name}, token).status == 201
        three = other_side()
        for name in names:
            assert three.put(table, name, {"by": "three", "key": name}, other_token or token, "?w=one").status == 201


def contested(cluster, table, names, token):
    """The same with keys that both sides know, so that the later value wins."""
    for name in names:
        assert cluster.nodes[0].put(table, name, {"by": "nobody"}, token, "?w=all").status == 201
    contest(cluster, table, names, token)


def listed(node, token, **query):
    answer = node.request("GET", "/conflicts" + asked(query), None, token)
    assert answer.status == 200, answer.body
    return answer.json


def asked(query):
    return "?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""


def settle(node, token, name):
    return node.request("DELETE", f"/conflicts/{name}", None, token)


def keys(conflicts):
    return [one["key"] for one in conflicts]


def all_list(cluster, table, token, names):
    return all(sorted(keys(listed(node, token, table=table))) == sorted(names) for node in cluster.nodes)


@pytest.fixture(scope="module")
def admin(cluster):
    return cluster.admin_token()


@pytest.fixture(scope="module")
def people(cluster):
    return {name: cluster.nodes[0].register(name, "a long secret") for name in ("alice", "bob")}


class TestListing:
    def test_the_loser_is_shown_at_every_node_with_what_it_lost_against(self, cluster, people):
        alice = people["alice"]
        contested(cluster, "shown", ["k"], alice)
        wait_until(lambda: all_list(cluster, "shown", alice, ["k"]), what="all nodes list it")
        found = [listed(node, alice, table="shown") for node in cluster.nodes]
        assert found[0] == found[1] == found[2]
        (one,) = found[0]
        held = cluster.nodes[0].get("shown", "k", alice).json
        assert held["value"] == {"by": "three", "key": "k"}
        assert (one["table"], one["key"]) == ("shown", "k")
        assert one["lost"]["value"] == {"by": "one", "key": "k"}
        assert one["lost"]["owner"] == "alice"
        assert one["at"] == one["lost"]["timestamp"] < held["timestamp"]
        assert one["won"] == {"version": held["version"], "timestamp": held["timestamp"], "owner": "alice"}

    def test_it_stays_whatever_is_written_over_it_until_it_is_settled(self, cluster, people):
        alice, (one, two, three) = people["alice"], cluster.nodes
        contested(cluster, "stays", ["k"], alice)
        wait_until(lambda: all_list(cluster, "stays", alice, ["k"]), what="all nodes list it")
        assert one.put("stays", "k", {"by": "both"}, alice, "?w=all").status == 201
        assert two.delete("stays", "k", alice).status == 200
        (found,) = listed(three, alice, table="stays")
        answer = settle(two, alice, found["id"])
        assert (answer.status, answer.json) == (200, {"status": "settled", "id": found["id"]})
        assert answer.headers["x-replicas"] == "3/3"
        assert all_list(cluster, "stays", alice, [])
        again = settle(three, alice, found["id"])
        assert (again.status, again.json["code"]) == (404, "not_found")

    def test_a_delete_that_lost_is_shown_without_a_value_and_equal_values_are_none(self, cluster, people):
        alice = people["alice"]
        for name in ("deleted", "same"):
            assert cluster.nodes[0].put("kinds", name, {"by": "nobody"}, alice, "?w=all").status == 201
        before = sum(node.stats()["conflicts"] for node in cluster.nodes)
        with halves(cluster) as (one, other_side):
            assert one.delete("kinds", "deleted", alice).status == 200
            assert one.put("kinds", "same", {"by": "both"}, alice).status == 201
            three = other_side()
            for name in ("deleted", "same"):
                assert three.put("kinds", name, {"by": "both"}, alice, "?w=one").status == 201
        wait_until(lambda: sum(node.stats()["conflicts"] for node in cluster.nodes) >= before + 2, what="both met")
        wait_until(lambda: all_list(cluster, "kinds", alice, ["deleted"]), what="all nodes list one")
        assert listed(cluster.nodes[1], alice, table="kinds")[0]["lost"]["value"] is None

    def test_pages_go_on_behind_an_id_whether_or_not_it_is_still_there(self, cluster, people):
        alice, (one, two, three) = people["alice"], cluster.nodes
        names = [f"k{number}" for number in range(7)]
        contested(cluster, "pages", names, alice)
        wait_until(lambda: all_list(cluster, "pages", alice, names), what="all nodes list them")
        assert keys(listed(one, alice, table="pages")) == names[::-1]
        found, after = [], ""
        for node in (one, two, three, one):
            answer = node.request("GET", f"/conflicts?table=pages&limit=2&after={after}", None, alice)
            found += answer.json
            after = answer.json[-1]["id"]
            assert answer.headers.get("x-next-after", after) == after
            assert ("x-next-after" in answer.headers) == (len(found) < 7)
            assert settle(two, alice, after).status == 200
        assert keys(found) == names[::-1]
        assert keys(listed(three, alice, table="pages", after=after)) == []
        settled = {found[number]["key"] for number in (1, 3, 5, 6)}
        assert set(keys(listed(one, alice, table="pages"))) == set(names) - settled
        every = listed(three, alice)
        assert [one["at"] for one in every] == sorted((one["at"] for one in every), reverse=True)
        assert {one["table"] for one in every} > {"pages"}


class TestRights:
    def test_others_see_nothing_and_the_administrator_all(self, cluster, people, admin):
        contested(cluster, "private", ["k"], people["alice"])
        wait_until(lambda: all_list(cluster, "private", people["alice"], ["k"]), what="all nodes list it")
        (found,) = listed(cluster.nodes[0], admin, table="private")
        for node in cluster.nodes:
            assert listed(node, people["bob"], table="private") == []
            assert "private" not in {one["table"] for one in listed(node, people["bob"])}
            assert settle(node, people["bob"], found["id"]).status == 404
            assert node.request("GET", "/conflicts").status == 401
            assert node.request("DELETE", f"/conflicts/{found['id']}").status == 401
        assert settle(cluster.nodes[0], admin, found["id"]).status == 200

    def test_whose_value_lost_sees_it_also_where_the_winner_is_not_theirs_to_read(self, cluster, people, admin):
        """Both have created the key: it is the earlier one's."""
        contest(cluster, "race", ["k"], people["alice"], people["bob"])
        wait_until(lambda: all_list(cluster, "race", admin, ["k"]), what="all nodes list it")
        assert cluster.nodes[2].get("race", "k", people["bob"]).status == 403
        (found,) = listed(cluster.nodes[1], people["bob"], table="race")
        assert (found["lost"]["value"], found["won"]) == ({"by": "three", "key": "k"}, None)
        assert listed(cluster.nodes[1], people["alice"], table="race") == []
        assert listed(cluster.nodes[1], admin, table="race")[0]["won"]["owner"] == "alice"
        assert settle(cluster.nodes[0], people["alice"], found["id"]).status == 404
        assert settle(cluster.nodes[0], people["bob"], found["id"]).status == 200
        assert all_list(cluster, "race", admin, [])

    def test_who_may_read_and_not_update_sees_and_does_not_settle(self, cluster, people, admin):
        answer = cluster.nodes[0].request("PUT", "/admin/tables/public", {"access": SHARED}, admin)
        assert answer.status == 200
        contested(cluster, "public", ["k"], people["alice"])
        wait_until(lambda: all_list(cluster, "public", people["bob"], ["k"]), what="all nodes list it")
        (found,) = listed(cluster.nodes[0], people["bob"], table="public")
        assert found["won"]["owner"] == "alice"
        refused = settle(cluster.nodes[1], people["bob"], found["id"])
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
        assert settle(cluster.nodes[1], people["alice"], found["id"]).status == 200
        assert cluster.nodes[0].request("DELETE", "/admin/tables/public", None, admin).status == 200


BAD = {
    "/conflicts?limit=0": "bad_limit",
    "/conflicts?limit=1001": "bad_limit",
    "/conflicts?limit=many": "bad_limit",
    "/conflicts?after=nonsense": "bad_after",
    "/conflicts?after=00": "bad_after",
    "/conflicts?after=" + "g" * 40: "bad_after",
    "/conflicts?after=" + "%20" * 40: "bad_after",
    "/conflicts?after=" + "0" * 42: "bad_after",
    "/conflicts?table=": "bad_table",
    "/conflicts?table=stats": "reserved_table",
    "/conflicts?table=" + "t" * 200: "bad_table",
    "/conflicts?table=a%00": "bad_table",
}


class TestBadRequests:
    @pytest.mark.parametrize("path", BAD)
    def test_what_is_wrong_is_named(self, cluster, people, path):
        answer = cluster.nodes[0].request("GET", path, None, people["alice"])
        assert (answer.status, answer.json["code"]) == (400, BAD[path])
        assert set(answer.json) == {"error", "code"}

    @pytest.mark.parametrize("name", ["x", "0" * 39, "0" * 41, "%ff" * 20, "é" * 20])
    def test_what_is_no_id(self, cluster, people, name):
        answer = settle(cluster.nodes[0], people["alice"], quote(name, safe="%"))
        assert answer.status == 400
        assert answer.json["code"] in ("bad_id", "bad_path")

    def test_an_id_of_nothing(self, cluster, people):
        assert settle(cluster.nodes[0], people["alice"], "0" * 40).status == 404
        assert settle(cluster.nodes[0], people["alice"], "f" * 40).status == 404
        assert listed(cluster.nodes[0], people["alice"], after="0" * 40) == []

    def test_tables_of_the_system_have_none(self, cluster, admin):
        answer = cluster.nodes[0].request("GET", "/conflicts?table=_users", None, admin)
        assert (answer.status, answer.json["code"]) == (403, "system_table")

    def test_other_methods(self, cluster, people):
        assert cluster.nodes[0].request("POST", "/conflicts", {}, people["alice"]).status == 405
        assert cluster.nodes[0].request("GET", "/conflicts/" + "0" * 40, None, people["alice"]).status == 405
        assert cluster.nodes[0].put("conflicts", "k", {}, people["alice"]).status == 400


class TestHands:
    def test_the_command(self, cluster, people, tmp_path):
        alice = people["alice"]
        contested(cluster, "hands", ["[red]k[/red]"], alice)
        wait_until(lambda: all_list(cluster, "hands", alice, ["[red]k[/red]"]), what="all nodes list it")
        env = {**os.environ, "DYNAKV_URL": f"http://{cluster.nodes[0].address}", "DYNAKV_TOKEN": alice}

        def dynakv(*words):
            done = subprocess.run([DYNAKV, *words], env=env, capture_output=True, text=True, timeout=60, check=False)
            return done.returncode, done.stdout, done.stderr

        code, out, _ = dynakv("conflicts", "hands")
        assert code == 0
        assert "[red]k[/red]" in out
        assert '{"by":"one"' in out
        code, out, _ = dynakv("conflicts", "hands", "--json")
        (found,) = json.loads(out)
        assert found["lost"]["value"]["by"] == "one"
        assert dynakv("conflicts", "settle", found["id"]) == (0, "settled\n", "")
        code, _, err = dynakv("conflicts", "settle", found["id"])
        assert code == 4  # there is none of that id
        assert err.startswith("dynakv: ")
        assert len(err.splitlines()) == 1
        assert json.loads(dynakv("conflicts", "hands", "--json")[1]) == []
        assert found["id"] not in dynakv("conflicts")[1]
        assert dynakv("conflicts", "a", "b", "c")[0] == 2

    @pytest_twisted.ensureDeferred
    async def test_the_client(self, cluster, people):
        await deferToThread(contested, cluster, "client", ["a", "b", "c"], people["alice"])
        await deferToThread(wait_until, lambda: all_list(cluster, "client", people["alice"], ["a", "b", "c"]))
        kv = await Client.connect(reactor, [f"http://{node.address}" for node in cluster.nodes])
        kv.token = people["alice"]
        found = await kv.conflicts("client")
        assert [one.key for one in found] == ["c", "b", "a"]
        assert found[0].lost.value == {"by": "one", "key": "c"}
        assert [one.key for one in await kv.conflicts("client", limit=2)] == ["c", "b"]
        await kv.settle(found[1].id)
        assert [one.key for one in await kv.conflicts("client")] == ["c", "a"]
        with pytest.raises(NotFound):
            await kv.settle(found[1].id)
        await kv.close()


class TestFailures:
    def test_over_kill_and_restart_and_told_to_who_was_away(self, cluster, people, admin):
        alice, (one, two, three) = people["alice"], cluster.nodes
        contested(cluster, "kept", ["a", "b"], alice)
        wait_until(lambda: all_list(cluster, "kept", alice, ["a", "b"]), what="all nodes list them")
        assert one.request("POST", "/admin/save", token=admin).status == 200
        for node in cluster.nodes:
            node.kill()
        for node in (one, two):
            node.start()
        wait_until(lambda: one.is_ready() and two.is_ready(), 20)
        answer = one.request("GET", "/conflicts?table=kept", None, alice)
        assert keys(answer.json) == ["b", "a"]
        assert answer.headers["x-replicas"] == "2/3"
        assert answer.headers["x-partial"] == three.address
        settled = settle(two, alice, answer.json[0]["id"])
        assert (settled.status, settled.headers["x-partial"]) == (200, three.address)
        three.start()
        cluster.wait_ready()
        kept = three.stats()["conflicts_kept"]
        full = three.request("GET", "/conflicts?table=kept", None, alice)
        assert keys(full.json) == ["a"]
        assert "x-partial" not in full.headers
        wait_until(lambda: three.stats()["conflicts_kept"] == kept - 1, what="the third one is told")
        one.kill()
        two.kill()
        wait_until(lambda: keys(listed(three, alice, table="kept")) == ["a"], 20, "it goes by what it was told")
        one.start()
        two.start()
        cluster.wait_ready()
        assert all_list(cluster, "kept", alice, ["a"])

    def test_a_frozen_member_is_left_out_and_named(self, cluster, people):
        one, _, three = cluster.nodes
        everybody_answers = lambda: "x-partial" not in one.request("GET", "/conflicts", None, people["alice"]).headers  # noqa: E731
        wait_until(everybody_answers, what="nobody but the frozen one is away")
        three.freeze()
        try:
            answer = one.request("GET", "/conflicts", None, people["alice"])
            assert answer.status == 200
            assert answer.headers["x-partial"] == three.address
            with SyncClient([f"http://{one.address}"]) as kv:
                kv.token = people["alice"]
                assert kv.conflicts().missing == (three.address,)
        finally:
            three.thaw()
        wait_until(lambda: sees(one, three))

    def test_what_they_cost_is_counted(self, cluster, admin):
        text = cluster.nodes[0].request("GET", "/metrics", None, admin).body.decode()
        figures = dict(line.split(" ") for line in text.splitlines() if line.startswith("dynakv_conflicts"))
        assert float(figures["dynakv_conflicts_kept"]) > 0
        assert float(figures["dynakv_conflicts_kept_bytes"]) > 600


def test_a_node_alone_and_values_of_some_size():
    """Pages end where they are large; a single value of a page may be larger than that."""
    cluster = RealCluster.start(3)
    try:
        alice = cluster.nodes[0].register("alice", "a long secret")
        names = [f"k{number}" for number in range(5)]
        with halves(cluster) as (one, other_side):
            for name in names:
                assert one.put("large", name, {"by": "one", "fill": "x" * 400_000}, alice).status == 201
            three = other_side()
            for name in names:
                assert three.put("large", name, {"by": "three", "fill": "y" * 400_000}, alice, "?w=one").status == 201

        def listed():
            found, after = [], ""
            for _ in range(10):
                answer = cluster.nodes[1].request("GET", f"/conflicts?after={after}", None, alice)
                assert len(answer.json) <= 3
                found += answer.json
                after = answer.headers.get("x-next-after", "")
                if not after:
                    break
            return found

        wait_until(lambda: keys(listed()) == names[::-1], what="all are kept")
        found = listed()
        assert {one["lost"]["value"]["by"] for one in found} == {"three"}
        check_logs(cluster)
    finally:
        cluster.close()
