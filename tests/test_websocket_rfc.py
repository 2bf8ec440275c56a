"""The websocket of a real node against RFC 6455, case by case, after the Autobahn testsuite's.

What a client may send is answered, and what it may not ends the connection with the code that the RFC names. An error
object counts as an echo.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from .real import Node, RealCluster, check_logs, free_port
from .test_doors import WebSocket, connect, head, read_all

pytestmark = pytest.mark.processes

PING_OP = {"op": "ping", "id": 1}
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    cluster = RealCluster.start(1, folder=tmp_path_factory.mktemp("rfc"))
    yield cluster.nodes[0]
    check_logs(cluster)
    cluster.close()


@pytest.fixture(scope="module")
def token(node):
    return node.register("alice", "a long secret")


@pytest.fixture
def ws(node, token):
    socket_ = WebSocket(node, token)
    assert socket_.status == 101
    yield socket_
    socket_.client.close()


def frame(opcode, payload=b"", *, fin=True, reserved=0, masked=True, length_bytes=0, mask=b"\1\2\3\4"):
    """A client's frame, as right or wrong as it is asked for."""
    size = len(payload)
    if size < 126 and not length_bytes:
        length, more = size, b""
    elif (size < 1 << 16 and not length_bytes) or length_bytes == 2:
        length, more = 126, struct.pack(">H", size)
    else:
        length, more = 127, struct.pack(">Q", size)
    begin = bytes([fin << 7 | reserved << 4 | opcode, masked << 7 | length]) + more
    if not masked:
        return begin + payload
    return begin + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def is_served(ws):
    ws.client.sendall(frame(TEXT, json.dumps(PING_OP).encode()))
    while True:
        opcode, payload = ws.receive()
        if opcode == TEXT:
            return json.loads(payload).get("ok", False)


# Framing


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536, 100_000])
def test_texts_of_all_lengths_are_answered(ws, size):
    ws.client.sendall(frame(TEXT, b"*" * size))
    opcode, payload = ws.receive()
    assert opcode == TEXT
    assert json.loads(payload)["code"] == "malformed_json"
    assert is_served(ws)


@pytest.mark.parametrize("size", [0, 125, 126, 65536])
def test_binaries_of_all_lengths_are_answered(ws, size):
    ws.client.sendall(frame(BINARY, b"\xfe" * size))
    assert json.loads(ws.receive()[1])["code"] == "binary_frame"


def test_a_frame_may_come_byte_by_byte(ws):
    for byte in frame(TEXT, json.dumps(PING_OP).encode()):
        ws.client.sendall(bytes([byte]))
    assert json.loads(ws.receive()[1])["ok"]


def test_a_mask_may_be_nothing(ws):
    ws.client.sendall(frame(TEXT, json.dumps(PING_OP).encode(), mask=bytes(4)))
    assert json.loads(ws.receive()[1])["ok"]


@pytest.mark.parametrize(
    "sent",
    [
        frame(TEXT, b"x", masked=False),
        *(frame(TEXT, b"x", reserved=bits) for bits in range(1, 8)),
        *(frame(opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        frame(PING, b"x", reserved=1),
        frame(PING, b"x" * 126),
        frame(PING, b"x", fin=False),
        frame(PONG, b"x" * 126),
        frame(0, b"x"),
        frame(0, b"x", fin=False),
        frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"),
        frame(TEXT, b"x", fin=False) + frame(BINARY, b"y"),
    ],
)
def test_what_is_no_frame_ends_the_connection_as_a_protocol_error(ws, sent):
    ws.client.sendall(sent)
    assert ws.close_code() == 1002


# Pings


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(125))])
def test_a_ping_is_answered_with_what_it_had(ws, payload):
    ws.client.sendall(frame(PING, payload))
    assert ws.receive() == (PONG, payload)


def test_pings_are_answered_in_order_and_pongs_not_at_all(ws):
    ws.client.sendall(b"".join(frame(PONG, b"unasked") + frame(PING, b"%d" % number) for number in range(10)))
    assert [ws.receive() for _ in range(10)] == [(PONG, b"%d" % number) for number in range(10)]
    assert is_served(ws)


# Fragments


