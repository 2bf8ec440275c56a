"""The document of the API: it is made of the routes, is valid OpenAPI 3.1, and says what nodes do."""

from __future__ import annotations

import ast
import http.client
import importlib.util
import json
import re
import shlex
import string
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from websockets.sync.client import connect

from dynatwist import heart
from dynatwist.api.lane import _KINDS
from dynatwist.api.openapi.codes import CODES
from dynatwist.web.klein_app import KleinApp

from .browser import Browser
from .real import Listener, RealCluster, check_logs, wait_until

ROOT = Path(__file__).parent.parent


def _api_page():
    """What docs/ makes its page of."""
    spec = importlib.util.spec_from_file_location("api_page", ROOT / "docs" / "api_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = _api_page()
DOCUMENT = PAGE.document()
BY_ID = {said["operationId"]: (method, path, said) for method, path, said in PAGE.operations()}


class TestWhatItIsMadeOf:
    def test_each_route_is_an_operation_and_each_operation_a_route(self):
        (node,) = PAGE.SimCluster(PAGE.World(2), 1).nodes
        node.start()
        routes = {
            (method, re.sub("<[^>]*>", "{}", rule.rule))
            for rule in KleinApp(node.core, PAGE.Clock()).klein.url_map.iter_rules()
            for method in rule.methods - {"HEAD"}
        }
        operations = {(method, re.sub("{[^}]*}", "{}", path)) for method, path, _ in PAGE.operations()}
        assert operations == routes, "a handler says by @Described what it takes and gives"

    def test_the_fast_lane_takes_nothing_else(self):
        for method, (_, _, level) in _KINDS.items():
            said = DOCUMENT["paths"]["/{table}/key/{key}"][method.lower()]
            assert level in {PAGE.found(one)["name"] for one in said["parameters"]}
            assert heart.request_of(f"{method} /t/key/k?{level}=one HTTP/1.1\r\n\r\n".encode(), 4096) is not None
            assert heart.request_of(f"{method} /t/key/k?x=one HTTP/1.1\r\n\r\n".encode(), 4096) is None

    def test_codes_are_those_that_the_code_refuses_with(self):
        beside = {"client", "aio", "sync", "sansio", "cli", "adapters", "testing", "local", "sim"}
        raised = set()
        for path in (ROOT / "dynatwist").rglob("*.py"):
            text = path.read_text()
            if path.relative_to(ROOT / "dynatwist").parts[0] in beside or "ApiError(" not in text:
                continue
            for call in ast.walk(ast.parse(text)):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "ApiError":
                    status, code = call.args[:2]
                    if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                        raised.add((status.value, code.value))
        known = {(status, code) for status, codes in CODES.items() for code in codes}
        assert raised <= known, "say in dynatwist/api/openapi/codes.py what it says to whoever meets it"

    def test_it_is_openapi_3_1(self):
        schema = json.loads((ROOT / "tests" / "data" / "openapi-3.1.json").read_text())
        assert [error.message for error in Draft202012Validator(schema).iter_errors(DOCUMENT)] == []
        Draft202012Validator.check_schema({"$defs": DOCUMENT["components"]["schemas"]})
        assert len(BY_ID) == len(PAGE.operations()), "an operationId is there twice"
        references = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(DOCUMENT)))
        assert all(PAGE.found({"$ref": one}) for one in references)

    def test_examples_are_what_the_schemas_say(self):
        for _, _, said in PAGE.operations():
            for one in map(PAGE.found, said.get("parameters", [])):
                if "example" in one and one["in"] == "path":
                    validator(one["schema"]).validate(one["example"])
            content = said.get("requestBody", {}).get("content", {}).get("application/json", {})
            if content and said["requestBody"]["required"]:
                validator(content["schema"]).validate(content["example"])


def validator(schema, *, strict=False):
    """Of what the document says in one place.

    :param strict: whether an object may have only what is said of it.
    """
    components = DOCUMENT["components"]["schemas"]
    if strict:
        components = {
            name: {**one, "additionalProperties": False} if "properties" in one else one
            for name, one in components.items()
        }
    return Draft202012Validator({**schema, "components": {"schemas": components}})


