"""A cluster behind the files that deploy/ has for nginx and HAProxy, as clients see it."""

from __future__ import annotations

import http.client
import json
import ssl

import pytest

from dynatwist.sync import Client

from .fronts import Front
from .real import Node, RealCluster, check_logs, free_port, wait_until

pytestmark = pytest.mark.processes

SECRET = "a long secret"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A node that serves, one that does not, since it waits for a member that is not there, and the port of none."""
    folder = tmp_path_factory.mktemp("fronts")
    cluster = RealCluster(folder)
    options = ("--trusted-proxy", "127.0.0.1", "--host-name", "kv.example.org")
    serves = cluster.add(*options, "--audit-log", str(folder / "audit.log"))
    waits = Node(folder, free_port(), "--join", f"127.0.0.1:{free_port()}")
    waits.start()
    wait_until(serves.is_ready)
    wait_until(lambda: waits.try_request("GET", "/healthz"))
    assert not waits.is_ready()
    yield serves, waits
    check_logs(cluster)
    waits.kill()
    cluster.close()


@pytest.fixture(scope="module")
def token(nodes):
    return nodes[0].register("alice", SECRET)


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def front(request, nodes, tmp_path_factory):
    ports = [node.port for node in nodes] + [free_port()]
    found = Front(request.param, tmp_path_factory.mktemp("front") / "f", ports)
    wait_until(lambda: all(status(found, "GET", "/readyz") == 200 for _ in range(6)), what="only who serves is asked")
    yield found
    found.close()


@pytest.fixture
def client(front, token):
    with Client(f"https://127.0.0.1:{front.port}", ca=front.ca) as found:
        found.token = token
        yield found


def opened(front, source="127.0.0.1"):
    """A connection, from an address of this machine."""
    trusted = ssl.create_default_context(cafile=front.ca)
    return http.client.HTTPSConnection("127.0.0.1", front.port, timeout=10, source_address=(source, 0), context=trusted)


def status(front, method, path, body=None, source="127.0.0.1", **headers):
    """What the front answers."""
    door = opened(front, source)
    try:
        door.request(method, path, body and json.dumps(body), {n.replace("_", "-"): v for n, v in headers.items()})
        return door.getresponse().status
    finally:
        door.close()


def test_reads_go_on_at_a_node_that_serves(front):
    assert [status(front, "GET", "/readyz") for _ in range(30)] == [200] * 30


def test_records_go_through(client):
    client.put("t", "k", {"text": "x" * 500_000})
    assert len(client.get("t", "k").value["text"]) == 500_000


def test_an_event_stream_says_each_event_as_it_happens(front, client, token):
    door = opened(front)
    try:
        door.request("GET", "/t/subscribe/seen", headers={"Authorization": f"Bearer {token}"})
        stream = door.getresponse()
        for number in range(3):
            client.put("t", "seen", {"n": number})
            line = next(line for line in iter(stream.readline, b"") if line.startswith(b"data: "))
            assert json.loads(line[6:])["Updated"]["value"] == {"n": number}
    finally:
        door.close()


def test_websockets_go_through(client):
    with client.watch("t", "heard") as changes:
        client.put("t", "heard", {"n": 1})
        assert next(changes).record.value == {"n": 1}
    with client.presence("present", "here", {"n": 1}):
        wait_until(lambda: client.get("present", "here").value == {"n": 1})


def test_a_client_is_known_by_its_address_whatever_it_says(front, nodes):
    name, far = f"nobody-{front.kind}", "127.0.1.1"

    def seen():
        lines = [json.loads(line) for line in (nodes[0].folder / "audit.log").read_text().splitlines()]
        return {line["from"] for line in lines if line.get("on") == [name]}

    status(front, "POST", f"/auth/{name}", {"secret": SECRET}, far, X_Forwarded_For="192.0.2.99")
    wait_until(lambda: seen() == {far}, what=f"the audit log names {far}")


def test_a_browser_may_use_the_name_of_the_front(front):
    page = {"Host": "kv.example.org", "Origin": "https://kv.example.org", "Sec_Fetch_Site": "same-origin"}
    assert status(front, "GET", "/stats", **page) == 200
    assert status(front, "GET", "/stats", **page | {"Origin": "https://elsewhere.example.org"}) == 403