@pytest.mark.parametrize("pieces", [2, 3, 10, 31])
def test_a_text_may_come_in_fragments_with_pings_between(ws, pieces):
    text = json.dumps({"op": "ping", "id": "x" * 60}).encode()
    step = max(1, len(text) // pieces)
    parts = [text[at : at + step] for at in range(0, len(text), step)]
    for number, part in enumerate(parts):
        ws.client.sendall(frame(0 if number else TEXT, part, fin=number == len(parts) - 1))
        if number < len(parts) - 1:
            ws.client.sendall(frame(PING, b"between"))
            assert ws.receive() == (PONG, b"between")
    assert json.loads(ws.receive()[1])["ok"]


def test_fragments_may_be_empty(ws):
    text = json.dumps(PING_OP).encode()
    ws.client.sendall(frame(TEXT, b"", fin=False) + frame(0, text, fin=False) + frame(0, b""))
    assert json.loads(ws.receive()[1])["ok"]


# UTF-8

GOOD = ["κόσμε", "\x00", "\x80", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff", "\ud7ff", "\ue000", "\ufffd"]
BAD = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xf4\x90\x80\x80", b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc2", b"\xe0\x80\x80", b"\xe0\xa0",
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x90\x80", b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_text_in_utf8_is_taken_cut_anywhere(ws, text):
    sent = text.encode()
    for at in range(len(sent) + 1):
        ws.client.sendall(frame(TEXT, sent[:at], fin=False) + frame(0, sent[at:]))
        assert ws.receive()[0] == TEXT
    assert is_served(ws)


@pytest.mark.parametrize("sent", BAD)
def test_text_that_is_no_utf8_ends_the_connection(ws, sent):
    ws.client.sendall(frame(TEXT, sent))
    assert ws.close_code() == 1007


def test_text_that_is_no_utf8_ends_the_connection_before_its_last_fragment(ws):
    ws.client.sendall(frame(TEXT, b"\xce\xba\xf4\x90", fin=False))
    assert ws.close_code() == 1007


# Closing


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
@pytest.mark.parametrize("reason", [b"", b"so long", "ü".encode() * 61])
def test_a_close_is_answered(ws, code, reason):
    ws.client.sendall(frame(CLOSE, struct.pack(">H", code) + reason))
    assert ws.close_code() == code


def test_a_close_without_a_code_is_answered_without_one(ws):
    ws.client.sendall(frame(CLOSE))
    opcode, payload = ws.receive()
    assert opcode == CLOSE
    assert payload in (b"", struct.pack(">H", 1000))


@pytest.mark.parametrize(
    "payload",
    [
        *(struct.pack(">H", code) for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535)),
        b"\x03",
        struct.pack(">H", 1000) + b"\xff",
        struct.pack(">H", 1000) + b"x" * 124,
    ],
)
def test_a_close_that_there_is_not_fails_the_connection(ws, payload):
    """By a close frame, or by dropping it (RFC 6455, section 7.1.7): the client is leaving."""
    ws.client.sendall(frame(CLOSE, payload))
    with contextlib.suppress(ConnectionResetError):
        assert ws.close_code() in (1002, 1007)


def test_nothing_is_answered_behind_a_close(ws):
    ws.client.sendall(frame(CLOSE, struct.pack(">H", 1000)) + frame(PING, b"late") + frame(TEXT, b"late"))
    assert ws.close_code() == 1000
    assert read_all(ws.client) == b""


# Limits


def test_a_message_as_long_as_it_may_be_is_taken_and_a_longer_one_not(ws):
    limit = 4 * (1 << 20) + (64 << 10)
    ws.client.sendall(frame(TEXT, b" " * limit))
    assert ws.receive()[0] == TEXT
    ws.client.sendall(frame(TEXT, b" " * limit, fin=False) + frame(0, b" "))
    assert ws.close_code() == 1009


# Handshakes

KEY = base64.b64encode(bytes(16)).decode()
RIGHT = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": KEY, "Sec_WebSocket_Version": "13"}


@pytest.mark.parametrize(
    ("method", "change", "status"),
    [
        ("GET", {}, 101),
        ("GET", {"Connection": "keep-alive, Upgrade"}, 101),
        ("GET", {"Upgrade": "h2c, WebSocket"}, 101),
        ("GET", {"Sec_WebSocket_Protocol": "other, dynakv.v1.json"}, 101),
        ("GET", {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"}, 101),
        ("GET", {"Upgrade": None}, 426),
        ("GET", {"Upgrade": "h2c"}, 426),
        ("GET", {"Connection": None}, 400),
        ("GET", {"Connection": "keep-alive"}, 400),
        ("GET", {"Sec_WebSocket_Key": None}, 400),
        ("GET", {"Sec_WebSocket_Key": "short"}, 400),
        ("GET", {"Sec_WebSocket_Key": KEY[:-2] + "é="}, 400),
        ("GET", {"Sec_WebSocket_Key": KEY[:-2] + "*="}, 400),
        ("GET", {"Sec_WebSocket_Key": f"{KEY}, {KEY}"}, 400),
        ("GET", {"Sec_WebSocket_Key": base64.b64encode(bytes(32)).decode()}, 400),
        ("GET", {"Sec_WebSocket_Version": None}, 426),
        *(("GET", {"Sec_WebSocket_Version": version}, 426) for version in ("8", "12", "14", "0", "13, 8", "x", "-13")),
        ("GET", {"Sec_WebSocket_Protocol": "one, one"}, 400),
        ("GET", {"Content_Length": "4"}, 400),
        ("HEAD", {}, 400),
        ("POST", {}, 405),
        ("PUT", {}, 405),
    ],
)
def test_handshakes(node, token, method, change, status):
    headers = {name: value for name, value in (RIGHT | change).items() if value is not None}
    client = connect(node)
    client.sendall(head(method, "/ws", token, **headers) + b"body" * ("Content_Length" in change))
    answer = client.recv(4096)
    assert int(answer.split()[1]) == status
    if status >= 400 and method != "HEAD":
        assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"error", "code"}
    if status == 426:
        assert b"Upgrade: websocket\r\n" in answer
        assert (b"Sec-WebSocket-Version: 13\r\n" in answer) == (change.get("Upgrade", "") == "")
    client.close()


def test_the_answer_to_a_handshake_is_that_of_its_key_and_chooses_no_extension(node, token):
    client = connect(node)
    asked = RIGHT | {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Extensions": "permessage-deflate"}
    client.sendall(head("GET", "/ws", token, **asked, Sec_WebSocket_Protocol="dynakv.v1.json"))
    answer = client.recv(4096).lower()
    assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n" in answer
    assert b"sec-websocket-protocol: dynakv.v1.json\r\n" in answer
    assert b"extensions" not in answer
    client.close()


def test_frames_behind_a_handshake_are_the_first_ones(node, token):
    client = connect(node)
    client.sendall(head("GET", "/ws", token, **RIGHT) + frame(PING, b"early") + frame(CLOSE, struct.pack(">H", 1000)))
    answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"\x8a\x05early" + b"\x88\x02\x03\xe8")


def test_what_follows_a_handshake_that_was_refused_is_no_request(node, token):
    """A proxy that takes it for done sends on whatever its client sends: that must not be a request of this node's."""
    client = connect(node)
    smuggled = head("PUT", "/t/key/behind-a-handshake", token, Content_Length=2) + b"{}"
    client.sendall(head("GET", "/ws", token, **(RIGHT | {"Sec_WebSocket_Version": "7"})) + smuggled)
    answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert node.get("t", "behind-a-handshake", token).status == 404


# The Autobahn testsuite, where it is installed

SUITE = shutil.which("wstest")


@pytest.mark.skipif(SUITE is None, reason="no wstest on the path: it is autobahntestsuite's, for Python 2.7, from PyPI")
def test_every_case_of_the_autobahn_testsuite(tmp_path):
    cluster = RealCluster(tmp_path)
    node = Node(tmp_path, free_port(), "--anonymous-read", "--max-value", str(4 << 20))
    node.program = (sys.executable, str(Path(__file__).with_name("echo_twistd.py")))
    cluster.nodes.append(node)
    try:
        node.start()
        cluster.wait_ready()
        servers = [{"agent": "dynakv", "url": f"ws://{node.address}/ws"}]
        cases = {"cases": ["*"], "exclude-cases": ["12.*", "13.*"], "exclude-agent-cases": {}}  # these want compression
        (tmp_path / "spec.json").write_text(json.dumps({"outdir": str(tmp_path / "out"), "servers": servers} | cases))
        command = [SUITE, "-m", "fuzzingclient", "-s", str(tmp_path / "spec.json")]
        subprocess.run(command, check=True, capture_output=True, timeout=300, env=os.environ | {"PYTHONPATH": ""})
        found = json.loads((tmp_path / "out" / "index.json").read_text())["dynakv"]
        assert len(found) > 290
        good = {"OK", "INFORMATIONAL"}
        assert [case for case, how in found.items() if {how["behavior"], how["behaviorClose"]} - good] == []
        check_logs(cluster)
    finally:
        cluster.close()
