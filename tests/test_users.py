"""Accounts on real processes: revocation everywhere, names registered again, HTTPS, status behind a token."""

from __future__ import annotations

import http.client
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

from .real import RealCluster, certificate, wait_until

pytestmark = pytest.mark.processes


def refused_everywhere(cluster, token):
    wait_until(
        lambda: all(node.request("GET", "/t/keys", token=token).status == 401 for node in cluster.nodes),
        1.0,
        "the old token is refused on every node within a second",
    )


def test_a_changed_secret_ends_old_tokens_everywhere(cluster):
    one, two, three = cluster.nodes
    old = one.register("carol", "first secret word")
    assert one.put("t", "carols", {"x": 1}, old).status == 201
    changed = two.request("PUT", "/auth/carol/secret", {"secret": "second secret word"}, old)
    assert (changed.status, changed.json["code"]) == (400, "old_secret_missing")
    body = {"secret": "second secret word", "old_secret": "first secret word"}
    changed = two.request("PUT", "/auth/carol/secret", body, old)
    assert changed.status == 200
    refused_everywhere(cluster, old)
    assert three.request("POST", "/auth/carol", {"secret": "first secret word"}).status == 401
    fresh = three.request("POST", "/auth/carol", {"secret": "second secret word"}).json["token"]
    assert one.get("t", "carols", fresh).status == 200
    by_old_secret = one.request(
        "PUT", "/auth/carol/secret", {"secret": "third secret word", "old_secret": "second secret word"}
    )
    assert by_old_secret.status == 200
    refused_everywhere(cluster, fresh)
    body = {"secret": "fourth secret word", "old_secret": "wrong secret word"}
    assert one.request("PUT", "/auth/carol/secret", body).status == 401


def test_logout(cluster):
    one, two, _ = cluster.nodes
    token = one.register("dave")
    assert two.request("POST", "/auth/dave/logout", None, token).status == 200
    refused_everywhere(cluster, token)


def test_nobody_changes_another_account(cluster):
    one = cluster.nodes[0]
    one.register("erin", "erins secret word")
    frank = one.register("frank")
    assert one.request("PUT", "/auth/erin/secret", {"secret": "mine now secret word"}, frank).status == 403
    assert one.request("DELETE", "/auth/erin", None, frank).status == 403
    assert one.request("POST", "/auth/erin/logout", None, frank).status == 403
    assert one.request("POST", "/auth/erin", {"secret": "erins secret word"}).status == 200


def test_a_name_registered_again_is_another_user(cluster):
    one, two, three = cluster.nodes
    first = one.register("grace", "one secret word")
    assert two.put("t", "graces", {"x": 1}, first, "?w=all").status == 201
    assert three.request("DELETE", "/auth/grace", None, first).status == 200
    refused_everywhere(cluster, first)
    second = two.request("POST", "/auth/grace", {"secret": "two secret word"})
    assert second.status == 201
    for node in cluster.nodes:
        assert node.get("t", "graces", second.json["token"]).status == 403
        assert node.put("t", "graces", {"x": 2}, second.json["token"]).status == 403


def test_one_name_registered_at_once_on_all_nodes_is_one_user(cluster):
    for number in range(5):
        with ThreadPoolExecutor(3) as pool:
            answers = list(
                pool.map(
                    lambda n, number=number: cluster.nodes[n].request(
                        "POST", f"/auth/racer-{number}", {"secret": f"secret of {n}"}
                    ),
                    range(3),
                )
            )
        statuses = sorted(answer.status for answer in answers)
        assert statuses[0] == 201, [answer.body for answer in answers]
        assert statuses[1:] == [401, 401], [answer.body for answer in answers]


def test_a_new_name_needs_a_majority_and_a_known_one_does_not(cluster):
    one, two, three = cluster.nodes
    one.register("heidi", "h secret word")
    two.freeze()
    three.freeze()
    try:
        assert wait_until(lambda: one.request("POST", "/auth/newcomer", {"secret": "x secret word"}).status == 503)
        assert one.request("POST", "/auth/heidi", {"secret": "h secret word"}).status == 200
    finally:
        two.thaw()
        three.thaw()
    wait_until(lambda: one.request("POST", "/auth/newcomer", {"secret": "x secret word"}).status in (200, 201))


