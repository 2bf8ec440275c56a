"""Locks on real processes: one holder at a time, fencing numbers that grow, a line of those who wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from .real import RealCluster, check_logs, wait_until

DYNAKV = str(Path(sys.executable).parent / "dynakv")

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def cluster():
    made = RealCluster.start(3)
    admin = made.admin_token()
    assert made.nodes[0].request("PUT", "/admin/tables/jobs", {"consistency": "strong"}, admin).status == 200
    yield made
    check_logs(made)
    made.close()


@pytest.fixture(scope="module")
def alice(cluster):
    return cluster.nodes[0].register("alice", "a long secret")


@pytest.fixture(scope="module")
def bob(cluster):
    return cluster.nodes[1].register("bob", "another long secret")


def take(node, key, token, ttl=15, wait=0, note=None):
    return node.request("POST", f"/jobs/lock/{key}?wait={wait}", {"ttl": ttl, "note": note}, token, timeout_s=70)


def release(node, key, token, answer):
    return node.request("POST", f"/jobs/lock/{key}/release", {}, token, If_Match=answer.headers["etag"])


def test_one_holds_it_until_it_is_released(cluster, alice, bob):
    first, second, third = cluster.nodes
    held = take(first, "a", alice, note={"host": "one"})
    assert (held.status, held.json["version"], held.json["value"]) == (201, 1, {"note": {"host": "one"}})
    refused = take(second, "a", bob)
    assert (refused.status, refused.json["code"]) == (409, "locked")
    holder = refused.json["holder"]
    assert (holder["owner"], holder["note"], holder["version"]) == ("alice", {"host": "one"}, 1)
    assert take(third, "a", alice).status == 409, "not even its holder takes it twice"
    renewed = second.request("POST", "/jobs/lock/a/renew", {"ttl": 20}, alice, If_Match=held.headers["etag"])
    assert (renewed.status, renewed.json["value"]) == (200, {"note": {"host": "one"}})
    assert renewed.json["expires_at"] > held.json["expires_at"]
    assert release(third, "a", alice, held).status == 412, "the ETag of before the renewal"
    assert release(third, "a", bob, renewed).status == 403
    assert release(third, "a", alice, renewed).status == 200
    again = take(first, "a", bob)
    assert again.status == 201
    assert again.json["version"] > renewed.json["version"], "the fencing number grows"
    assert first.request("POST", "/jobs/lock/a/renew", {}, alice, If_Match=renewed.headers["etag"]).status in (403, 412)


def test_a_step_with_a_name_is_made_once_whatever_node_hears_it(cluster, alice, bob):
    nodes = cluster.nodes

    def step(node, what="", tag=None, **body):
        told = {"ttl": 15, **body} if what != "/release" else {}
        more = {"If_Match": tag} if tag else {}
        return node.request("POST", f"/jobs/lock/named{what}", told, alice, Idempotency_Key=f"n{what}", **more)

    taken = [step(node) for node in nodes]
    assert [(one.status, one.body) for one in taken] == [(201, taken[0].body)] * 3
    tag = taken[0].headers["etag"]
    renewed = [step(node, "/renew", tag, note="mine") for node in nodes]
    assert [(one.status, one.body) for one in renewed] == [(200, renewed[0].body)] * 3
    assert step(nodes[0], "/renew", tag, note="another").json["code"] == "idempotency_mismatch"
    released = [step(node, "/release", renewed[0].headers["etag"]) for node in nodes]
    assert [(one.status, one.json) for one in released] == [(200, released[0].json)] * 3
    assert take(nodes[1], "named", bob).status == 201, "it is free once"
    ended = step(nodes[2])
    assert (ended.status, ended.json["code"]) == (409, "lock_ended"), "it is another's now"
    refused = nodes[0].request("POST", "/jobs/lock/named", {}, alice, Idempotency_Key="x" * 129)
    assert (refused.status, refused.json["code"]) == (400, "bad_idempotency_key")


def test_bad_requests_are_told_what_to_do_instead(cluster, alice):
    node = cluster.nodes[0]
    answer = node.request("POST", "/weak/lock/a", {}, alice)
    assert (answer.status, answer.json["code"]) == (409, "not_strong")
    assert "/admin/tables/weak" in answer.json["error"]
    assert take(node, "bad", alice, ttl=0).status == 400
    assert node.request("POST", "/jobs/lock/bad/release", {}, alice).json["code"] == "no_etag"
    assert node.request("POST", "/jobs/lock/bad?wait=100", {}, alice).status == 400


def test_those_who_wait_at_one_node_get_it_in_their_order(cluster, alice, bob):
    first, second, _ = cluster.nodes
    held = take(first, "line", alice)
    order, threads, times = [], [], []

    def wait(number):
        answer = take(second, "line", bob, wait=30)
        times.append(time.monotonic())
        assert answer.status == 201, answer.json
        order.append(number)
        assert release(second, "line", bob, answer).status == 200

    for number in range(4):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        time.sleep(0.15)  # they are to come one after another
    assert order == []
    released_s = time.monotonic()
    assert release(first, "line", alice, held).status == 200
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]
    assert times[0] - released_s < 1.0


def test_a_lock_whose_holder_is_gone_ends_and_whoever_waits_has_it(cluster, alice, bob):
    first, second, _ = cluster.nodes
    held = take(first, "dead", alice, ttl=2)
    began_s = time.monotonic()
    answer = take(second, "dead", bob, wait=30)
    assert answer.status == 201
    assert 1.0 < time.monotonic() - began_s < 6.0
    assert answer.json["version"] == held.json["version"] + 1
    assert first.request("POST", "/jobs/lock/dead/renew", {}, alice, If_Match=held.headers["etag"]).status in (403, 412)


def test_whoever_leaves_the_line_does_not_get_it(cluster, alice, bob):
    first, second, _ = cluster.nodes
    held = take(first, "left", alice)
    with pytest.raises(TimeoutError):
        second.request("POST", "/jobs/lock/left?wait=30", {}, bob, timeout_s=0.5)
    assert release(first, "left", alice, held).status == 200
    wait_until(lambda: take(first, "left", alice).status == 201, 5, "it is free")


class TestCommand:
    """``dynakv lock`` and ``dynakv elect``, from two shells."""

    @pytest.fixture
    def shell(self, cluster, alice):
        urls = [f"--url=http://{node.address}" for node in cluster.nodes]
        begun = []

        def run(*arguments, kind="lock"):
            environment = {**os.environ, "DYNAKV_TOKEN": alice}
            child = subprocess.Popen(
                [DYNAKV, *urls, kind, "jobs", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            begun.append(child)
            return child

        yield run
        for child in begun:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()

    def test_a_command_runs_with_the_lock_and_its_status_is_kept(self, shell):
        child = shell("run", "--", "sh", "-c", "echo $DYNAKV_FENCE; exit 7")
        out, _ = child.communicate(timeout=20)
        assert (int(out) > 0, child.returncode) == (True, 7)

    def test_the_second_shell_runs_when_the_first_is_through(self, shell, cluster, alice):
        first = shell("two", "--", "sh", "-c", "echo $DYNAKV_FENCE; sleep 60")
        fence = int(first.stdout.readline())
        second = shell("two", "--", "sh", "-c", "echo $DYNAKV_FENCE")
        assert take(cluster.nodes[0], "two", alice).status == 409
        os.killpg(first.pid, signal.SIGKILL)  # nobody gives the lock back: it ends by itself
        out, told = second.communicate(timeout=40)
        assert not told
        assert int(out) > fence

    def test_a_signal_is_passed_on(self, shell):
        child = shell("sig", "--", "sh", "-c", "trap 'exit 3' TERM; echo up; while true; do sleep 0.05; done")
        assert child.stdout.readline() == "up\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 3

    def test_the_command_is_stopped_when_the_lock_is_lost(self, shell, cluster):
        child = shell(
            "lost", "--ttl", "3", "--", "sh", "-c", "trap 'exit 4' TERM; echo up; while true; do sleep 0.05; done"
        )
        assert child.stdout.readline() == "up\n"
        for node in cluster.nodes:
            node.freeze()
        try:
            assert child.wait(20) == 4
        finally:
            for node in cluster.nodes:
                node.thaw()
        assert "the lock is lost" in child.stderr.read()

    def test_one_of_two_candidates_leads_and_the_other_follows_it(self, shell):
        line = "trap 'exit 0' TERM; echo leads; while true; do sleep 0.05; done"
        candidates = [shell("leader", "--ttl", "3", "--", "sh", "-c", line, kind="elect") for _ in range(2)]
        leaders = []

        def listen(child):
            if child.stdout.readline():
                leaders.append(child)

        for child in candidates:
            threading.Thread(target=listen, args=(child,), daemon=True).start()
        wait_until(lambda: bool(leaders), 20, "a leader")
        first = leaders[0]
        first.send_signal(signal.SIGTERM)
        assert first.wait(20) == 0
        wait_until(lambda: len(leaders) == 2, 20, "the other one leads")
        leaders[1].send_signal(signal.SIGTERM)
        assert leaders[1].wait(20) == 0

    def test_a_command_that_there_is_not(self, shell):
        child = shell("none", "--", "/nonexistent")
        _, told = child.communicate(timeout=20)
        assert child.returncode == 127
        assert told.count("\n") == 1


@pytest.fixture
def in_reactor(cluster):
    """Runs a coroutine function of a client with the reactor that the tests share, in a process of its own."""

    def run(script, token):
        urls = [f"http://{node.address}" for node in cluster.nodes]
        program = f"""
