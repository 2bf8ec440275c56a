"""A named origin may read every answer of a node, refusals too; and the browser's client is served."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket

import pytest

from .real import RealCluster, check_logs, wait_until

pytestmark = pytest.mark.processes
PAGE = "https://app.example.org"
SHOWN = f"access-control-allow-origin: {PAGE}".encode()
CONNECTIONS = 24
"""Of which one address has half."""
KEY = base64.b64encode(bytes(16)).decode()


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    cluster = RealCluster(tmp_path_factory.mktemp("cors"))
    node = cluster.add("--cors-origin", PAGE, "--body-timeout", "1", "--max-connections", str(CONNECTIONS))
    cluster.wait_ready()
    node.token = node.register("alice", "a long secret")
    yield node
    check_logs(cluster)
    cluster.close()


def head(method, path, origin=PAGE, **more):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if origin is not None:
        lines.append(f"Origin: {origin}")
    return "\r\n".join(
        [*lines, *(f"{name.replace('_', '-')}: {value}" for name, value in more.items()), "", ""]
    ).encode()


def answer_of(node, data):
    """The beginning of what a node answers to some bytes, its names in small letters, and the status."""
    with socket.create_connection((node.host, node.port), timeout=10) as client:
        client.sendall(data)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += client.recv(65536) or pytest.fail("the connection has ended")
    return int(answer.split()[1]), answer.replace(b"Access-Control-Allow-Origin", b"access-control-allow-origin")


REFUSALS = {
    "nobody": (head("GET", "/t/key/k"), 401),
    "no such path": (head("GET", "/nowhere/at/all"), 404),
    "no such method": (head("POST", "/heartbeat"), 405),
    "a path that is none": (head("GET", "/t/key/%ff"), 400),
    "an encoding": (head("GET", "/t/key/k", Content_Encoding="br"), 415),
    "a long body of nobody's": (head("PUT", "/t/key/k", Content_Length=100_000), 401),
    "a long login": (head("POST", "/auth/bob", Content_Length=100_000), 413),
    "a body that does not come": (head("POST", "/auth/bob", Content_Length=10), 408),
    "no level": (head("GET", "/t/key/k?r=some"), 401),
    "for administrators": (head("GET", "/admin/members"), 403),
}


@pytest.mark.parametrize(("data", "status"), REFUSALS.values(), ids=REFUSALS)
def test_a_page_reads_why_it_is_refused(node, data, status):
    told, answer = answer_of(node, data)
    assert told == status
    assert SHOWN in answer
    assert b"Vary: Origin" in answer
    assert b"Access-Control-Allow-Credentials" not in answer
    assert answer_of(node, data.replace(PAGE.encode(), b"https://app.example.org.evil.example"))[1].count(SHOWN) == 0


def test_a_page_reads_that_it_is_to_slow_down(node):
    for _ in range(12):
        answer = node.request("POST", "/auth/alice", {"secret": "a wrong secret"}, Origin=PAGE)
    assert answer.status == 429
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_page_reads_that_there_is_no_room(node):
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS // 2):
            client = stack.enter_context(socket.create_connection((node.host, node.port), timeout=10))
            client.sendall(head("GET", "/t/key/k", None, Authorization=f"Bearer {node.token}"))
            assert client.recv(65536).startswith(b"HTTP/1.1 404")
        assert answer_of(node, head("OPTIONS", "/t/key/k", Access_Control_Request_Method="PUT"))[0] == 204
        status, answer = answer_of(node, head("PUT", "/t/key/k"))
        assert status in (429, 503)
        assert SHOWN in answer
        assert answer_of(node, head("OPTIONS", "/t/key/k", "https://evil.example"))[0] in (429, 503)
    wait_until(lambda: answer_of(node, head("GET", "/heartbeat"))[0] == 200)


@pytest.mark.parametrize(
    "path", ["/t/key/k", "/t/subscribe/k", "/auth/alice", "/ws", "/client/dynakv.js", "/admin/keys"]
)
def test_whatever_a_page_may_send_it_may_ask_to_send(node, path):
    status, answer = answer_of(node, head("OPTIONS", path, Access_Control_Request_Method="PUT"))
    assert status == 204
    assert SHOWN in answer
    for part in (
        b"Access-Control-Max-Age: 600",
        b"PATCH, POST, DELETE",
        b"Idempotency-Key",
        b"Last-Event-ID",
        b"Prefer",
    ):
        assert part.lower() in answer.lower()
    for origin in ("null", "http://app.example.org", "https://app.example.org:8443", "https://example.org"):
        assert answer_of(node, head("OPTIONS", path, origin, Access_Control_Request_Method="PUT"))[0] in (403, 421)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (PAGE, 101), (None, 101), ("null", 403), ("http://app.example.org", 403), ("https://app.example.org:8443", 403),
        ("https://app.example.org.evil.example", 403), ("https://APP.example.org", 403),
    ],
)  # fmt: skip
def test_pages_of_named_origins_open_websockets_and_programs_do(node, origin, status):
    more = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": 13, "Sec_WebSocket_Key": KEY}
    assert answer_of(node, head("GET", "/ws", origin, **more))[0] == status


def test_the_module_is_served_with_its_hash_and_kept_for_a_while(node):
    listed = node.request("GET", "/client/").json
    assert list(listed) == ["/client/dynakv.js", "/client/dynakv.d.ts"]
    for path, integrity in listed.items():
        answer = node.request("GET", path, Origin=PAGE)
        assert answer.status == 200
        assert integrity == "sha384-" + base64.b64encode(hashlib.sha384(answer.body).digest()).decode()
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "public, max-age=300"
        assert answer.headers["vary"] == "Origin"
        assert answer.headers["access-control-allow-origin"] == PAGE
        again = node.request("GET", path, If_None_Match=answer.headers["etag"])
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    assert node.request("GET", "/client/dynakv.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert node.request("GET", "/client/dynakv.d.ts").headers["content-type"] == "text/plain; charset=utf-8"
    assert node.request("GET", "/client/other.js").status == 404
    assert node.request("GET", "/client/dynakv.js", Origin="https://evil.example").status in (403, 421)


def test_a_table_may_be_called_client(node):
    assert node.put("client", "dynakv.js", {"n": 1}, node.token).status == 201
    assert node.request("GET", "/client/keys", None, node.token).json == ["dynakv.js"]
