"""The node's log: an object of JSON a line where it is wanted, levels, and requests that are followed."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from dynatwist.api.followed import answered, id_of
from dynatwist.api.request import Answer
from dynatwist.logs import json_line, observer_for
from dynatwist.replication.followed import MOST_LINES, Followed

from .real import RealCluster, wait_until


def logged(is_json, level):
    file = io.StringIO()
    log = Logger(namespace="somewhere", observer=observer_for(file, is_json=is_json, level=level))
    return log, file


class TestLines:
    def test_say_when_who_what_and_how_bad(self):
        log, file = logged(True, "info")
        log.warn("disk {name} is {state}", name="a", state="full", request="r1")
        line = json.loads(file.getvalue())
        assert (line["level"], line["logger"], line["text"], line["request"]) == (
            "warn", "somewhere", "disk a is full", "r1",
        )  # fmt: skip
        assert line["time"].endswith("Z")

    def test_a_traceback_is_one_line_too(self):
        log, file = logged(True, "info")
        try:
            raise ValueError("two\nlines")
        except ValueError:
            log.failure("it failed", failure=Failure())
        (line,) = file.getvalue().splitlines()
        assert "ValueError: two\nlines" in json.loads(line)["failure"]

    @pytest.mark.parametrize(("level", "seen"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)])
    @pytest.mark.parametrize("is_json", [False, True])
    def test_what_is_below_the_level_is_left_out(self, level, seen, is_json):
        log, file = logged(is_json, level)
        for one in (log.debug, log.info, log.warn, log.error):
            one("x")
        assert len(file.getvalue().splitlines()) == seen

    @given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none() | st.binary(), max_size=5))
    def test_no_event_breaks_a_line(self, event):
        line = json_line({"log_level": LogLevel.info, "log_time": 1.0, **event})
        assert line.endswith("\n")
        assert line.count("\n") == 1
        json.loads(line)


class TestIds:
    @pytest.mark.parametrize("text", ["a", "checkout-7f3a.1_2", "x" * 64])
    def test_that_count(self, text):
        assert id_of({"x-request-id": text}) == text

    @pytest.mark.parametrize("text", ["", "x" * 65, "a b", "a\tb", "é", '{"a":1}', "a/b"])
    def test_that_do_not(self, text):
        assert id_of({"x-request-id": text}) == ""

    @pytest.mark.parametrize(
        ("text", "status", "took_s", "is_told"),
        [("mine", 200, 0.001, True), ("mine", 503, 0.001, True), ("dk-1", 201, 0.001, False), ("dk-1", 404, 0.5, False),
         ("dk-1", 500, 0.001, True), ("dk-1", 503, 0.001, True), ("dk-1", 200, 1.5, True)],
    )  # fmt: skip
    def test_of_those_that_clients_make_failures_are_told_and_what_takes_long(self, text, status, took_s, is_told):
        answer, told = self.answered(Followed(), text, "data.get", status, took_s)
        assert ("X-Request-Id" in answer.headers) == is_told
        assert told == [text] * is_told

    def test_a_lock_that_is_waited_for_is_no_failure(self):
        assert self.answered(Followed(), "dk-1", "locks.take", 409, 9.0)[1] == []

    def test_where_all_fails_a_refusal_costs_no_line(self):
        followed = Followed()
        one_second = [self.answered(followed, "dk-1", "data.get", 503, 0.0, 7.5)[1] for _ in range(MOST_LINES + 5)]
        assert one_second == [["dk-1"]] * MOST_LINES + [[]] * 5
        assert self.answered(followed, "mine", "data.get", 503, 0.0, 7.5)[1] == ["mine"]
        assert self.answered(followed, "dk-1", "data.get", 503, 0.0, 8.0)[1] == ["dk-1"]

    @staticmethod
    def answered(followed, text, route, status, took_s, now_s=100.0):
        """An answer, and the ids of which the log tells."""
        told = []
        globalLogPublisher.addObserver(told.append)
        try:
            answer = answered(followed, text, route, Answer(status), began_s=now_s - took_s, now_s=now_s)
        finally:
            globalLogPublisher.removeObserver(told.append)
        return answer, [one["request"] for one in told if "request" in one]


KEYS = 40
"""A node owns three quarters of them: that it owns all happens once in a hundred thousand runs."""


@pytest.mark.processes
def test_a_request_is_followed_from_node_to_node():
    """Four nodes, so that some keys are another node's; both ways in, the lane and Klein."""
    cluster = RealCluster.start(4, "--log-format", "json")
    try:
        node = cluster.nodes[0]
        token = node.register("ann")

        def lines(one):
            return [json.loads(line) for line in one.log.read_text().splitlines() if line.startswith("{")]

        for number in range(KEYS):
            answer = node.request("PUT", f"/t/key/k{number}", {"n": 1}, token, X_Request_Id=f"r{number}")
            assert answer.headers["x-request-id"] == f"r{number}"
        assert node.request("GET", "/t/keys", token=token, X_Request_Id="list").headers["x-request-id"]
        assert "x-request-id" not in node.request("GET", "/t/key/k1", token=token, X_Request_Id="a b").headers
        asked = {line["request"]: line["text"] for line in lines(node) if "request" in line}
        assert set(asked) == {"list", *(f"r{number}" for number in range(KEYS))}
        assert "data.put is answered 201 after" in asked["r3"]
        wait_until(lambda: any("request" in line for one in cluster.nodes[1:] for line in lines(one)))
        elsewhere = [line["text"] for one in cluster.nodes[1:] for line in lines(one) if "request" in line]
        assert all(f"put for {node.address} is ok after" in text for text in elsewhere)
        assert "dynatwist" in lines(node)[-1]["logger"]
    finally:
        cluster.close()
