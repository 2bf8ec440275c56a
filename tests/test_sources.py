"""Other stores that answer something else than they should: told in a line, whatever it is."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dynatwist.cli.sources import source_of
from dynatwist.importing.rows import Refused, Row, SourceError


@contextmanager
def redis(*answers):
    """Gives one answer after another to whatever is sent, and then closes; answers its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        client, _ = listener.accept()
        with client:
            for answer in answers:
                if client.recv(65536):
                    client.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@contextmanager
def http(*answers):
    """Gives one answer, a status and a body, after another; answers its port."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = left.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def read(kind, url):
    source = source_of(kind, url)
    source.count()
    return list(source.items())


OK = b"+OK\r\n"
ONE = b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n"
"""An answer to SCAN with one key."""


class TestRedis:
    @pytest.mark.parametrize(
        ("answers", "text"),
        [
            ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "is not Redis's protocol"),
            ((b"-ERR DB index is out of range\r\n",), "answers: ERR DB index is out of range"),
            ((OK, b":1\r\n"), "has closed the connection"),
            ((OK, b":1\r\n", b":5\r\n"), "answers SCAN in a way that is not known"),
            ((OK, b":1\r\n", b"-NOPERM no\r\n"), "answers: NOPERM no"),
            ((OK, b":1\r\n", ONE, b"+string\r\n+string\r\n"), "answers more than it was asked"),
        ],
        ids=["no Redis", "no database", "closed", "no scan", "no right", "more"],
    )
    def test_what_ends_an_import(self, answers, text):
        with redis(*answers) as port, pytest.raises(SourceError, match=text):
            read("redis", f"redis://127.0.0.1:{port}")

    def test_keys_that_cannot_be_read_are_refused(self):
        answers = (OK, b":1\r\n", ONE, b"+ReJSON-RL\r\n")
        with redis(*answers) as port:
            (item,) = read("redis", f"redis://127.0.0.1:{port}")
        assert item == Refused("k", "there is no counterpart of Redis's type ReJSON-RL here")

    def test_what_goes_meanwhile_is_left_out(self):
        for left, value in ((b":-2\r\n", b"$-1\r\n"), (b":-1\r\n", b"$-1\r\n")):
            with redis(OK, b":1\r\n", ONE, b"+string\r\n", b":3\r\n", left + value) as port:
                assert read("redis", f"redis://127.0.0.1:{port}") == []

    def test_a_name_and_a_password(self):
        heard = []
        with redis(OK, OK, b"*2\r\n$1\r\n0\r\n*0\r\n") as port:
            source = source_of("redis", f"redis://me:my%20word@127.0.0.1:{port}/7")
            send = source._greet
            source._greet = lambda sent: heard.append(sent) or send(sent)
            assert list(source.items()) == []
        assert heard == [
            b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$7\r\nmy word\r\n",
            b"*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n",
        ]


class TestEtcd:
    PAGE = b'{"header":{"revision":"3"},"kvs":[{"key":"aw==","value":"dg==","lease":"9"}],"count":"1"}'

    def test_a_lease_that_has_ended(self):
        with http((200, self.PAGE), (200, b'{"ID":"9","TTL":"-1"}')) as port:
            (row,) = read("etcd", f"http://127.0.0.1:{port}")
        assert row.ends_ms < time.time() * 1000

    @pytest.mark.parametrize(
        ("answers", "text"),
        [
            (((404, b"404 page not found"),), "answers 404: 404 page not found"),
            (((200, b"<html>"),), "is not what 'etcdctl"),
            (((200, PAGE), (200, b"[]")), "answer about a lease cannot be read"),
            (((400, b'{"error":"mvcc: required revision has been compacted"}'),), "run the import again"),
        ],
        ids=["another path", "a page", "no lease", "compacted"],
    )
    def test_what_ends_an_import(self, answers, text):
        with http(*answers) as port, pytest.raises(SourceError, match=text):
            read("etcd", f"http://127.0.0.1:{port}")

    def test_whoever_has_to_log_in(self):
        with http((200, b"{}")) as port, pytest.raises(SourceError, match="answer to a login cannot be read"):
            read("etcd", f"http://root:word@127.0.0.1:{port}")


def test_a_consul_without_keys():
    with http((404, b"")) as port:
        assert read("consul", f"http://127.0.0.1:{port}") == []


def test_a_file_of_one_endless_line(tmp_path, monkeypatch):
    monkeypatch.setattr("dynatwist.cli.sources.MOST_LINE_BYTES", 100)
    path = tmp_path / "rows"
    path.write_bytes(b'{"key": "a", "value": {}}\n' + b"x" * 101)
    items = source_of("jsonl", str(path)).items()
    assert next(items) == Row("a", b"{}")
    with pytest.raises(SourceError, match="a line is longer than"):
        next(items)
