"""When clients have taken all connections, the administrator still gets in, and nobody else by the same door."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from dynatwist.budget import ADMIN_CONNECTIONS

from .real import RealCluster, check_logs, wait_until

pytestmark = pytest.mark.processes
CONNECTIONS = 24


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    cluster = RealCluster(tmp_path_factory.mktemp("reserve"))
    node = cluster.add("--max-connections", str(CONNECTIONS), "--max-address-connections", str(CONNECTIONS))
    cluster.wait_ready()
    node.admin = cluster.admin_token()
    yield node
    check_logs(cluster)
    cluster.close()


def asked(client, path, token=""):
    """One request on a connection that stays; its status, and the body."""
    who = f"Authorization: Bearer {token}\r\n" if token else ""
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{who}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(65536) or pytest.fail("the connection has ended")
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += client.recv(65536)
    return int(head.split()[1]), body


def connect(node):
    return socket.create_connection(("127.0.0.1", node.port), timeout=10)


@pytest.fixture
def crowd(node):
    """Users, who have shown their tokens, on all connections that there are."""
    tokens = [node.register(name, "a long secret") for name in ("alice", "bob")]
    with contextlib.ExitStack() as stack:
        for number in range(CONNECTIONS):
            client = stack.enter_context(contextlib.closing(connect(node)))
            assert asked(client, "/t/key/k", tokens[number % 2])[0] == 404
        yield tokens
    wait_until(lambda: gauge(node) == 1, 10, "connections are given back")


def gauge(node):
    text = node.request("GET", "/metrics").body.decode()
    name = 'dynakv_budget_spent{budget="connections"} '
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name)))


def test_the_administrator_is_answered_when_users_are_not(node, crowd):
    refused = node.request("GET", "/t/key/k", token=crowd[0])
    assert refused.status in (429, 503)
    assert "--max" in json.loads(refused.body)["error"]
    assert node.request("GET", "/admin/members", token=node.admin).status == 200
    with contextlib.closing(connect(node)) as client:  # and again, on a connection that stays
        for _ in range(3):
            assert asked(client, "/admin/members", node.admin)[0] == 200


def test_the_administrator_can_log_in_then(node, crowd):
    answer = node.request("POST", "/admin/login", {"password": "wrong"})
    assert answer.status == 401


def test_a_user_gets_nothing_by_that_door(node, crowd):
    with contextlib.closing(connect(node)) as client:
        assert asked(client, "/admin/members", crowd[0])[0] == 403
    assert node.request("GET", "/metrics").status in (429, 503)


def test_who_says_nothing_there_makes_room(node, crowd):
    with contextlib.ExitStack() as stack:
        for _ in range(ADMIN_CONNECTIONS):
            stack.enter_context(contextlib.closing(connect(node)))
        wait_until(lambda: is_answered(node), 10, "the administrator is answered")


def is_answered(node):
    try:
        return node.request("GET", "/admin/members", token=node.admin).status == 200
    except OSError:
        return False