def test_administrators_records_and_routes(cluster):
    one, two, _ = cluster.nodes
    admin = cluster.admin_token()
    judy = one.register("judy")
    assert one.put("adm", "judys", {"x": 1}, judy).status == 201
    changed = two.request("PUT", "/admin/table/adm/key/judys", {"x": 2}, admin)
    assert (changed.status, changed.json["owner"]) == (200, "judy")
    new = two.request("PUT", "/admin/table/adm/key/new", {"x": 2}, admin)
    assert (new.status, new.json["owner"]) == (200, "admin")
    for limit, keys, next_after in ((1, ["judys"], "judys"), (2, ["judys", "ne"], None)):
        folders = two.request("GET", f"/admin/table/adm/keys?delimiter=e&limit={limit}", token=admin).json
        assert (folders["keys"], folders["next_after"]) == (keys, next_after)
    assert two.request("DELETE", "/admin/table/adm/key/new", token=admin).status == 200
    assert one.put("adm", "admins", {"x": 3}, admin).json["owner"] == "admin"
    assert one.get("adm", "admins", judy).status == 403
    assert two.request("GET", "/admin/table/adm/keys", token=admin).json["keys"] == ["admins", "judys"]
    tables = two.request("GET", "/admin/tables", token=admin).json["tables"]
    assert {"name": "adm", "keys": 2, "has_settings": False} in tables
    assert two.request("GET", "/admin/table/adm/key/judys", token=admin).json["value"] == {"x": 2}
    assert two.request("DELETE", "/admin/table/adm/key/judys", token=admin).status == 200
    assert one.request("GET", "/adm/keys", token=judy).json == []
    assert one.request("GET", "/admin/table/_users/keys", token=admin).status == 403
    assert len(one.request("GET", "/admin/members", token=admin).json["members"]) == 3
    assert one.request("POST", "/admin/members/nobody:1/forget", token=admin).status == 404


def test_records_conditions_ttl_batches_and_causal_tokens(cluster):
    one, two, three = cluster.nodes
    ivan = one.register("ivan")
    first = one.request("PUT", "/r/key/k", {"n": 1}, ivan, If_None_Match="*")
    assert first.status == 201
    assert one.request("PUT", "/r/key/k", {"n": 2}, ivan, If_None_Match="*").status == 412
    etag = first.headers["etag"]
    second = two.request("PATCH", "/r/key/k", {"m": {"x": None, "y": 1}}, ivan, If_Match=etag)
    assert second.json["value"] == {"n": 1, "m": {"y": 1}}
    assert three.request("DELETE", "/r/key/k", None, ivan, If_Match=etag).status == 412
    assert three.request("GET", "/r/key/k", None, ivan, If_None_Match=second.headers["etag"]).status == 304
    causal = three.request("GET", "/r/key/k", None, ivan, X_Causal_Token=second.headers["x-causal-token"])
    assert causal.json["version"] == 2
    assert one.request("PATCH", "/r/key/absent", {"x": 1}, ivan).status == 404
    assert one.put("r", "brief", {"x": 1}, ivan, "?ttl=1").json["expires_at"] > first.json["timestamp"]
    wait_until(lambda: all(node.get("r", "brief", ivan).status == 404 for node in cluster.nodes), 5)
    assert "brief" not in one.request("GET", "/r/keys", token=ivan).json
    assert two.put("r", "brief", {"x": 2}, ivan).status == 201
    ops = [{"op": "put", "key": f"b{n}", "value": {"n": n}} for n in range(30)]
    ops += [
        {"op": "delete", "key": "nothing"},
        {"op": "put", "key": "", "value": {}},
        {"op": "put", "key": "x", "value": 1},
    ]
    statuses = [one["status"] for one in three.request("POST", "/r/batch", {"ops": ops}, ivan).json["results"]]
    assert statuses == [201] * 30 + [404, 400, 400]
    listed = two.request("GET", "/r/keys?prefix=b&after=b1&limit=4", token=ivan).json
    assert listed == ["b10", "b11", "b12", "b13"]
    many = two.request("POST", "/r/keys", {"keys": ["b1", "none", "b2"]}, ivan).json
    assert {key: record["value"] for key, record in many.items()} == {"b1": {"n": 1}, "b2": {"n": 2}}
    assert len(three.request("GET", "/r/store", token=ivan).json) == 32
    big = one.put("r", "big", {"int": 123456789012345678901234567890, "text": " ü\n"}, ivan)
    assert big.json["value"] == {"int": 123456789012345678901234567890, "text": " ü\n"}
    head = one.request("HEAD", "/r/key/k", token=ivan)
    assert (head.status, head.body) == (200, b"")