@pytest.fixture(scope="module")
def node():
    made = RealCluster.start(1)
    yield made
    check_logs(made)
    made.close()


class Caller:
    """Asks a node over one connection, and holds each answer against the document."""

    def __init__(self, cluster):
        self.node = cluster.nodes[0]
        self.tokens = {"ADMIN": cluster.admin_token(), "TOKEN": ""}
        self._connection = http.client.HTTPConnection(self.node.host, self.node.port, timeout=20)
        self.met = set()

    def send(self, name, method, path, body=None, headers=None):
        """Status and JSON of an answer, which is as the document says."""
        self._connection.request(method, path, body, headers or {})
        answer = self._connection.getresponse()
        content, kind = answer.read(), answer.getheader("content-type", "")
        responses = BY_ID[name][2]["responses"]
        assert str(answer.status) in responses, (name, answer.status, content)
        said = PAGE.found(responses[str(answer.status)])
        for header in said.get("headers", {}):
            if header not in ("X-Next-After", "X-Partial"):
                assert answer.getheader(header) is not None, (name, header)
        if said.get("content"):
            assert kind in said["content"], (name, answer.status, kind)
        if kind != "application/json" or not content:
            return answer.status, content
        value = json.loads(content)
        validator(said["content"][kind]["schema"], strict=answer.status < 400).validate(value)
        if answer.status < 400:
            self.met.add(name)
        return answer.status, value

    def example(self, name, *, body=None, **instead):
        """The same of the line of curl that the page shows, with something else for some of its words."""
        words = shlex.split(PAGE.curl(*BY_ID[name]))
        method, url, headers, data = "GET", "", {}, None
        for option, word in pairwise(words):
            match option:
                case "-X":
                    method = word
                case "-H":
                    title, _, text = word.partition(": ")
                    headers[title] = string.Template(text).substitute(self.tokens)
                case "-d":
                    method, data = method if "-X" in words else "POST", word
            if word.startswith("http"):
                url = word
        parts = urlsplit(url)
        path, query = parts.path, dict(parse_qsl(parts.query))
        for one in map(PAGE.found, BY_ID[name][2].get("parameters", [])):
            if one["name"] in instead and one["in"] == "path":
                path = path.replace(quote(one["example"], safe=":"), quote(instead[one["name"]]))
            elif one["name"] in instead and one["in"] == "query":
                query[one["name"]] = instead[one["name"]]
            elif one["name"].replace("-", "_") in instead and one["in"] == "header":
                headers[one["name"]] = instead[one["name"].replace("-", "_")]
        data = json.dumps(body) if body is not None else data
        return self.send(name, method, path + (f"?{urlencode(query)}" if query else ""), data, headers)


def message(type_, value):
    """What has a type of the document, and nothing else."""
    validator({"$ref": f"#/components/schemas/{type_}"}, strict=True).validate(value)


def tag(record):
    """For If-Match."""
    return json.dumps(record["etag"])


