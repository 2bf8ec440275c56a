"""Who may do what: rules of tables, groups and service tokens, on real nodes, by every way in."""

from __future__ import annotations

import pytest

from .real import wait_until

pytestmark = pytest.mark.processes

PRESENCE = [{"read": ["*"], "create": ["*"], "update": ["owner"], "delete": ["owner"]}]


@pytest.fixture(scope="module")
def admin(cluster):
    return cluster.admin_token()


@pytest.fixture(scope="module")
def people(cluster):
    return {name: cluster.nodes[0].register(name, "a long secret") for name in ("ann", "ben", "cem", "dee")}


def settings(cluster, admin, table, **fields):
    answer = cluster.nodes[0].request("PUT", f"/admin/tables/{table}", fields, admin)
    assert answer.status == 200, answer.body
    return answer.json


def known_everywhere(cluster, table, probe):
    """Every node goes by the rules: a second is promised."""
    for node in cluster.nodes:
        wait_until(lambda node=node: probe(node), 5)


class TestSettings:
    def test_a_table_without_settings_shows_what_it_has(self, cluster, admin):
        shown = cluster.nodes[1].request("GET", "/admin/tables/plain", None, admin).json
        assert shown == {
            "table": "plain",
            "consistency": "available",
            "access": [{"prefix": "", "read": ["owner"], "create": ["*"], "update": ["owner"], "delete": ["owner"]}],
            "default_ttl": 0,
            "max_value": 1 << 20,
        }

    def test_what_is_not_named_stays_as_it_is(self, cluster, admin):
        settings(cluster, admin, "some", default_ttl=60)
        shown = settings(cluster, admin, "some", access=PRESENCE)
        assert shown["default_ttl"] == 60
        assert shown["access"] == [{"prefix": "", **PRESENCE[0]}]
        assert cluster.nodes[2].request("DELETE", "/admin/tables/some", None, admin).json["default_ttl"] == 0

    @pytest.mark.parametrize(
        ("body", "code", "names"),
        [
            ({"acces": []}, "unknown_field", "acces"),
            ({"access": [{"reed": []}]}, "unknown_right", "reed"),
            ({"access": [{"read": ["everybody"]}]}, "unknown_principal", "everybody"),
            ({"access": [{"read": ["user:"]}]}, "unknown_principal", "user:"),
            ({"access": [{"create": ["anonymous"]}]}, "unknown_principal", "anonymous"),
            ({"access": [{"prefix": "a"}, {"prefix": "a"}]}, "bad_setting", "a"),
            ({"access": [{"prefix": "{user}{user}"}]}, "bad_setting", "{user}"),
            ({"access": {}}, "bad_setting", "access"),
            ({"default_ttl": -1}, "bad_setting", "default_ttl"),
            ({"default_ttl": True}, "bad_setting", "default_ttl"),
            ({"max_value": 0}, "bad_setting", "max_value"),
            ({"max_value": 2 << 20}, "bad_setting", "max_value"),
            ({}, "no_setting", "access"),
        ],
    )
    def test_what_is_no_setting_is_named(self, cluster, admin, body, code, names):
        answer = cluster.nodes[0].request("PUT", "/admin/tables/bad", body, admin)
        assert (answer.status, answer.json["code"]) == (400, code)
        assert names in answer.json["error"]

    def test_only_an_administrator_sets(self, cluster, people):
        for path in ("tables/t", "groups/g", "groups", "tokens"):
            assert cluster.nodes[0].request("GET", f"/admin/{path}", None, people["ann"]).status == 403

    def test_values_are_no_longer_and_live_no_longer_than_the_table_says(self, cluster, admin, people):
        settings(cluster, admin, "small", default_ttl=100, max_value=20)
        known_everywhere(
            cluster, "small", lambda node: node.put("small", "k", {"a": "x" * 20}, people["ann"]).status == 413
        )
        for node in cluster.nodes:
            record = node.put("small", "k", {"a": 1}, people["ann"])
            assert 90_000 < record.json["expires_at"] - record.json["timestamp"] <= 101_000
            patched = node.request("PATCH", "/small/key/k", {"b": "y" * 20}, people["ann"])
            assert patched.status == 413
            longer = node.request("PUT", "/small/key/k?ttl=1000", {"a": 1}, people["ann"])
            assert longer.json["expires_at"] - longer.json["timestamp"] > 900_000


