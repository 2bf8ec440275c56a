"""What people are shown of a whole cluster: three real nodes, of which one is frozen and one killed at the end."""

from __future__ import annotations

import threading

import pytest

from .real import RealCluster, check_logs, wait_until

pytestmark = pytest.mark.processes
ROUTES = ("overview", "history", "locks?table=t", "audit", "users/bob/rights?table=t")
RULES = [
    {
        "prefix": "",
        "read": ["*"],
        "create": ["group:editors"],
        "update": ["owner", "group:editors"],
        "delete": ["owner"],
    },
    {"prefix": "{user}/", "read": ["owner"], "create": ["*"], "update": ["owner"], "delete": ["owner"]},
    {"prefix": "old/", "read": ["user:bob"]},
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("insight")
    made = RealCluster(folder)
    for number in range(3):
        made.add("--audit-log", str(folder / f"audit-{number}.log"))
    made.wait_ready()
    yield made
    check_logs(made)
    made.close()


@pytest.fixture(scope="module")
def token(cluster):
    return cluster.admin_token()


@pytest.fixture(scope="module")
def bob(cluster, token):
    """A user, and all that the tests look at later: by then each node knows of it."""
    bob = cluster.nodes[0].register("bob", "a long secret")
    tell(cluster, token, "PUT", "/admin/tables/locks", {"consistency": "strong"})
    tell(cluster, token, "PUT", "/admin/tables/posts", {"access": RULES})
    tell(cluster, token, "PUT", "/admin/groups/editors", {"members": ["bob"]})
    for number in range(40):
        assert cluster.nodes[number % 2].put("t", f"k{number}", {}, bob).status == 201
    return bob


@pytest.fixture
def ask(cluster, token):
    def asked(path, number=0, status=200):
        answer = cluster.nodes[number].request("GET", f"/admin/{path}", None, token)
        assert answer.status == status, answer.body
        return answer.json

    return asked


def tell(cluster, token, method, path, body, status=200):
    answer = cluster.nodes[0].request(method, path, body, token)
    assert answer.status == status, answer.body
    return answer.json


@pytest.mark.parametrize("route", ROUTES)
def test_only_administrators_are_shown_anything(cluster, bob, route):
    assert cluster.nodes[0].request("GET", f"/admin/{route}").status == 401
    answer = cluster.nodes[0].request("GET", f"/admin/{route}", None, bob)
    assert (answer.status, answer.json["code"]) == (403, "admin_only")


def test_what_is_asked_for_wrongly(ask):
    assert ask("history?span=2h", status=400)["error"] == "span is one of 10m, 1h, 24h"
    assert ask("audit?after=x", status=400)["code"] == "bad_after"
    assert ask("locks?table=plain", status=409)["code"] == "not_strong"
    assert ask("users/nobody/rights?table=t", status=404)["code"] == "no_such_user"
    assert ask("users/service:none/rights?table=t", status=404)["code"] == "no_such_token"
    assert ask("users/bob/rights", status=400)["code"] == "bad_table"


class TestAllIsWell:
    def test_the_overview(self, cluster, ask):
        for number in range(3):
            found = ask("overview", number)
            assert (found["verdict"], found["advice"], found["failures_left"]) == ("ok", [], 2)
            assert found["sentence"] == "all 3 members answer; writes are safe; one more may fail"
            assert [one["address"] for one in found["members"]] == sorted(node.address for node in cluster.nodes)
            assert [one["address"] for one in found["members"] if one["self"]] == [cluster.nodes[number].address]
            for one in found["members"]:
                assert (one["state"], one["ready"], one["reachable"], one["error"]) == ("alive", True, True, None)
                assert one["partitions"] == {"whole": [[0, 256]], "filling": [], "damaged": [], "moving": []}
                assert one["memory_bytes"] > 10 << 20
                assert one["disk_free_bytes"] > 0
                assert (one["rtt_ms"] is None) == one["self"]
            assert len({one["secret"] for one in found["members"]}) == 1

    def test_what_somebody_may_do_and_why(self, cluster, token, ask, bob):
        wait_until(lambda: ask("users/bob/rights?table=posts", 1)["groups"] == ["editors"], 5)
        found = wait_until(lambda: (one := ask("users/bob/rights?table=posts", 1))["has_rules"] and one, 5)
        assert (found["read"], found["write"], found["is_admin"]) == ("any", "any", False)
        assert [(one["prefix"], one["read"], one["write"]) for one in found["prefixes"]] == [
            ("", "any", "any"),
            ("bob/", "own", "own"),
            ("old/", "any", "none"),
        ]
        mine = ask("users/bob/rights?table=posts&key=bob/1", 1)
        assert (mine["read"], mine["write"]) == ("own", "own")
        assert mine["because"] == [
            {"rule": "owner", "prefix": "bob/", "gives": "read own"},
            {"rule": "*", "prefix": "bob/", "gives": "create"},
            {"rule": "owner", "prefix": "bob/", "gives": "update own"},
            {"rule": "owner", "prefix": "bob/", "gives": "delete own"},
        ]
        assert cluster.nodes[1].put("posts", "old/1", {}, bob).status == 403, "as was said"
        usual = ask("users/bob/rights?table=plain")
        assert (usual["has_rules"], usual["read"], usual["write"]) == (False, "own", "own")

    def test_what_a_program_may_do_and_when_its_token_was_used(self, cluster, token, ask):
        access = [{"table": "jobs", "rights": ["read"]}, {"table": "jobs", "prefix": "out/", "rights": ["write"]}]
        made = tell(cluster, token, "POST", "/admin/tokens", {"name": "worker", "access": access}, 201)
        wait_until(lambda: [one["id"] for one in ask("tokens", 2)["tokens"]] == [made["id"]], 5)
        found = ask("users/service:worker/rights?table=jobs", 2)
        assert [(one["prefix"], one["read"], one["write"]) for one in found["prefixes"]] == [
            ("", "any", "none"),
            ("out/", "any", "any"),
        ]
        assert {one["rule"] for one in found["because"]} == {"grant"}
        assert ask("tokens", 2)["tokens"][0]["last_used"] is None
        cluster.nodes[0].get("jobs", "1", made["token"])
        wait_until(lambda: ask("tokens", 2)["tokens"][0]["last_used"], 5, "each node knows when it was used")

    def test_two_programs_of_one_name(self, cluster, token, ask):
        made = [tell(cluster, token, "POST", "/admin/tokens", {"name": "twin", "access": []}, 201) for _ in range(2)]
        found = ask("users/service:twin/rights?table=jobs", status=400)
        assert found["code"] == "ambiguous"
        assert all(f"service:{one['id']}" in found["error"] for one in made)
        assert ask(f"users/service:{made[0]['id']}/rights?table=jobs")["read"] == "none"

    def test_locks_that_are_held_and_who_waits(self, cluster, token, ask, bob):
        wait_until(lambda: cluster.nodes[2].request("POST", "/locks/lock/a", {"note": "n"}, bob).status == 201, 5)
        assert cluster.nodes[0].put("locks", "no lock", {"n": 1}, bob).status == 201
        waiting = threading.Thread(
            target=cluster.nodes[1].try_request, args=("POST", "/locks/lock/a?wait=20", None, token)
        )
        waiting.start()
        line = [{"user": "admin", "node": cluster.nodes[1].address}]
        found = wait_until(lambda: (one := ask("locks?table=locks"))["locks"][0]["waiting"] == line and one, 5)
        (lock,) = found["locks"]
        assert (lock["key"], lock["owner"], lock["note"], found["next_after"]) == ("a", "bob", "n", None)
        held = cluster.nodes[0].get("locks", "a", bob)
        assert (lock["version"], lock["expires_at"]) == (held.json["version"], held.json["expires_at"])
        tag = held.headers["etag"]
        released = cluster.nodes[0].request("POST", "/locks/lock/a/release", None, bob, If_Match=tag)
        assert released.status == 200
        waiting.join(10)
        wait_until(lambda: ask("locks?table=locks")["locks"][0]["owner"] == "admin", 5)

    def test_the_audit_log_goes_on_where_the_reader_was(self, cluster, token, ask):
        before = ask("audit")
        assert before["is_on"]
        assert {"accounts.enter", "tables.set"} <= {one["what"] for one in before["lines"]}
        assert before["next"] == before["lines"][-1]["n"] == len(before["lines"])
        assert ask(f"audit?after={before['next']}")["lines"] == [], "whoever looks leaves no line"
        tell(cluster, token, "DELETE", "/admin/groups/editors", None)
        (line,) = ask(f"audit?after={before['next']}")["lines"]
        assert (line["what"], line["who"], line["on"], line["outcome"]) == ("groups.delete", "admin", ["editors"], "ok")
        assert ask("audit?limit=1")["lines"] == [line]
        assert ask("audit?after=999999&limit=1")["lines"] == [line], "as after a restart"

    def test_the_history_has_the_requests_of_all(self, cluster, ask, bob):
        def puts():
            found = ask("history", 2)
            assert (found["span"], found["step_s"], found["until_ms"] % 5000) == ("10m", 5, 0)
            assert {len(one) for node in found["nodes"].values() for one in node["series"].values()} == {120}
            counted = [
                round(5 * sum(one or 0 for one in found["nodes"][node.address]["series"]["requests_put"]))
                for node in cluster.nodes
            ]
            return counted[0] >= 15 and counted[1] >= 15 and counted[2] == 0

        wait_until(puts, 12, "the puts are in the history of the nodes that were asked")
        series = ask("history?span=24h")["nodes"][cluster.nodes[0].address]["series"]
        assert series["keys"][-1] > 0
        assert series["memory_bytes"][-1] > 10 << 20
        assert series["requests_put"][0] is None, "before the start"


def test_one_is_frozen_then_one_is_killed(cluster, ask):
    """The node asked answers within two seconds, names whoever has not, and knows when no majority is left."""
    one, two, three = (node.address for node in cluster.nodes)
    cluster.nodes[2].freeze()
    try:
        found = ask("overview")
        assert (found["verdict"], found["failures_left"]) == ("warning", 1)
        assert found["sentence"] == "2 of 3 members answer; writes are safe; one more failure stops majority writes"
        (frozen,) = (member for member in found["members"] if member["address"] == three)
        assert frozen["error"] in ("no answer within 1 s", "cannot be reached")
        assert frozen["partitions"] is None
        nodes = ask("history")["nodes"]
        assert [sorted(nodes[address]) for address in (one, two, three)] == [["series"], ["series"], ["error"]]
        cluster.nodes[1].kill()
        found = wait_until(lambda: (now := ask("overview"))["verdict"] == "danger" and now, 5)
        assert (found["failures_left"], found["sentence"][:20]) == (0, "1 of 3 members answe")
        states = {member["address"]: member["reachable"] for member in found["members"]}
        assert states == {one: True, two: False, three: False}
    finally:
        cluster.nodes[2].thaw()
    wait_until(lambda: ask("overview")["sentence"].startswith("2 of 3 members answer"), 10)
