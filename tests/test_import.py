"""``dynakv import`` and ``dynakv export`` with three real nodes, beside a real etcd and a real Redis."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dynatwist.cli import source_http
from dynatwist.importing.rows import Row

from .command import run_here
from .real import free_port, wait_until
from .test_importing import ANSWERED, EXPORTED

DYNAKV = str(Path(sys.executable).with_name("dynakv"))
pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def env(cluster, tmp_path_factory):
    made = {key: text for key, text in os.environ.items() if not key.startswith(("DYNAKV_", "XDG_"))}
    token = cluster.nodes[0].register("ann", "a long secret")
    urls = " ".join(node.address for node in cluster.nodes)
    return {**made, "HOME": str(tmp_path_factory.mktemp("home")), "DYNAKV_URL": urls, "DYNAKV_TOKEN": token}


@pytest.fixture(scope="module")
def begun(env):
    """Begins the command."""

    def begun(*words, **more):
        pipe = subprocess.PIPE
        return subprocess.Popen([DYNAKV, *map(str, words)], stdin=pipe, stdout=pipe, stderr=pipe, env={**env, **more})

    return begun


@pytest.fixture(scope="module")
def run(env):
    """Runs the command; answers all that it said, and asserts how it ended."""

    def run(*words, status=0, stdin="", **more):
        done = run_here({**env, **more}, *words, stdin=stdin)
        assert done.status == status, done
        return done.out + done.err

    return run


@pytest.fixture(scope="module")
def ann(cluster, env):
    """Reads what Ann has."""

    def get(table, key, status=200):
        answer = cluster.nodes[2].get(table, key, env["DYNAKV_TOKEN"])
        assert answer.status == status
        return answer.json

    return get


def lines(count, begin=0, size=1):
    return [json.dumps({"key": f"k{n:05}", "value": {"n": n, "text": "x" * size}}) for n in range(begin, begin + count)]


class TestLines:
    def test_what_is_there_stays_unless_it_is_to_be_written_over(self, run, ann):
        some = "\n".join(lines(600))
        assert run("import", "-", "--from", "jsonl", "--table", "plain", stdin=some).startswith("600 written, 0 left")
        other = some.replace('"x"', '"other"') + '\n{"key": "new", "value": 5}\n'
        assert run("import", "-", "--from", "jsonl", "--table", "plain", stdin=other).startswith("1 written, 600 left")
        assert ann("plain", "k00007")["value"]["text"] == "x"
        assert ann("plain", "new")["value"] == {"value": 5}
        told = run("import", "-", "--from", "jsonl", "--table", "plain", "--overwrite", stdin=other)
        assert "601 written, 0 left as they were, 0 refused" in told
        assert ann("plain", "k00007")["value"]["text"] == "other"

    def test_what_is_refused_is_named_and_the_others_go_on(self, run, ann):
        some = [
            {"key": "good", "value": {}},
            {"key": "bad\0", "value": {}},
            {"key": "k" * 1025, "value": {}},
            "no record",
        ]
        text = "\n".join(map(json.dumps, some))
        told = run("import", "-", "--from", "jsonl", "--table", "part", stdin=text, status=1)
        assert "1 written, 0 left as they were, 3 refused" in told
        assert "refused: line 4: " in told
        assert "refused: bad\\x00: the key contains a control character" in told
        assert ann("part", "good")["owner"] == "ann"

    def test_others_records_stay_theirs(self, cluster, run):
        bob = cluster.nodes[0].register("bob", "a long secret")
        assert cluster.nodes[0].put("both", "bobs", {}, bob).status == 201
        some = '{"key": "bobs", "value": {}}\n'
        told = run("import", "-", "--from", "jsonl", "--table", "both", "--overwrite", stdin=some, status=1)
        assert "refused: bobs: " in told

    def test_a_dry_run_asks_nobody(self, run):
        more = {"DYNAKV_URL": "127.0.0.1:1", "DYNAKV_TOKEN": ""}
        told = run(
            "import", "-", "--from", "jsonl", "--table", "t", "--dry-run", stdin="{}\n" + lines(1)[0], status=1, **more
        )
        assert "1 could be written, 1 refused" in told

    def test_mistakes_are_told_in_a_line(self, run, tmp_path):
        for words, status, said in (
            (("nowhere", "--from", "jsonl"), 2, "nowhere: No such file"),
            (("x", "--from", "etcd"), 2, "--table TABLE; etcd has no tables"),
            (("x", "--from", "redis", "--table", "t"), 2, "redis://[:PASSWORD@]HOST:PORT/DB"),
            (("http://127.0.0.1:1", "--from", "etcd", "--table", "t"), 1, "http://127.0.0.1:1 does not answer"),
            (("redis://127.0.0.1:1", "--from", "redis", "--table", "t"), 1, "Redis at 127.0.0.1:1 cannot be reached"),
            (("redis://127.0.0.1:1", "--from", "redis", "--table", "t", "--dry-run"), 1, "cannot be reached"),
            (("redis://[::1", "--from", "redis", "--table", "t"), 2, "write redis://[:PASSWORD@]HOST:PORT/DB"),
            (("http://[::1", "--from", "etcd", "--table", "t"), 2, "this is no URL"),
            (("http://:1", "--from", "consul", "--table", "t"), 2, "no host in the URL"),
            (("ftp://h", "--from", "etcd", "--table", "t"), 2, "give a file, or http://HOST:2379"),
            (("http://h", "--from", "jsonl"), 2, "give a file, or - for stdin"),
        ):
            told = run("import", *words, status=status)
            assert said in told
            assert told.count("\n") == 1


class TestExport:
    def test_there_and_back(self, cluster, run, ann, env, tmp_path):
        node, token = cluster.nodes[0], env["DYNAKV_TOKEN"]
        assert node.request("PUT", "/from/key/exact", b'{"n":1.10,"big":12345678901234567890}', token).status == 201
        assert node.put("from", "with an end", {}, token, "?ttl=500").status == 201
        file = tmp_path / "from.jsonl"
        assert "exported 2 records of 1 table to" in run("export", "from", "--file", file)
        assert file.stat().st_mode & 0o777 == 0o600
        assert '"value":{"n":1.10,"big":12345678901234567890}' in file.read_text()
        assert run("import", file, "--from", "jsonl", "--table", "to").startswith("2 written")
        ends_ms = ann("to", "with an end")["expires_at"]
        assert abs(ends_ms - ann("from", "with an end")["expires_at"]) <= 1000
        assert run("export", "to").splitlines()[1:3] == [
            line.replace('"table":"from"', '"table":"to"') for line in run("export", "to").splitlines()[1:3]
        ]

    def test_the_administrator_exports_all_tables(self, cluster, run):
        assert "only the administrator exports all tables" in run("export", status=1)
        one = cluster.nodes[1].register("cid", "a long secret")
        assert cluster.nodes[1].put("cids", "k", {}, one).status == 201
        admin = {"DYNAKV_TOKEN": cluster.admin_token()}
        assert cluster.nodes[0].request(
            "PUT", "/admin/tables/empty", {"default_ttl": 9}, admin["DYNAKV_TOKEN"]
        ).status == 200  # fmt: skip
        assert "cids\t1\tno\n" in run("-o", "raw", "tables", **admin)
        assert "empty\t0\tyes\n" in run("-o", "raw", "tables", **admin)
        _, *records, foot = map(json.loads, run("export", "cids", "empty", **admin).splitlines())
        assert [(one["table"], one["key"], one["owner"]) for one in records] == [("cids", "k", "cid")]
        assert foot == {"end": "dynakv-export", "total": 1, "records": {"cids": 1, "empty": 0}}

    def test_ctrl_c_leaves_nothing_half_written(self, cluster, begun, tmp_path):
        file = tmp_path / "out.jsonl"
        file.write_text("what was there before")
        node = cluster.nodes[0]
        node.freeze()
        try:
            process = begun("export", "plain", "--file", file, DYNAKV_URL=node.address)
            wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
        finally:
            node.thaw()
        assert [one.name for one in tmp_path.iterdir()] == ["out.jsonl"]
        assert file.read_text() == "what was there before"


# Other stores


def reached(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def started(port, *words):
    process = subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: reached(port), 20)
    return process


@pytest.mark.skipif(not shutil.which("etcd") or not shutil.which("etcdctl"), reason="Debian: etcd-server etcd-client")
def test_etcd(run, ann, tmp_path, monkeypatch):
    port, peers = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    process = started(
        port, "etcd", "--data-dir", tmp_path / "etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", f"http://127.0.0.1:{peers}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peers}",
        "--initial-cluster", f"default=http://127.0.0.1:{peers}", "--unsafe-no-fsync",
    )  # fmt: skip
    env = {**os.environ, "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": url}

    def etcdctl(*words, stdin=b""):
        return subprocess.run(["etcdctl", *words], input=stdin, capture_output=True, check=True, env=env).stdout

    try:
        wait_until(
            lambda: subprocess.run(["etcdctl", "endpoint", "health"], env=env, capture_output=True).returncode == 0
        )
        puts = "".join(f'put /app/many/{n} "v {n}"\n' for n in range(120)) + 'put /app/object {"n":1}\n'
        etcdctl("txn", stdin=f"\n{puts}\n\n".encode())
        etcdctl("put", "/app/bytes", stdin=b"\xff\0")
        lease = etcdctl("lease", "grant", "300").split()[1].decode()
        etcdctl("put", "/app/leased", "text", f"--lease={lease}")
        etcdctl("put", os.fsdecode(b"/app/\xff"), "text")
        file = tmp_path / "etcd.json"
        file.write_bytes(etcdctl("get", "", "--prefix", "-w", "json"))

        told = run("import", url, "--from", "etcd", "--table", "etcd", status=1)
        assert "123 written, 0 left as they were, 1 refused" in told
        assert "refused: /app/\\xff: the key is no valid UTF-8" in told
        assert ann("etcd", "/app/many/77")["value"] == {"value": "v 77"}
        assert ann("etcd", "/app/object")["value"] == {"n": 1}
        assert ann("etcd", "/app/bytes")["value"] == {"value": {"base64": "/wA="}}
        assert 250_000 < ann("etcd", "/app/leased")["expires_at"] - time.time() * 1000 < 302_000

        told = run("import", file, "--from", "etcd", "--table", "etcd file", "--strip", "/app/", status=1)
        assert "123 written, 0 left as they were, 1 refused" in told
        assert "note: 1 key got no end" in told
        assert ann("etcd file", "many/77")["value"] == {"value": "v 77"}
        assert "expires_at" not in ann("etcd file", "leased")

        monkeypatch.setattr(source_http, "PAGE", 50)
        items = source_http.EtcdGateway(url).items()
        begun = next(items)
        etcdctl("del", "/app/many/", "--prefix")
        etcdctl("put", "/app/new", "text")
        keys = [item.key for item in (begun, *items) if isinstance(item, Row)]
        assert len(keys) == len(set(keys)) == 123, "all pages are of one revision"
        assert "/app/new" not in keys
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not shutil.which("redis-server"), reason="Debian: redis-server")
def test_redis(run, ann, tmp_path):
    port = free_port()
    process = started(port, "redis-server", "--port", port, "--save", "", "--dir", tmp_path, "--requirepass", "hush")

    def cli(*words, stdin=b""):
        words = ("redis-cli", "-p", str(port), "-a", "hush", "--no-auth-warning", *words)
        return subprocess.run(words, input=stdin, capture_output=True, check=True).stdout

    try:
        some = [
            "set text t", "set object '{\"n\":1.10}' ex 300", "hset hash a 1 b 2", "rpush list b a", "sadd set b a",
            "zadd zset 1.5 a inf b", "xadd stream 1-0 f v", "set \"k\\xff\" v", "set \"bytes\" \"\\xff\\x00\"",
            *(f"set many:{n} {n}" for n in range(1200)), "select 3", "set other 1",
        ]  # fmt: skip
        cli(stdin="\n".join(some).encode())
        url = f"redis://:hush@127.0.0.1:{port}"
        told = run("import", url, "--from", "redis", "--table", "redis", status=1)
        assert "1208 written, 0 left as they were, 1 refused" in told
        assert "refused: k\\xff: the key is no valid UTF-8" in told
        values = {
            "text": {"value": "t"}, "hash": {"a": "1", "b": "2"}, "list": {"value": ["b", "a"]},
            "set": {"value": ["a", "b"]}, "bytes": {"value": {"base64": "/wA="}}, "many:1199": {"value": "1199"},
            "zset": {"value": [{"member": "a", "score": 1.5}, {"member": "b", "score": "inf"}]},
            "stream": {"value": [{"id": "1-0", "fields": {"f": "v"}}]}, "object": {"n": 1.1},
        }  # fmt: skip
        assert {key: ann("redis", key)["value"] for key in values} == values
        assert 250_000 < ann("redis", "object")["expires_at"] - time.time() * 1000 < 302_000
        assert run("import", f"{url}/3", "--from", "redis", "--table", "redis 3").startswith("1 written")
        told = run("import", f"redis://127.0.0.1:{port}", "--from", "redis", "--table", "t", status=1)
        assert "answers: NOAUTH" in told
    finally:
        process.kill()
        process.wait()


class Consul(BaseHTTPRequestHandler):
    """Answers as Consul does; Debian has no package of it."""

    def do_GET(self):
        is_known = self.path == "/v1/kv/?recurse" and self.headers["X-Consul-Token"] == "hush"
        self.send_response(200 if is_known else 403)
        self.end_headers()
        self.wfile.write(ANSWERED if is_known else b"Permission denied")

    def log_message(self, *_):
        pass


def test_consul(run, ann, tmp_path):
    file = tmp_path / "consul.json"
    file.write_bytes(EXPORTED)
    assert run("import", file, "--from", "consul", "--table", "consul").startswith("3 written")
    assert ann("consul", "config")["value"] == {"n": 1.1}
    server = HTTPServer(("127.0.0.1", 0), Consul)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        words = ("import", f"http://127.0.0.1:{server.server_port}", "--from", "consul", "--table", "consul api")
        assert run(*words, CONSUL_HTTP_TOKEN="hush").startswith("2 written")
        assert ann("consul api", "zip")["value"] == {"value": "test"}
        assert "answers 403: Permission denied" in run(*words, status=1)
    finally:
        server.shutdown()
        server.server_close()


def test_a_node_that_dies_in_the_middle(cluster, begun, run, ann):
    """The one that both an import and an export use, by kill -9. It is the last test: the node stays dead."""
    run("import", "-", "--from", "jsonl", "--table", "long", stdin="\n".join(lines(2000, size=400)))
    coming, going = begun("import", "-", "--from", "jsonl", "--table", "many"), begun("export", "long")
    assert json.loads(going.stdout.readline())["format"] == "dynakv-export"  # it goes on as the pipe is read
    coming.stdin.write("".join(line + "\n" for line in lines(1200)).encode())
    coming.stdin.flush()
    first = cluster.nodes[0]
    wait_until(lambda: first.stats()["tables"].get("many", 0) >= 500)
    first.kill()

    out, err = coming.communicate("\n".join(lines(1200, 1200)).encode(), 60)
    assert (coming.returncode, out) == (0, b"2400 written, 0 left as they were, 0 refused\n"), err
    assert [ann("many", f"k{n:05}")["value"]["n"] for n in (0, 499, 1199, 1200, 2399)] == [0, 499, 1199, 1200, 2399]

    out, err = going.stdout.read(), going.stderr.read()  # a line was read before: more may be in its buffer
    going.wait(60)
    *records, foot = map(json.loads, out.splitlines())
    assert (going.returncode, err) == (0, b"")
    assert [one["key"] for one in records] == [f"k{n:05}" for n in range(2000)]
    assert foot["total"] == 2000