class TestRules:
    def test_presence_is_seen_by_all_and_changed_by_its_owner(self, cluster, admin, people):
        settings(cluster, admin, "presence", access=PRESENCE)
        assert cluster.nodes[0].put("presence", "ann", {"at": "home"}, people["ann"]).status == 201
        known_everywhere(
            cluster,
            "presence",
            lambda node: node.request("GET", "/presence/key/ann", None, people["ben"]).status == 200,
        )
        for node in cluster.nodes:
            assert node.request("PUT", "/presence/key/ann", {}, people["ben"]).status == 403
            assert node.request("DELETE", "/presence/key/ann", None, people["ben"]).status == 403
            assert node.request("GET", "/presence/keys", None, people["ben"]).json == ["ann"]
            assert list(node.request("GET", "/presence/store", None, people["ben"]).json) == ["ann"]
            assert list(node.request("POST", "/presence/keys", {"keys": ["ann"]}, people["ben"]).json) == ["ann"]
            batch = {"ops": [{"op": "delete", "key": "ann"}, {"op": "put", "key": "ann", "value": {}}]}
            answer = node.request("POST", "/presence/batch", batch, people["ben"])
            assert [one["status"] for one in answer.json["results"]] == [403, 403]
            assert node.request("GET", "/presence/key/ann").status == 401

    def test_everybody_creates_under_their_own_name_only(self, cluster, admin, people):
        mine = {"prefix": "{user}/", "read": ["*"], "create": ["*"], "update": ["owner"], "delete": ["owner"]}
        settings(cluster, admin, "homes", access=[mine, {"prefix": "", "create": []}])
        known_everywhere(cluster, "homes", lambda node: node.put("homes", "elsewhere", {}, people["ann"]).status == 403)
        for node in cluster.nodes:
            assert node.put("homes", "ann/x", {}, people["ann"]).status == 201
            assert node.put("homes", "ann/x", {}, people["ben"]).status == 403
            assert node.put("homes", "ann/y", {}, people["ben"]).status == 403

    def test_a_name_that_reaches_into_anothers_keys_gets_nothing(self, cluster, admin, people):
        mine = {"prefix": "{user}/", "read": ["*"], "create": ["*"]}
        settings(cluster, admin, "reach", access=[mine])
        known_everywhere(cluster, "reach", lambda node: node.put("reach", "k", {}, people["ann"]).status == 403)
        sneaky = cluster.nodes[0].register("ann/inbox", "a long secret")
        assert cluster.nodes[0].put("reach", "ann/inbox/x", {}, sneaky).status == 403
        assert cluster.nodes[0].put("reach", "ann/inbox/x", {}, people["ann"]).status == 201

    def test_whoever_may_change_and_not_read_is_not_shown_the_value(self, cluster, admin, people):
        settings(cluster, admin, "blind", access=[{"read": ["owner"], "create": ["*"], "update": ["*"]}])
        cluster.nodes[0].put("blind", "k", {"secret": 1}, people["ann"])
        known_everywhere(
            cluster,
            "blind",
            lambda node: node.request("PATCH", "/blind/key/k", {"by": "ben"}, people["ben"]).status == 200,
        )
        patched = cluster.nodes[0].request("PATCH", "/blind/key/k", {"by": "ben"}, people["ben"])
        assert b"secret" not in patched.body
        refused = cluster.nodes[0].request(
            "PUT", "/blind/key/k", {}, people["ben"], If_None_Match="*", Prefer="return=representation"
        )
        assert refused.status == 412
        assert b"secret" not in refused.body
        assert cluster.nodes[0].request("GET", "/blind/key/k", None, people["ann"]).json["value"]["by"] == "ben"

    def test_anybody_reads_what_anybody_may(self, cluster, admin, people):
        settings(cluster, admin, "news", access=[{"prefix": "public/", "read": ["anonymous"], "create": ["*"]}])
        known_everywhere(
            cluster, "news", lambda node: node.put("news", "public/a", {"n": 1}, people["ann"]).status in (201, 403)
        )
        for node in cluster.nodes:
            wait_until(lambda node=node: node.request("GET", "/news/key/public%2Fa").status == 200, 5)
            assert node.request("GET", "/news/keys").json == ["public/a"]
            assert node.request("PUT", "/news/key/public%2Fb", {}).status == 401
            assert node.request("GET", "/other/key/a").status == 401