import sys
from twisted.internet import defer, reactor, task
from dynatwist.client import Client, Locked, LockLost

async def main(reactor):
    kv = await Client.connect(reactor, {urls!r})
    kv.token = {token!r}
{script}
    await kv.close()

task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
"""
        child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert child.returncode == 0, child.stderr
        return child.stdout.splitlines()

    return run


def test_a_program_holds_a_lock_and_renews_it(in_reactor, alice):
    lines = in_reactor(
        """
    async with kv.lock("jobs", "program", ttl_s=3, note="me") as held:
        fence = held.fence
        await task.deferLater(reactor, 5)
        held.check()
        print("held", held.is_held)
        try:
            await kv.lock("jobs", "program", wait_s=0).acquire()
        except Locked as error:
            print("locked", error.status)
    async with kv.lock("jobs", "program", wait_s=5) as again:
        print("greater", again.fence > fence)
""",
        alice,
    )
    assert lines == ["held True", "locked 409", "greater True"]


def test_a_holder_that_was_frozen_beyond_its_time_is_told_and_its_late_write_is_refused(cluster, alice):
    """The recipe of docs/operating: what a fenced record has seen of fencing numbers decides, not who thinks it holds
    the lock."""
    urls = [f"http://{node.address}" for node in cluster.nodes]
    program = f"""