@pytest.mark.processes
class TestAgainstANode:
    def test_the_examples_of_the_page_one_after_the_other(self, node):
        caller = Caller(node)
        ask = caller.example
        status, entered = ask("accounts.enter")
        assert (status, entered["status"]) == (201, "created")
        caller.tokens["TOKEN"] = entered["token"]
        for name in ("status.heartbeat", "status.alive", "status.ready", "status.membership", "status.stats"):
            assert ask(name)[0] == 200, name
        assert ask("status.metrics")[0] == 200
        for name in (one for one in BY_ID if one.startswith("pages.")):
            file = {"file": "docs.css"} if name == "pages.docs_asset" else {}
            assert ask(name, **file)[0] == 200, name

        assert ask("data.put")[0] == 201
        for name in ("data.get", "data.patch", "data.touch", "data.keys", "data.get_many", "data.store", "data.batch"):
            assert ask(name)[0] == 200, name
        assert ask("data.delete")[0] == 200
        assert ask("data.delete")[1]["code"] == "not_found"
        for name in ("admin.put", "admin.get", "admin.keys", "admin.delete", "admin.tables", "admin.users"):
            assert ask(name)[0] == 200, name
        for name in ("admin.members", "admin.save", "keys.show", "keys.install", "conflicts.list", "accounts.ticket"):
            assert ask(name)[0] == 200, name
        for name in ("accounts.show", "insight.overview", "insight.history", "audit.show"):
            assert ask(name)[0] == 200, name
        assert ask("admin.forget")[1]["code"] == "no_such_member"
        assert ask("admin.forget", member=caller.node.address)[1]["code"] == "last_member"
        assert ask("conflicts.settle")[1]["code"] == "not_found"
        for name in ("backup.tables", "backup.page", "restore.records", "keys.storage"):
            assert ask(name)[0] == 200, name
        clock = ask("backup.tables")[1]["clock"]
        assert ask("backup.changes")[1]["code"] == "bad_clock"
        assert ask("backup.changes", body={"since": clock})[0] == 200
        assert ask("keys.renew_storage")[0] == 202
        assert ask("admin.delete")[0] == 200  # what was restored

        for name in ("tables.set", "tables.show", "tables.reset", "groups.set", "groups.list", "groups.show"):
            assert ask(name)[0] == 200, name
        assert ask("groups.delete")[0] == 200
        status, made = ask("services.create")
        assert (status, ask("services.list")[0]) == (201, 200)
        assert ask("services.delete", token_id=made["id"])[0] == 200
        assert ask("services.delete", token_id=made["id"])[1]["code"] == "no_such_token"

        assert ask("locks.take")[1]["code"] == "not_strong"
        strong = {"consistency": "strong"}
        assert ask("tables.set", table="locks", body=strong)[0] == 200
        status, taken = ask("locks.take", table="locks")
        assert (status, ask("locks.take", table="locks")[1]["code"]) == (201, "locked")
        assert ask("rights.show", principal="alice", table="locks")[0] == ask("lock_list.show", table="locks")[0] == 200
        status, renewed = ask("locks.renew", table="locks", If_Match=tag(taken))
        assert status == 200
        assert ask("locks.release", table="locks", If_Match=tag(taken))[1]["code"] == "precondition_failed"
        assert ask("locks.release", table="locks", If_Match=tag(renewed))[0] == 200

        assert ask("keys.use", body={"key": ask("keys.show")[1]["nodes"][caller.node.address][-1]})[0] == 200
        for name in ("keys.retire", "keys.rotate"):
            caller.tokens["ADMIN"] = node.admin_token()  # the password follows the secret in use
            assert ask(name)[0] == 200, name
        caller.tokens["ADMIN"] = node.admin_token()
        assert ask("accounts.admin_login")[1]["code"] == "wrong_password"
        assert ask("accounts.change_secret")[0] == 200
        assert ask("accounts.delete")[1]["code"] == "bad_token"  # the old one
        assert ask("admin.create_user", user="bob")[0] == 201
        assert ask("admin.logout_user", user="bob")[0] == ask("admin.delete_user", user="bob")[0] == 200
        caller.tokens["TOKEN"] = ask("accounts.enter", body={"secret": "another long secret"})[1]["token"]
        assert ask("accounts.logout")[0] == 200
        never = {"accounts.admin_login", "accounts.delete", "admin.forget", "conflicts.settle"}
        assert BY_ID.keys() - caller.met - {one for one in BY_ID if one.startswith(("live.", "pages."))} == (
            never | {"status.metrics"}
        ), "of all others there was a success"

    def test_streams_and_websockets_tell_what_the_document_says(self, node):
        one, caller = node.nodes[0], Caller(node)
        token = one.register("listener")
        assert caller.send("live.subscribe", "GET", "/news/subscribe/k?initial=perhaps")[1]["code"] == "no_token"
        bearer = {"Authorization": f"Bearer {token}"}
        refused = caller.send("live.subscribe_table", "GET", "/news/subscribe?initial=perhaps", headers=bearer)
        assert (refused[1]["code"], caller.send("live.websocket", "GET", "/ws")[0]) == ("bad_initial", 426)

        listener = Listener(one, "news", "k", token)
        with connect(f"ws://{one.address}/ws", subprotocols=["dynakv.v1.json"]) as socket:

            def told(type_, frame=None):
                """What the socket is told next, perhaps in answer to a frame; both are of types of the document."""
                if frame is not None:
                    message(frame.pop("type_"), frame)
                    socket.send(json.dumps(frame))
                heard = json.loads(socket.recv(timeout=10))
                message(type_, heard)
                return heard

            told("WsRefusal", {"type_": "WsGet", "op": "get", "id": 0, "table": "news", "key": "k"})
            told("WsAnswer", {"type_": "WsAuth", "op": "auth", "id": 1, "token": token})
            told("WsAnswer", {"type_": "WsSubscribe", "op": "subscribe", "id": 2, "table": "news", "initial": True})
            assert told("WsNotice")["op"] == "synced"
            one.put("news", "k", {"text": "x"}, token)
            assert told("WsEvent")["type"] == "Updated"
            told("WsAnswer", {"type_": "WsUnsubscribe", "op": "bookmark", "id": 3, "sub": 2})
            told("WsAnswer", {"type_": "WsGet", "op": "get", "id": 4, "table": "news", "key": "k", "r": "one"})
            one.delete("news", "k", token)
            assert told("WsEvent")["reason"] == "deleted"
            told("WsAnswer", {"type_": "WsUnsubscribe", "op": "unsubscribe", "id": 5, "sub": 2})
            write = {"op": "put", "id": 6, "table": "news", "key": "e", "value": {}, "ephemeral": True, "ttl": 15}
            told("WsAnswer", {"type_": "WsWrite", **write})
            told("WsAnswer", {"type_": "WsPing", "op": "ping", "id": 7})
        wait_until(lambda: len(listener.events) == 2)
        message("Updated", listener.events[0])
        assert listener.events[1] == "Deleted"
        listener.close()

    def test_it_is_kept_and_asked_for_again(self, node):
        one = node.nodes[0]
        answer = one.request("GET", "/openapi.json")
        assert answer.json == {**DOCUMENT}
        assert answer.headers["cache-control"] == "public, max-age=300"
        again = one.request("GET", "/openapi.json", If_None_Match=answer.headers["etag"])
        assert (again.status, again.body) == (304, b"")

    def test_a_path_takes_what_the_document_says_and_405_names_it(self, node):
        for path, methods in (("/auth/ticket", "POST"), ("/admin/keys", "GET, HEAD"), ("/openapi.json", "GET, HEAD")):
            answer = node.nodes[0].request("PATCH", path)
            assert (answer.status, answer.headers["allow"]) == (405, methods), path
        assert node.nodes[0].request("POST", "/admin/keys").status == 405, "it is no table's"

    def test_a_parameter_that_a_route_does_not_take_is_refused_and_those_it_takes_are_named(self, node):
        one, admin = node.nodes[0], node.admin_token()
        for name, (method, path, said) in BY_ID.items():
            for segment in re.findall(r"{(\w+)}", path):
                path = path.replace("{" + segment + "}", "7")
            answer = one.request(method, f"{path}?tll=1", None, admin)
            if name.startswith("pages."):  # whatever is behind a file's name makes a browser load it anew
                assert answer.status in (200, 302, 303, 307, 404), path
                continue
            assert (answer.status, answer.json["code"]) == (400, "unknown_parameter"), (method, path)
            given = [PAGE.found(each) for each in said.get("parameters", [])]
            taken = sorted([each["name"] for each in given if each["in"] == "query"] + _ticket_of(said))
            text = f"there is no parameter 'tll' here: this path takes {', '.join(taken) or 'none'}; "
            assert answer.json["error"].startswith(text)
        assert one.request("GET", "/t/subscribe/k?ticket=no").json["code"] == "bad_ticket"

    def test_an_empty_condition_is_none(self, node):
        for name in ("If_Match", "If_None_Match"):
            answer = node.nodes[0].request("PUT", "/users/key/x", {}, node.admin_token(), **{name: ""})
            assert (answer.status, answer.json["code"]) == (400, "bad_condition"), "it is not to be written over"

    def test_what_an_administrator_is_refused_is_no_success(self, node):
        one, admin = node.nodes[0], node.admin_token()
        path = "/admin/table/users/key/never"
        answer = one.request("PUT", path, {}, admin, If_Match='"another"', Prefer="return=representation")
        assert (answer.status, answer.json["code"], answer.json["record"]) == (412, "precondition_failed", None)

    @pytest.mark.parametrize("name", ["data.put", "data.get", "data.keys", "conflicts.list", "groups.set"])
    def test_what_is_made_of_the_document_is_answered_as_it_says(self, node, name):
        caller = Caller(node)
        token = {"Authorization": f"Bearer {caller.tokens['ADMIN']}"}

        @settings(
            max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(requests(name))
        def run(asked):
            path, headers, body = asked
            caller.send(name, BY_ID[name][0], path, body, headers | token)

        run()


def _ticket_of(said):
    """What listeners may send in the query instead of a token."""
    return ["ticket"] if any("ticket" in one for one in said.get("security", [])) else []


# Requests, made of the document


def requests(name):
    """Path with query, headers and body: mostly as the document says, sometimes not."""
    _, path, said = BY_ID[name]
    named = [PAGE.found(one) for one in said.get("parameters", [])]
    values = {one["name"] + one["in"]: st.one_of(like(one["schema"]), st.text(max_size=5)) for one in named}
    content = said.get("requestBody", {}).get("content", {}).get("application/json")
    body = st.one_of(like(content["schema"]).map(json.dumps), st.text(max_size=20)) if content else st.none()

    @st.composite
    def made(draw):
        at, query, headers = path, {}, {}
        for one in named:
            value = draw(values[one["name"] + one["in"]])
            text = value if isinstance(value, str) else json.dumps(value)
            if one["in"] == "path":
                at = at.replace(f"{{{one['name']}}}", quote(text, safe="") or "-")
            elif draw(st.booleans()):
                if one["in"] == "query" and one["name"] != "wait":
                    query[one["name"]] = text
                elif one["in"] == "header" and re.fullmatch(r"[!-~]+", text):
                    headers[one["name"]] = text
        sent = draw(body)
        return at + (f"?{urlencode(query)}" if query else ""), headers, sent.encode() if sent is not None else None

    return made()


def like(schema):
    """What a schema says; of those parts of JSON Schema that the document has."""
    schema = PAGE.found(schema)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    if "anyOf" in schema:
        return st.one_of([like(one) for one in schema["anyOf"]])
    match schema.get("type"):
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        case "string":
            return st.text(min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 20), 200))
        case "array":
            return st.lists(like(schema["items"]), max_size=4)
        case "object" if "properties" in schema:
            needed = {name: like(one) for name, one in schema["properties"].items() if name in schema["required"]}
            other = {name: like(one) for name, one in schema["properties"].items() if name not in needed}
            return st.fixed_dictionaries(needed, optional=other)
        case "object":
            return st.dictionaries(st.text(max_size=5), st.integers(), max_size=3)
        case _:
            return st.one_of(st.none(), st.integers(), st.text(max_size=5))