class TestLocks:
    def test_rules_hold_for_locks_too(self, cluster, admin, people):
        node = cluster.nodes[0]
        assert settings(cluster, admin, "latches", consistency="strong")["consistency"] == "strong"
        taken = node.request("POST", "/latches/lock/l", {"note": "mine"}, people["ann"])
        assert taken.status == 201
        found = node.request("POST", "/latches/lock/l", {}, people["ben"])
        assert (found.status, found.json["holder"]["note"]) == (409, "mine")
        settings(cluster, admin, "latches", access=[{"read": ["owner"], "write": ["user:ann"]}])
        assert node.request("POST", "/latches/lock/other", {}, people["ben"]).status == 403
        found = node.request("POST", "/latches/lock/l", {}, people["ben"])
        assert found.status in (403, 409)
        assert b"mine" not in found.body
        token = node.request("POST", "/admin/tokens", {"name": "idle", "access": []}, admin).json["token"]
        assert node.request("POST", "/latches/lock/third", {}, token).status == 403
        released = node.request("POST", "/latches/lock/l/release", None, people["ann"], If_Match=taken.headers["etag"])
        assert released.status == 200


class TestGroups:
    def test_a_group_is_set_shown_and_deleted(self, cluster, admin, people):
        node = cluster.nodes[0]
        assert node.request("PUT", "/admin/groups/team", {"members": ["ann", "later"]}, admin).status == 200
        shown = cluster.nodes[1].request("GET", "/admin/groups/team", None, admin).json
        assert shown == {"group": "team", "members": ["ann", "later"]}
        assert shown in node.request("GET", "/admin/groups", None, admin).json["groups"]
        assert node.request("DELETE", "/admin/groups/team", None, admin).status == 200
        assert node.request("DELETE", "/admin/groups/team", None, admin).status == 404
        assert node.request("GET", "/admin/groups/team", None, admin).status == 404

    def test_its_members_may_what_it_may_and_no_longer_than_they_are_in_it(self, cluster, admin, people):
        settings(cluster, admin, "ours", access=[{"read": ["group:crew"], "create": ["group:crew", "user:dee"]}])
        cluster.nodes[0].request("PUT", "/admin/groups/crew", {"members": ["ann", "ben"]}, admin)
        for node in cluster.nodes:
            for name, status in (("ann", 201), ("ben", 201), ("cem", 403), ("dee", 201)):
                key = f"{name}{node.port}"
                wait_until(
                    lambda node=node, key=key, name=name, status=status: (
                        node.put("ours", key, {}, people[name]).status == status
                    ),
                    5,
                )
        cluster.nodes[0].request("PUT", "/admin/groups/crew", {"members": ["ann"]}, admin)
        for node in cluster.nodes:
            wait_until(lambda node=node: node.request("GET", "/ours/keys", None, people["ben"]).json == [], 5)
            assert len(node.request("GET", "/ours/keys", None, people["ann"]).json) == 9

    def test_members_of_admins_are_administrators_and_a_later_user_of_the_name_is_none(self, cluster, admin):
        node = cluster.nodes[0]
        token = node.register("root", "a long secret")
        assert node.request("GET", "/admin/users", None, token).status == 403
        node.request("PUT", "/admin/groups/admins", {"members": ["root"]}, admin)
        for one in cluster.nodes:
            wait_until(lambda one=one: one.request("GET", "/admin/users", None, token).status == 200, 5)
        assert node.request("DELETE", "/admin/users/root", None, admin).status == 200
        again = node.register("root", "another long secret")
        assert node.request("GET", "/admin/users", None, again).status == 403
        assert node.request("DELETE", "/admin/groups/admins", None, admin).status == 200


