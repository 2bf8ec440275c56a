"""Bad requests, forged tokens, random bytes: each is refused with an error object or dropped, and changes nothing."""

from __future__ import annotations

import base64
import json
import os
import socket

import jwt
import pytest

from .real import RealCluster, check_logs, wait_until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def alice(cluster):
    return cluster.nodes[0].register("alice", "wonderland-secret")


@pytest.fixture(scope="module")
def kept(cluster, alice):
    return cluster.nodes[0].put("safe", "kept-record", {"kept": True}, alice, "?w=all").json


@pytest.fixture(autouse=True)
def unharmed(cluster, alice, kept):
    yield
    for node in cluster.nodes:
        answer = node.get("safe", "kept-record", alice)
        assert answer.status == 200
        assert answer.json == kept
    check_logs(cluster, "wonderland-secret", "kept-record", "alice", alice)


def raw(node, data: bytes, limit_s: float = 5.0) -> bytes:
    """What comes back for some bytes."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=limit_s) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


NESTED = b'{"a":' * 100 + b"1" + b"}" * 100
BAD_BODIES = [
    b"",
    b"{",
    b"nonsense",
    b"[1, 2]",
    b'"text"',
    b"null",
    b"12",
    b'{"a": NaN}',
    b'{"a": 01}',
    b'{"a": 1,}',
    b"{'a': 1}",
    b'{"a": "\xff\xfe"}',
    b'{"a": "\\ud800"}',
    b"\xef\xbb\xbf{}",
    NESTED,
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"a": 1} trailing',
    b'{"a": "\x01"}',
]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("number", range(len(BAD_BODIES)))
def test_malformed_values(cluster, alice, method, number):
    answer = cluster.nodes[number % 3].request(method, "/safe/key/kept-record", BAD_BODIES[number], alice)
    assert answer.status == 400
    assert set(answer.json) >= {"error", "code"}


def test_a_huge_value_is_refused_as_it_arrives(cluster, alice):
    node = cluster.nodes[0]
    value = {"v": "x" * (1 << 20)}
    answer = node.put("safe", "huge", value, alice)
    assert (answer.status, answer.json["code"]) == (413, "too_large")
    said = (
        f"PUT /safe/key/huge HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice}\r\nContent-Length: 999999999\r\n\r\n"
    )
    assert raw(node, said.encode()).startswith(b"HTTP/1.1 413 ")
    chunked = said.replace("Content-Length: 999999999", "Transfer-Encoding: chunked").encode()
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    assert raw(node, chunked + piece * 8).startswith(b"HTTP/1.1 413 ")


PATHS = {
    "/auth/key/alice": 403,
    "/_users/key/alice": 403,
    "/_users/keys": 403,
    "/auth/store": 403,
    "/_anything/store": 403,
    "/admin/keys": 403,
    "/stats/keys": 400,
    "/safe/key/" + "k" * 2000: 400,
    "/" + "t" * 200 + "/key/k": 400,
    "/safe/key/%00": 400,
    "/safe/key/a%0Ab": 400,
    "/safe/key/%ff%fe": 400,
    "/safe/key/%zz": 400,
    "/safe/key/": 404,
    "/safe/key": 404,
    "/nothing/here/at/all": 404,
    "/safe/key/k?r=three": 400,
    "/safe/key/k?r=": 400,
    "/safe/keys?limit=-1": 400,
    "/safe/keys?limit=many": 400,
    "/safe/keys?limit=99999999999999999999": 400,
    "/safe/key/k?x=%ff": 400,
    "/conflicts?limit=0": 400,
    "/conflicts?limit=99999999999999999999": 400,
    "/conflicts?after=%00": 400,
    "/conflicts?after=" + "0" * 4000: 400,
    "/conflicts?table=auth": 403,
    "/conflicts?table=%ff": 400,
    "/conflicts/keys": 400,
    "/conflicts/key/k": 400,
    "/admin/tables": 403,
    "/admin/members": 403,
    "/admin/table/safe/keys": 403,
    "/admin/assets/..%2f..%2fconfig.py": 404,
}


@pytest.mark.parametrize("path", PATHS)
def test_bad_paths(cluster, alice, path):
    answer = cluster.nodes[0].request("GET", path, None, alice)
    assert answer.status == PATHS[path], answer.body
    assert set(answer.json) >= {"error", "code"}


@pytest.mark.parametrize("host", [b"a..b", b"\x95", b"x" * 70, "xn--\u00e9".encode(), b"[", b"", b"a:b:c", b"%00"])
def test_whatever_a_client_takes_for_the_name_of_the_node(cluster, alice, host):
    said = b"GET /safe/keys HTTP/1.1\r\nHost: %b\r\nConnection: close\r\nAuthorization: Bearer %b\r\n\r\n"
    assert raw(cluster.nodes[0], said % (host, alice.encode())).startswith(b"HTTP/1.1 200 ")


def test_wrong_methods_say_which_are_right(cluster, alice):
    answer = cluster.nodes[0].request("POST", "/safe/key/k", b"{}", alice)
    assert answer.status == 405
    assert "PUT" in answer.headers["allow"]
    assert answer.json["code"] == "method_not_allowed"
    assert cluster.nodes[0].request("BREW", "/heartbeat").status == 405


def forged(alice: str) -> dict[str, str]:
    head, body, mark = alice.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    admin = claims | {"role": "admin", "uid": "admin", "sub": "admin"}
    return {
        "empty": "",
        "garbage": "garbage",
        "dots": "..",
        "no signature": f"{head}.{body}.",
        "alg none": f"{none}.{body}.",
        "cut": alice[:-4],
        "body changed": f"{head}.{body[:-4]}AAAA.{mark}",
        "other key": jwt.encode(claims, "another key that is long enough for it", algorithm="HS256"),
        "admin by other key": jwt.encode(admin, b"\0" * 32, algorithm="HS256"),
        "huge": "a" * 9000,
        "not ascii": "\u00fc\u00fc\u00fc",
    }


def test_forged_tokens(cluster, alice):
    for name, token in forged(alice).items():
        headers = {"Authorization": f"Bearer {token}"}
        for node in cluster.nodes:
            for method, path in (
                ("GET", "/safe/key/kept-record"),
                ("PUT", "/safe/key/kept-record"),
                ("GET", "/admin/tables"),
            ):
                answer = node.request(method, path, b"{}" if method == "PUT" else None, **headers)
                assert answer.status == 401, name
    assert cluster.nodes[0].request("GET", "/safe/key/kept-record").status == 401
    basic = cluster.nodes[0].request("GET", "/safe/keys", Authorization="Basic YTpi")
    assert basic.status == 401


def test_a_token_of_another_cluster(cluster, tmp_path):
    other = RealCluster.start(1)
    try:
        foreign = other.nodes[0].register("alice", "wonderland-secret")
        assert cluster.nodes[0].get("safe", "kept-record", foreign).status == 401
    finally:
        other.close()


BAD_ACCOUNTS = [
    ("admin", {"secret": "x"}, 403),
    ("_system", {"secret": "x"}, 403),
    ("a%00b", {"secret": "x"}, 400),
    ("%ff", {"secret": "x"}, 400),
    ("x" * 300, {"secret": "x"}, 400),
    ("carol", {}, 400),
    ("carol", {"secret": ""}, 400),
    ("carol", {"secret": 12}, 400),
    ("carol", {"secret": None}, 400),
    ("carol", {"secret": ["x"]}, 400),
    ("carol", {"secret": "x" * 2000}, 400),
    ("carol", {"secret": "x" * 5000}, 413),
    ("carol", [], 400),
]


@pytest.mark.parametrize(("name", "body", "status"), BAD_ACCOUNTS)
def test_bad_accounts(cluster, name, body, status):
    answer = cluster.nodes[1].request("POST", f"/auth/{name}", body)
    assert answer.status == status
    assert set(answer.json) >= {"error", "code"}


SMUGGLED = [
    b"POST /auth/x HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"POST /auth/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST /auth/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\nzz\r\n",
    b"POST /auth/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST /auth/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /auth/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n",
    b"POST /auth/x HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc",
    b"GET /heartbeat HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET\r\n\r\n",
    b"G\xc3\x8bT / HTTP/1.1\r\n\r\n",
    b"GET http://evil/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"* * *\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
    b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(1000)) + b"\r\n",
    b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n",
]


@pytest.mark.parametrize("number", range(len(SMUGGLED)))
def test_smuggling_and_broken_heads(cluster, number):
    answer = raw(cluster.nodes[2], SMUGGLED[number])
    assert not answer or answer.split()[1].startswith(b"4"), answer[:200]
    assert answer.count(b"HTTP/1.1 2") == 0


def test_random_bytes_on_every_port(cluster):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for node in cluster.nodes:
            for size in (0, 1, 20, 41, 42, 43, 100, 1200, 9000):
                sender.sendto(os.urandom(size), ("127.0.0.1", node.port))
                sender.sendto(b"\x01\x00" + os.urandom(size), ("127.0.0.1", node.port))
            for port in (node.port, node.port + 10000):
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    try:
                        connection.sendall(os.urandom(5000))
                        connection.settimeout(0.2)
                        connection.recv(1000)
                    except OSError:
                        pass
    wait_until(lambda: all(node.active_count() == 3 for node in cluster.nodes))


def test_bad_admin_passwords(cluster):
    for body in ({"password": "guess"}, {"password": ""}, {"password": 1}, {}, []):
        assert cluster.nodes[0].request("POST", "/admin/login", body).status in (400, 401)


def test_guessing_is_slowed_down(cluster):
    node = cluster.nodes[0]
    node.register("victim", "the right one")
    statuses = [node.request("POST", "/auth/victim", {"secret": f"guess {n}"}).status for n in range(12)]
    assert statuses[:10] == [401] * 10
    assert statuses[-1] == 429
    refused = node.request("POST", "/auth/victim", {"secret": "the right one"})
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) >= 1


def test_conditions_tokens_and_levels(cluster, alice):
    node = cluster.nodes[0]
    for headers in ({"If_Match": '"nonsense"'}, {"If_None_Match": "*"}):
        answer = node.request("PUT", "/safe/key/kept-record", {"x": 1}, alice, **headers)
        assert answer.status == 412
    for token in ("nonsense", "AAAA", "x" * 9000, base64.urlsafe_b64encode(os.urandom(50)).decode()):
        assert node.request("GET", "/safe/key/kept-record", None, alice, X_Causal_Token=token).status == 400
    for query in ("?ttl=0", "?ttl=-1", "?ttl=soon", "?w=some", "?ttl=1e3"):
        assert node.put("safe", "other", {"x": 1}, alice, query).status == 400


@pytest.mark.parametrize(
    "body", [{}, {"ops": 1}, {"keys": "k"}, {"keys": [1]}, {"keys": [""]}, [], {"ops": [{}] * 2000}]
)
def test_bad_batches(cluster, alice, body):
    for route in ("batch", "keys"):
        answer = cluster.nodes[0].request("POST", f"/safe/{route}", body, alice)
        assert answer.status == 400


def test_bad_operations_of_a_batch(cluster, alice):
    """Each is refused by itself; the others are carried out."""
    bad = [
        1,
        {},
        {"op": "put"},
        {"op": "put", "key": 1},
        {"op": "put", "key": "", "value": {}},
        {"op": "get", "key": "k"},
    ]
    bad += [{"op": "put", "key": "k", "value": value} for value in ([], 1, None, "x")] + [{"op": "put", "key": "k"}]
    ops = [{"op": "put", "key": "good", "value": {"x": 1}}, *bad, {"op": "delete", "key": "good"}]
    answer = cluster.nodes[0].request("POST", "/batches/batch", {"ops": ops}, alice)
    assert answer.status == 200
    statuses = [one["status"] for one in answer.json["results"]]
    assert statuses[1:-1] == [400] * len(bad)
    assert statuses[0] == 201
    assert statuses[-1] in (200, 404)
    deep = {"op": "put", "key": "k", "value": json.loads('{"a":' * 70 + "1" + "}" * 70)}
    answer = cluster.nodes[0].request("POST", "/batches/batch", {"ops": [deep]}, alice)
    assert answer.json["results"][0]["code"] == "too_deep"


def test_nothing_in_the_clear(cluster, alice):
    node = cluster.nodes[0]
    assert node.put("clear-table", "clear-key", {"clear": "clear-value"}, alice, "?w=all").status == 201
    assert node.put("clear-table", "big", {"clear-value": "x" * 200_000}, alice, "?w=all").status == 201
    assert node.request("POST", "/admin/save", token=cluster.admin_token()).status == 200
    for one in cluster.nodes:
        for file in one.data.rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                for word in (b"clear-table", b"clear-key", b"clear-value", b"alice", b"wonderland"):
                    assert word not in content, file