def test_https(tmp_path):
    cluster = RealCluster(tmp_path)
    node = cluster.add(*certificate(tmp_path))
    try:
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        context.check_hostname = False

        def heartbeat():
            connection = http.client.HTTPSConnection("127.0.0.1", node.port, context=context, timeout=2)
            try:
                connection.request("GET", "/heartbeat")
                return connection.getresponse().status == 200
            except OSError:
                return False

        wait_until(heartbeat)
        assert node.try_request("GET", "/heartbeat", timeout_s=2) is None
    finally:
        cluster.close()


def test_private_status_and_anonymous_read(tmp_path):
    cluster = RealCluster(tmp_path)
    node = cluster.add("--private-status", "--anonymous-read")
    try:
        wait_until(node.is_ready)
        for path in ("/membership", "/stats", "/metrics"):
            assert node.request("GET", path).status == 401
            assert node.request("GET", path, token=cluster.admin_token()).status == 200
        token = node.register("alice")
        assert node.put("t", "k", {"x": 1}, token).status == 201
        assert node.request("GET", "/t/key/k").json["value"] == {"x": 1}
        assert node.request("GET", "/t/keys").json == ["k"]
        assert node.request("PUT", "/t/key/k", {}).status == 401
        assert "dynakv_requests_total" in node.request("GET", "/metrics", token=cluster.admin_token()).body.decode()
    finally:
        cluster.close()


def test_the_administrator_makes_and_ends_users(tmp_path):
    cluster = RealCluster.start(1, "--registration", "closed", folder=tmp_path)
    node = cluster.nodes[0]
    try:
        admin = cluster.admin_token()
        refused = node.request("POST", "/auth/alice", {"secret": "a long secret"})
        assert (refused.status, refused.json["code"]) == (403, "registration_closed")
        assert node.request("PUT", "/admin/users/alice", {"secret": "short"}, admin).json["code"] == "weak_secret"
        assert node.request("PUT", "/admin/users/alice", {"secret": "a long secret"}, admin).status == 201
        assert node.request("PUT", "/admin/users/alice", {"secret": "another secret"}, admin).status == 409
        alice = node.register("alice", "a long secret")
        assert node.request("PUT", "/admin/users/bob", {"secret": "a long secret"}, alice).status == 403
        for name in ("bob", "carol"):
            assert node.request("PUT", f"/admin/users/{name}", {"secret": "a long secret"}, admin).status == 201
        page = node.request("GET", "/admin/users?limit=2", token=admin).json
        assert page == {"users": [{"name": "alice"}, {"name": "bob"}], "next_after": "bob"}
        rest = node.request("GET", "/admin/users?limit=2&after=bob", token=admin).json
        assert rest == {"users": [{"name": "carol"}], "next_after": None}
        assert node.request("POST", "/admin/users/alice/logout", None, admin).status == 200
        assert node.get("t", "k", alice).status == 401
        assert node.request("DELETE", "/admin/users/bob", None, admin).status == 200
        assert node.request("POST", "/auth/bob", {"secret": "a long secret"}).status == 403
    finally:
        cluster.close()