class TestServiceTokens:
    def test_a_program_does_what_its_token_is_for_and_nothing_else(self, cluster, admin, people):
        node = cluster.nodes[0]
        access = [
            {"table": "devices", "prefix": "sensor/", "rights": ["read", "create", "update"]},
            {"table": "devices", "prefix": "sensor/old/", "rights": ["delete"]},
        ]
        made = node.request("POST", "/admin/tokens", {"name": "collector", "access": access, "lifetime": None}, admin)
        assert made.status == 201, made.body
        token, number = made.json["token"], made.json["id"]
        assert node.put("devices", "sensor/ann", {"t": 1}, people["ann"]).status == 201
        for one in cluster.nodes:
            wait_until(lambda one=one: one.put("devices", "sensor/a", {"t": 1}, token).status == 201, 5)
            assert one.request("GET", "/devices/key/sensor%2Fann", None, token).status == 200
            assert one.request("DELETE", "/devices/key/sensor%2Fann", None, token).status == 403
            assert one.put("devices", "other", {}, token).status == 403
            assert one.put("elsewhere", "sensor/a", {}, token).status == 403
            assert one.request("GET", "/admin/users", None, token).status == 403
            assert one.put("devices", "sensor/old/x", {}, token).status == 201
            assert one.request("DELETE", "/devices/key/sensor%2Fold%2Fx", None, token).status == 200
        assert node.request("GET", "/devices/key/sensor%2Fa", None, token).json["owner"] == "service:collector"
        listed = wait_until(
            lambda: [one for one in _tokens(node, admin) if one["id"] == number and one["last_used"]], 5
        )
        assert listed[0]["name"] == "collector"
        assert token not in node.request("GET", "/admin/tokens", None, admin).body.decode()
        assert cluster.nodes[1].request("DELETE", f"/admin/tokens/{number}", None, admin).status == 200
        for one in cluster.nodes:
            wait_until(lambda one=one: one.put("devices", "sensor/a", {}, token).status == 401, 5)

    def test_it_ends_with_its_time_and_outlives_a_restart(self, cluster, admin):
        node = cluster.nodes[0]
        wanted = {"name": "short", "access": [{"table": "devices", "rights": ["write"]}], "lifetime": 2}
        token = node.request("POST", "/admin/tokens", wanted, admin).json["token"]
        assert node.put("devices", "k", {}, token).status == 201
        wait_until(lambda: node.put("devices", "k", {}, token).status == 401, 10)

    def test_what_is_no_text_is_named(self, cluster, admin):
        for method, path, body in (
            ("PUT", "/admin/groups/g", b'{"members":["\xff"]}'),
            ("POST", "/admin/tokens", b'{"name":"\xff","access":[]}'),
            ("PUT", "/admin/tables/t", b'{"access":[{"prefix":"\xff"}]}'),
        ):
            assert cluster.nodes[0].request(method, path, body, admin).status == 400

    @pytest.mark.parametrize(
        "body",
        [
            {"name": "x", "access": [{"table": "t", "prefix": "x" * 2000, "rights": []}]},
            {"name": "x"},
            {"name": "x", "access": [{"table": "t", "rights": ["own"]}]},
            {"name": "x", "access": [{"table": "_users", "rights": ["read"]}]},
            {"name": "x", "access": [], "lifetime": 0},
            {"name": "x", "access": [], "more": 1},
        ],
    )
    def test_what_is_no_token_is_refused(self, cluster, admin, body):
        assert cluster.nodes[0].request("POST", "/admin/tokens", body, admin).status in (400, 403)


def _tokens(node, admin):
    return node.request("GET", "/admin/tokens", None, admin).json["tokens"]