import sys
from twisted.internet import defer, task
from dynatwist.client import Client, KvError, LockLost

async def write_fenced(kv, fence, what):
    "Write only over what was written under a lower or equal fencing number."
    try:
        found = await kv.get("jobs", "fenced-record")
    except KvError:
        found = None
    if found is not None and found.value["fence"] > fence:
        raise LockLost("somebody has written under a later lock")
    terms = {{"if_match": found.etag}} if found is not None else {{"if_none_match": True}}
    await kv.put("jobs", "fenced-record", {{"fence": fence, "what": what}}, **terms)

async def main(reactor):
    kv = await Client.connect(reactor, {urls!r})
    kv.token = {alice!r}
    held = await kv.lock("jobs", "fenced", ttl_s=3).acquire()
    await write_fenced(kv, held.fence, sys.argv[1])
    print("held", held.fence, flush=True)
    line = sys.stdin.readline()
    try:
        await write_fenced(kv, held.fence, "late")
        print("written", flush=True)
    except (LockLost, KvError) as error:
        print("refused", held.is_held, flush=True)

task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
"""

    def begin(name):
        return subprocess.Popen(
            [sys.executable, "-c", program, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    first = begin("first")
    try:
        assert first.stdout.readline().startswith("held")
        first.send_signal(signal.SIGSTOP)
        second = begin("second")
        try:
            assert second.stdout.readline().startswith("held"), "it waits until the first one's time is over"
            first.stdin.write("go on\n")
            first.stdin.flush()
            first.send_signal(signal.SIGCONT)
            assert first.stdout.readline() == "refused False\n"
            record = cluster.nodes[0].get("jobs", "fenced-record", alice)
            assert record.json["value"]["what"] == "second"
        finally:
            second.kill()
            second.communicate()
    finally:
        first.kill()
        first.communicate()
