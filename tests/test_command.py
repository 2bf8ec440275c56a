"""``dynakv`` as people use it: on a terminal and in pipes, with typing mistakes, and against nodes that are gone."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .command import run_here
from .real import RealCluster, wait_until

DYNAKV = str(Path(sys.executable).with_name("dynakv"))
SECRET = "a long secret"
pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def cluster():
    made = RealCluster.start(3)
    yield made
    made.close()


@pytest.fixture(scope="module")
def env(cluster, tmp_path_factory):
    """Of a shell: the command is on its path, and goes to the first node."""
    home = tmp_path_factory.mktemp("home")
    path = f"{Path(DYNAKV).parent}:{os.environ['PATH']}"
    made = {key: text for key, text in os.environ.items() if not key.startswith(("DYNAKV_", "XDG_"))}
    return {**made, "HOME": str(home), "PATH": path, "DYNAKV_URL": cluster.nodes[0].address, "COLUMNS": "120"}


@pytest.fixture
def run(env):
    """Runs the command; answers what it printed, and asserts how it ended."""

    def run(*words, status=0, stdin="", **more):
        done = subprocess.run(
            [DYNAKV, *words], input=stdin, capture_output=True, text=True, timeout=30, env={**env, **more}
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == status, (done.stdout, done.stderr)
        if status:
            assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr if status else done.stdout

    return run


@pytest.fixture(scope="module")
def ann(env):
    """Ann is logged in, and stays it unless a test has somebody else log in."""
    subprocess.run([DYNAKV, "register", "ann", "--secret", SECRET], env=env, check=True, stdout=subprocess.DEVNULL)


class Terminal:
    """The command on a terminal."""

    def __init__(self, env, *words, **more):
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [DYNAKV, *words], stdin=slave, stdout=slave, stderr=slave, env={**env, **more}, start_new_session=True
        )
        os.close(slave)
        self.text = ""

    def until(self, pattern, limit_s=20.0):
        end_s = time.monotonic() + limit_s
        while not re.search(pattern, self.text):
            assert time.monotonic() < end_s, self.text
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self._master, 4096).decode()
                except OSError:
                    assert re.search(pattern, self.text), self.text

    def type(self, text):
        os.write(self._master, text.encode())


class TestWhoAsks:
    def test_a_mistyped_name_is_not_registered(self, run, ann):
        assert "annn is not registered; dynakv register annn" in run("login", "annn", "--secret", SECRET, status=1)
        assert "annn is not registered" in run("login", "annn", "--secret", SECRET, status=1), "nor was it then"

    def test_on_a_terminal_it_asks(self, env, run, ann):
        terminal = Terminal(env, "login", "bea", "--secret", SECRET)
        terminal.until(r"bea is not registered; register it\? \[y/N\]")
        terminal.type("n\n")
        assert terminal.process.wait(20) == 1
        terminal = Terminal(env, "login", "bea")
        terminal.until("Secret:")
        terminal.type(f"{SECRET}\n")
        terminal.until(r"\[y/N\]")
        terminal.type("y\n")
        terminal.until("logged in as bea")
        run("login", "ann", "--secret", SECRET)

    def test_a_name_is_registered_once(self, run, ann):
        assert "ann is registered already; dynakv login ann" in run("register", "ann", "--secret", SECRET, status=1)
        assert "wrong secret" in run("login", "ann", "--secret", "another secret", status=6)

    def test_one_login_is_good_for_all_nodes(self, cluster, run, ann):
        port = cluster.nodes[1].port
        for url in (cluster.nodes[2].address, f"http://localhost:{port}", f"127.0.0.1:{port}"):
            assert run("--url", url, "-o", "raw", "whoami").startswith("ann\t")

    def test_the_administrator_takes_nobodys_place(self, cluster, run, ann):
        password = run("admin-password", "--key-file", str(cluster.folder / "cluster.key")).strip()
        run("login", "admin", "--secret", password)
        assert run("-o", "raw", "whoami").split("\t")[0] == "admin"
        assert run("--as", "ann", "-o", "raw", "whoami").split("\t")[0] == "ann"
        run("login", "ann", "--secret", SECRET)

    def test_a_dead_token_is_forgotten(self, cluster, run, ann):
        run("register", "cid", "--secret", SECRET)
        token = cluster.nodes[0].request("POST", "/auth/cid", {"secret": SECRET}).json["token"]
        assert cluster.nodes[0].request("POST", "/auth/cid/logout", None, token).status == 200
        assert "had ended already" in run("logout", "cid")
        assert "dynakv login" in run("--as", "cid", "keys", "t", status=6)
        run("login", "ann", "--secret", SECRET)

    def test_contexts(self, cluster, run, ann):
        assert "which is in use" in run("context", "add", "prod", "--url", cluster.nodes[1].address)
        run("context", "add", "gone", "--url", "127.0.0.1:1")
        assert json.loads(run("-o", "json", "context", "list", DYNAKV_URL=""))[1]["name"] == "prod"
        assert run("-o", "raw", "whoami", DYNAKV_URL="").split("\t")[2] == f"http://{cluster.nodes[1].address}"
        run("--context", "gone", "--timeout", "0.5", "keys", "t", status=3, DYNAKV_URL="")
        assert "there is no context 'prd'" in run("context", "use", "prd", status=2)
        for name in ("gone", "prod"):
            run("context", "remove", name)


class TestSessions:
    def test_a_cluster_that_is_where_another_was_takes_its_place(self, tmp_path, monkeypatch):
        from dynatwist.cli import sessions

        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

        class Client:
            urls, token = ["http://127.0.0.1:6671"], "new"

            def stats(self):
                return {"cluster": {"id": self.cluster}}

            def members(self):
                return {"nodes": {"127.0.0.1:6671": {}}}

        client = Client()
        for client.cluster, client.token in (("one", "old"), ("two", "new")):
            sessions.keep_token(client, "ann")
        assert sessions.token_for(client, "") == "new"

    def test_a_token_from_elsewhere_that_is_none_leaves_those_who_are_logged_in(self, run, ann):
        run("get", "v", "k", status=6, DYNAKV_TOKEN="x.y.z")
        assert run("-o", "raw", "whoami").startswith("ann\t")


@pytest.mark.usefixtures("ann")
class TestRecords:
    def test_values_come_from_many_places(self, run, tmp_path):
        (tmp_path / "value.json").write_text('{"from": "file"}')
        run("put", "v", "file", f"@{tmp_path}/value.json")
        run("put", "v", "stdin", "-", stdin='{"from": "stdin"}')
        run("put", "v", "fields", "level=42", "name=Ann", "is=true", "list=[1]")
        assert json.loads(run("-o", "raw", "get", "v", "file")) == {"from": "file"}
        assert json.loads(run("get", "--value", "v", "stdin")) == {"from": "stdin"}
        assert json.loads(run("-o", "raw", "get", "v", "fields")) == {
            "level": 42, "name": "Ann", "is": True, "list": [1],
        }  # fmt: skip
        assert set(json.loads(run("get", "v", "file", "stdin"))) == {"file", "stdin"}
        assert "file" in run("-o", "table", "get", "v", "file")
        assert "from: file" in run("-o", "yaml", "get", "v", "file")

    @pytest.mark.parametrize(
        ("words", "status", "says"),
        [
            (["put", "v", "k", "{"], 2, "'VALUE...': not JSON"),
            (["put", "v", "k", "[1]"], 2, "expected a JSON object"),
            (["put", "v", "k", "@/none"], 2, "/none: "),
            (["put", "v", "k", "a=1", "b"], 2, "'b' is no field"),
            (["patch", "v", "k", "nonsense"], 2, "'CHANGES': not JSON"),
            (["get", "v"], 2, "KEY"),
            (["get", "v", "nix"], 4, "no such key"),
            (["gett", "v", "k"], 2, "get"),
            (["--url", "ftp://x", "keys", "v"], 2, "speaks http or https"),
            (["--url", "127.0.0.1:1", "--timeout", "0.5", "keys", "v"], 3, "127.0.0.1:1"),
            (["--cacert", "/none", "keys", "v"], 2, "--cacert"),
            (["keys", "_users"], 1, "system"),
            (["touch", "v", "k", "soon"], 2, "'TTL'"),
            (["del", "v"], 2, "give keys, or --prefix"),
        ],
        ids=lambda one: " ".join(one) if isinstance(one, list) else "",
    )
    def test_what_is_wrong_is_told_in_a_line(self, run, words, status, says):
        assert says in run(*words, status=status)

    def test_conditions(self, run):
        etag = json.loads(run("put", "v", "c", "{}"))["etag"]
        run("put", "v", "c", "{}", "--if-none-match", status=5)
        run("put", "v", "c", "n=1", "--if-match", etag)
        run("patch", "v", "c", '{"n": 2}', "--if-match", etag, status=5)
        run("del", "v", "c", "--if-match", etag, status=5)

    def test_many_are_deleted_after_a_question(self, env, run):
        for number in range(3):
            run("put", "bulk", f"b{number}", "{}")
        assert "nothing was deleted" in run("del", "bulk", "--prefix", "b", status=1, stdin="n\n").splitlines()[-1]
        terminal = Terminal(env, "del", "bulk", "--prefix", "b")
        terminal.until(r"delete 3 keys of bulk that begin with 'b', from b0 to b2\? \[y/N\]")
        terminal.type("y\n")
        assert terminal.process.wait(20) == 0
        assert run("keys", "bulk") == ""
        assert "no key in bulk" in run("del", "bulk", "--prefix", "b", "--yes", status=4)


@pytest.mark.usefixtures("ann")
class TestEdit:
    def editor(self, tmp_path, line):
        script = tmp_path / "editor"
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
        return str(script)

    def test_what_is_changed_is_written(self, run, tmp_path):
        run("put", "e", "k", "n=1")
        run("edit", "e", "k", EDITOR=self.editor(tmp_path, 'sed -i s/1/2/ "$1"'))
        assert json.loads(run("-o", "raw", "get", "e", "k")) == {"n": 2}
        assert run("edit", "e", "k", EDITOR=self.editor(tmp_path, "true")) == "nothing was changed\n"

    def test_a_new_one_begins_empty(self, run, tmp_path):
        run("edit", "e", "new", EDITOR=self.editor(tmp_path, "echo '{\"a\": 1}' > $1"))
        assert json.loads(run("-o", "raw", "get", "e", "new")) == {"a": 1}

    def test_somebody_else_was_quicker(self, env, run, tmp_path):
        run("put", "e", "race", "n=1")
        editor = self.editor(tmp_path, f'sed -i s/1/2/ "$1"; {DYNAKV} put e race n=3 > /dev/null')
        done = subprocess.run(
            [DYNAKV, "edit", "e", "race"], capture_output=True, text=True, timeout=30, env={**env, "EDITOR": editor}
        )
        assert done.returncode == 5
        assert '-  "n": 3' in done.stderr
        assert '+  "n": 2' in done.stderr
        kept = done.stderr.split("your text is in ")[1].strip()
        assert json.loads(Path(kept).read_text()) == {"n": 2}
        os.unlink(kept)

    def test_what_is_no_json_is_kept(self, run, tmp_path):
        told = run("edit", "e", "k", status=1, EDITOR=self.editor(tmp_path, 'echo "{" > "$1"'))
        kept = told.split("your text is in ")[1].strip()
        assert Path(kept).read_text() == "{\n"
        os.unlink(kept)
        assert "set EDITOR" in run("edit", "e", "k", status=1, EDITOR="/no/such/editor")


@pytest.mark.usefixtures("ann")
class TestWatch:
    def test_with_what_there_is_and_to_a_command(self, env, run, tmp_path):
        run("put", "w", "before", "n=0")
        out = tmp_path / "out"
        line = f"echo $DYNAKV_TYPE $DYNAKV_KEY $DYNAKV_VALUE >> {out}"
        watching = subprocess.Popen([DYNAKV, "watch", "w", "--initial", "--exec", line], env=env)
        try:
            wait_until(lambda: out.exists() and "synced" in out.read_text(), 20)
            run("put", "w", "k", "n=1")
            run("del", "w", "k")
            wait_until(lambda: "Deleted" in out.read_text(), 20)
        finally:
            watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130
        assert out.read_text().split("\n")[:5] == [
            "begin",
            'Updated before {"n":0}',
            "synced",
            'Updated k {"n":1}',
            "Deleted k",
        ]

    def test_a_closed_pipe_is_no_accident(self, env, run):
        run("put", "w", "before", "n=0")
        line = f"{DYNAKV} watch w --initial | head -1"
        writing = subprocess.Popen(
            ["sh", "-c", line], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        out, told = writing.communicate(timeout=20)
        assert (json.loads(out)["type"], told) == ("begin", "")

    def test_a_pipe_that_is_closed_while_nothing_happens_ends_it(self, env, run):
        run("put", "w", "before", "n=0")
        watching = subprocess.Popen(
            [DYNAKV, "watch", "w", "--initial"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for line in watching.stdout:
            if json.loads(line)["type"] == "synced":
                break
        watching.stdout.close()
        assert (watching.wait(20), watching.stderr.read()) == (1, b"")

    def test_on_a_terminal_it_is_for_people(self, env, run):
        terminal = Terminal(env, "watch", "w", "--initial")
        terminal.until("synced")
        run("put", "w", "seen", "n=1")
        terminal.until(r'Updated.*seen {"n":1}')
        terminal.type("\x03")
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.process.wait(10) == 130


@pytest.mark.usefixtures("ann")
class TestTop:
    def test_without_a_terminal_once(self, cluster, run):
        rows = [line.split("\t") for line in run("-o", "raw", "top").splitlines()]
        assert [row[0] for row in rows] == sorted(node.address for node in cluster.nodes)
        assert {row[1] for row in rows} == {"Active"}

    def test_on_a_terminal_until_q(self, cluster, env):
        terminal = Terminal(env, "top", TERM="xterm", LINES="30")
        terminal.until(cluster.nodes[2].address)
        terminal.type("q")
        assert terminal.process.wait(10) == 0


@pytest.mark.usefixtures("ann")
class TestShells:
    def complete(self, env, *words):
        asked = {
            "COMP_WORDS": " ".join(["dynakv", *words]),
            "COMP_CWORD": str(len(words)),
            "_DYNAKV_COMPLETE": "bash_complete",
        }
        done = subprocess.run([DYNAKV], capture_output=True, text=True, timeout=20, env={**env, **asked})
        return [line.split(",")[1] for line in done.stdout.split()]

    def test_tables_and_keys_are_offered(self, env, run):
        run("put", "trips", "oslo", "{}")
        assert "watch" in self.complete(env, "wa")
        assert self.complete(env, "get", "tri") == ["trips"]
        assert self.complete(env, "get", "trips", "os") == ["oslo"]
        assert self.complete({**env, "DYNAKV_URL": "127.0.0.1:1"}, "get", "tri") == [], "and nobody is in the way"

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_each_shell_takes_its_script(self, env, run, tmp_path, shell):
        script = tmp_path / "script"
        script.write_text(run("completion", shell))
        if shutil.which(shell) is None:
            assert script.read_text()
            return
        done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, timeout=20, env=env)
        assert (done.returncode, done.stderr) == (0, "")

    def test_the_man_page(self, run, tmp_path):
        page = run("man")
        assert ".SH EXIT STATUS" in page
        if shutil.which("man"):
            (tmp_path / "dynakv.1").write_text(page)
            done = subprocess.run(
                ["man", "--warnings", "-l", str(tmp_path / "dynakv.1")], capture_output=True, text=True, timeout=20
            )
            assert "A condition did not hold" in " ".join(done.stdout.split())
            assert done.stderr == ""

    def test_it_starts_without_twisted(self, env):
        code = "import sys, dynatwist.cli.main, dynatwist.sync; print('twisted' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=20)
        assert done.stdout == "False\n"


class TestAdministrators:
    """What an administrator sees to: users, groups, tokens of programs, settings of tables."""

    @pytest.fixture
    def do(self, cluster, env):
        admin = {**env, "DYNAKV_TOKEN": cluster.admin_token()}

        def do(*words, status=0, stdin="", **more):
            done = run_here({**admin, **more}, *words, stdin=stdin)
            assert done.status == status, done
            assert not status or done.err.count("\n") == 1
            return done.err if status else done.out

        return do

    def test_users(self, cluster, do):
        assert do("user", "add", "eva", "--secret", SECRET) == "added eva\n"
        assert "eva" in do("-o", "raw", "user", "list").split()
        assert {"user": "eva"} in json.loads(do("-o", "json", "user", "list"))
        assert "there is a user of that name" in do("user", "add", "eva", "--secret", SECRET, status=1)
        token = cluster.nodes[1].request("POST", "/auth/eva", {"secret": SECRET}).json["token"]
        assert do("user", "logout", "eva") == "logged eva out\n"
        assert wait_until(lambda: cluster.nodes[1].get("t", "k", token).status == 401)
        assert "nothing was changed" in do("user", "remove", "eva", status=1, stdin="n\n")
        assert do("user", "remove", "eva", "--yes") == "removed eva\n"
        assert "there is no such user" in do("user", "remove", "eva", "--yes", status=4)

    def test_groups(self, do):
        assert do("group", "set", "ops", "ann", "fay") == "ops: ann fay\n"
        assert "ops\tann fay\n" in do("-o", "raw", "group", "list")
        assert {"group": "ops", "members": ["ann", "fay"]} in json.loads(do("-o", "json", "group", "list"))
        assert do("group", "remove", "ops") == "removed ops\n"
        assert "there is no group 'ops'" in do("group", "remove", "ops", status=4)

    def test_tokens_of_programs(self, cluster, do):
        words = ("token", "create", "collector", "--may", "read,write", "devices", "sensor/", "--lifetime", "900")
        token = do(*words).strip()
        assert cluster.nodes[1].put("devices", "sensor/1", {}, token).json["owner"] == "service:collector"
        assert cluster.nodes[1].put("devices", "other", {}, token).status == 403
        (one,) = json.loads(do("-o", "json", "token", "list"))
        rights = ["create", "delete", "read", "update"]
        assert one["access"] == [{"table": "devices", "prefix": "sensor/", "rights": rights}]
        assert token not in do("token", "list")
        assert do("token", "revoke", one["id"]) == f"revoked {one['id']}\n"
        assert wait_until(lambda: cluster.nodes[1].get("devices", "sensor/1", token).status == 401)
        assert "there is no service token of that id" in do("token", "revoke", one["id"], status=4)
        assert "there is no right 'reed'" in do("token", "create", "x", "--may", "reed", "devices", "", status=1)

    def test_settings_of_tables(self, do, tmp_path):
        assert json.loads(do("settings", "kept"))["default_ttl"] == 0
        file = tmp_path / "settings.json"
        file.write_text('{"default_ttl": 60, "max_value": 1000}')
        assert json.loads(do("settings", "kept", "--set", file))["default_ttl"] == 60
        assert json.loads(do("settings", "kept", "--set", "-", stdin='{"default_ttl": 70}'))["max_value"] == 1000
        editor = {"VISUAL": "", "EDITOR": "sed -i s/70/80/"}
        assert json.loads(do("settings", "kept", "--edit", **editor))["default_ttl"] == 80
        assert do("settings", "kept", "--edit", **editor) == "nothing was changed\n"
        assert "there is no setting 'ttl'" in do("settings", "kept", "--set", "-", stdin='{"ttl": 1}', status=1)
        assert "kept\t0\tyes\n" in do("-o", "raw", "tables")
        assert do("settings", "kept", "--reset") == "nothing is set for kept any more\n"
        assert json.loads(do("-o", "json", "settings", "kept"))["max_value"] == 1 << 20

    def test_others_are_told_who_may(self, run, ann):
        assert "only an administrator may do this (dynakv login admin)" in run("user", "list", status=1)