@pytest.mark.processes
def test_the_page_shows_it_and_sends_what_is_tried(node, tmp_path):
    one, browser = node.nodes[0], Browser(tmp_path / "profile")
    try:
        token = one.register("reader")
        assert one.put("users", "profile", {"title": "<b>bold</b>"}, token).status in (201, 403)
        browser.open(f"http://{one.address}/docs")
        wait_until(lambda: "/{table}/key/{key}" in browser.text("#contents"))
        assert browser.script("return document.querySelectorAll('#operations details').length") == len(BY_ID)
        browser.type("#token", token)
        browser.script("location.hash = '#data.get'")
        inside = '[id="data.get"] .inside'
        wait_until(lambda: browser.script(f"return document.querySelector('{inside}') !== null"))
        browser.click(f"{inside} .buttons button")
        wait_until(lambda: "<b>bold</b>" in browser.text(inside))
        assert f"curl 'http://{one.address}/users/key/profile'" in browser.text(inside)
        browser.type("#search", "lock renew")
        wait_until(lambda: browser.text("#contents").split() == ["locks", "POST", "/{table}/lock/{key}/renew"])
        assert "[object" not in browser.text("main")
        loaded = browser.script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert all(name.startswith((f"http://{one.address}/", "data:")) for name in loaded)
        assert browser.complaints() == []
    finally:
        browser.close()
    policies = [one.request("GET", path).headers["content-security-policy"] for path in ("/docs", "/admin")]
    assert policies[1].replace(f" http://{one.address} ws://{one.address}", "") == policies[0]
