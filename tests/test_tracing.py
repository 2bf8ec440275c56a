"""Traces: which spans a node makes of requests, where they go, and what becomes of them when nobody takes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dynatwist.config.sources import load
from dynatwist.errors import ConfigError, StartError
from dynatwist.net.messages import Compare, Forward, Replicate, Unable
from dynatwist.replication.request import ENCODER, Kind, Operation
from dynatwist.requests.forwarding import read_forwarded
from dynatwist.requests.traced import in_traces
from dynatwist.sansio.trail import trail
from dynatwist.sync import Client, NotFound, request_id
from dynatwist.tracing import export
from dynatwist.tracing.chosen import tracer_of
from dynatwist.tracing.otel import OtelTracer, shown, url_of
from dynatwist.tracing.tracer import NO_TRACER, is_traceparent

from .real import TWISTD, RealCluster, wait_until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = ({"traceparent": f"00-{TRACE}-{PARENT}-{flags}"} for flags in ("01", "00"))


def traced(exporter, sample=1.0, said=None):
    """A tracer that has started."""
    say = (said if said is not None else []).append
    tracer = OtelTracer(endpoint="http://c", sample=sample, told={"dynakv.node": "here"}, say=say, exporter=exporter)
    tracer.start("6ee1c2")
    return tracer


class TestSpans:
    def test_belong_to_what_the_client_names_and_say_what_they_are_told(self):
        kept = InMemorySpanExporter()
        tracer = traced(kept)
        span = tracer.begin("data.put", SAMPLED)
        inner = tracer.begin("owner.put", {"traceparent": span.traceparent})
        inner.end({"dynakv.code": "uncertain"}, is_failure=True)
        span.end({"dynakv.table": "t"}, is_failure=False)
        tracer.stop()
        owner, put = kept.get_finished_spans()
        assert is_traceparent(span.traceparent)
        assert f"{put.context.trace_id:032x}" == f"{owner.context.trace_id:032x}" == TRACE
        assert f"{put.parent.span_id:016x}" == PARENT
        assert owner.parent.span_id == put.context.span_id
        assert (put.name, dict(put.attributes), put.status.is_ok) == ("data.put", {"dynakv.table": "t"}, True)
        assert not owner.status.is_ok
        told = put.resource.attributes
        assert (told["service.name"], told["service.instance.id"], told["dynakv.node"]) == ("dynakv", "6ee1c2", "here")

    @pytest.mark.parametrize("headers", [{}, {"traceparent": "rubbish"}, {"traceparent": f"00-{'0' * 32}-{PARENT}-01"}])
    def test_begin_a_trace_where_the_client_names_none(self, headers):
        tracer = traced(InMemorySpanExporter())
        assert TRACE not in tracer.begin("data.get", headers).traceparent
        tracer.stop()

    def test_are_sampled_as_their_client_has_decided_and_else_by_share(self):
        none, all_ = traced(InMemorySpanExporter(), 0.0), traced(InMemorySpanExporter(), 1.0)
        some = traced(InMemorySpanExporter(), 0.25)
        assert none.begin("a", SAMPLED) is not None
        assert none.begin("a", {}) is None
        assert all_.begin("a", UNSAMPLED) is None
        assert 150 < sum(some.begin("a", {}) is not None for _ in range(1000)) < 350
        for tracer in (none, all_, some):
            tracer.stop()

    def test_nothing_is_made_before_the_node_has_started(self):
        tracer = OtelTracer(endpoint="http://c", sample=1.0, told={}, say=print)
        assert tracer.begin("a", {}) is None
        assert tracer.dropped == 0
        assert threading.active_count() == len(threading.enumerate())
        assert not [one for one in threading.enumerate() if one.name.startswith("Otel")]


class Refusing(SpanExporter):
    """Takes nothing, or something, or takes its time."""

    def __init__(self):
        self.result, self.may_go_on = SpanExportResult.FAILURE, threading.Event()
        self.may_go_on.set()

    def export(self, spans):
        self.may_go_on.wait(10)
        return self.result


class TestWhatNobodyTakes:
    def test_is_counted_and_told_once_until_it_is_taken_again(self, monkeypatch):
        monkeypatch.setattr(export, "EVERY_MS", 10)
        exporter, said = Refusing(), []
        tracer = traced(exporter, said=said)
        for number in range(3):
            tracer.begin("a", {}).end({}, is_failure=False)
            wait_until(lambda count=number + 1: tracer.dropped == count)
        assert len(said) == 1
        assert "http://c/v1/traces takes no traces, and they are dropped" in said[0]
        exporter.result = SpanExportResult.SUCCESS
        tracer.begin("a", {}).end({}, is_failure=False)
        wait_until(lambda: len(said) == 2)
        assert said[1] == "http://c/v1/traces takes traces again"
        tracer.stop()
        assert tracer.dropped == 3

    def test_waits_up_to_a_bound_and_holds_nobody_up(self, monkeypatch):
        monkeypatch.setattr(export, "EVERY_MS", 10)
        monkeypatch.setattr(export, "MOST_WAITING", 5)
        monkeypatch.setattr(export, "BATCH", 2)
        exporter = Refusing()
        exporter.result = SpanExportResult.SUCCESS
        exporter.may_go_on.clear()
        tracer = traced(exporter)
        began_s = time.monotonic()
        for _ in range(12):
            tracer.begin("a", {}).end({}, is_failure=False)
        assert tracer.dropped == 7
        assert time.monotonic() - began_s < 1
        exporter.may_go_on.set()
        tracer.stop()
        assert tracer.dropped == 7


class TestSettings:
    def test_a_collector_without_a_path_has_the_usual_one(self):
        assert url_of("http://c:4318") == url_of("http://c:4318/") == "http://c:4318/v1/traces"
        assert url_of("https://c/otlp/v1/traces?key=1") == "https://c/otlp/v1/traces?key=1"

    def test_what_may_be_a_secret_is_not_logged(self):
        assert shown("https://me:secret@c:4318/v1/traces?key=secret") == "https://c:4318/v1/traces"

    @pytest.mark.parametrize("url", ["c:4318", "grpc://c", "http://", "http://c:port", "http://c d", "http://c:0"])
    def test_what_is_no_url(self, url):
        with pytest.raises(ConfigError, match=r"--otel-endpoint .*: expected a URL, such as http://127\.0\.0\.1:4318"):
            load({"otel-endpoint": url}, {})

    @pytest.mark.parametrize("share", ["1.1", "-0.1", "much", "nan"])
    def test_what_is_no_share(self, share):
        with pytest.raises(ConfigError, match="expected a share from 0 to 1"):
            load({"otel-sample": share}, {})

    def test_by_environment(self):
        config = load({}, {"DYNAKV_OTEL_ENDPOINT": "http://c:4318", "DYNAKV_OTEL_SAMPLE": "0.01"})
        assert (config.otel_endpoint, config.otel_sample) == ("http://c:4318", 0.01)
        assert tracer_of(load({}, {}).otel_endpoint, 1.0, {}, print) is NO_TRACER


class TestWithoutThePackages:
    def test_the_start_is_refused_by_one_line(self, tmp_path, monkeypatch):
        """Instead of the packages there is one that is empty, as where they were never installed."""
        (tmp_path / "opentelemetry").mkdir()
        (tmp_path / "opentelemetry" / "__init__.py").touch()
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        command = [TWISTD, "-n", "dynakv", "--data-dir", str(tmp_path / "data"), "--key-file", str(tmp_path / "key")]
        command += ["--otel-endpoint", "http://127.0.0.1:4318"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=env, cwd=tmp_path)
        assert done.returncode == 1
        told = "OpenTelemetry is not installed; run pip install 'dynatwist[otel]', or leave it out"
        assert done.stderr == f"dynakv: --otel-endpoint: {told}\n"

    def test_nothing_else_needs_them(self, monkeypatch):
        for name in [one for one in sys.modules if one.startswith(("opentelemetry", "dynatwist.tracing.otel"))]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "opentelemetry", None)
        assert tracer_of(None, 1.0, {}, print) is NO_TRACER
        assert list(trail(Random(1))) == ["X-Request-Id"]
        with pytest.raises(StartError, match="OpenTelemetry is not installed"):
            tracer_of("http://c", 1.0, {}, print)


class TestBetweenNodes:
    def forwarded(self, **more):
        operation = Operation(Kind.PUT, ("t", "k"), value=b"{}", uid="ann", followed="r1", **more)
        return operation, Forward(1, 1000, b"o" * 16, ENCODER.encode(operation))

    @pytest.mark.parametrize(
        ("sent", "nothing"),
        [(Operation(Kind.PUT, ("t", "k"), value=b"{}", followed="r1", trace=SAMPLED["traceparent"]), ""),
         (Replicate(7, 1000, [(("t", "k"), b"packed")], (SAMPLED["traceparent"],)), ()),
         (Compare(7, [("t", "k")], b"digest", (SAMPLED["traceparent"],)), ())],
        ids=lambda one: type(one).__name__,
    )  # fmt: skip
    def test_an_earlier_release_does_not_read_so_far_and_what_it_sends_is_understood(self, sent, nothing):
        kind, config = type(sent), type(sent).__struct_config__
        fields = [
            (field.name, field.type, *([] if field.default is msgspec.NODEFAULT else [field.default]))
            for field in msgspec.structs.fields(kind)
        ]
        last = fields.pop()
        assert last[2] == nothing
        Earlier = msgspec.defstruct("Earlier", fields, array_like=True, tag=config.tag)
        read = msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Earlier)
        assert msgspec.structs.asdict(read) == {
            name: value for name, value in msgspec.structs.asdict(sent).items() if name != last[0]
        }
        heard = msgspec.msgpack.decode(msgspec.msgpack.encode(read), type=kind)
        assert heard == msgspec.structs.replace(sent, **{last[0]: nothing})

    def test_a_message_for_many_requests_is_a_part_of_each_of_their_traces(self):
        kept, answers = InMemorySpanExporter(), []
        tracer = traced(kept)
        traces = (SAMPLED["traceparent"], "rubbish", UNSAMPLED["traceparent"], f"00-{'5' * 32}-{PARENT}-01")
        respond = in_traces(tracer, "owner.replicate", traces, answers.append)
        assert not kept.get_finished_spans()
        respond(Unable("too late"))
        tracer.stop()
        assert answers == [Unable("too late")]
        assert [f"{one.context.trace_id:032x}" for one in kept.get_finished_spans()] == [TRACE, "5" * 32]
        assert not any(one.status.is_ok for one in kept.get_finished_spans())
        assert in_traces(tracer, "owner.replicate", (), print) is print
        assert in_traces(NO_TRACER, "owner.replicate", traces, print) is print

    @pytest.mark.parametrize("trace", ["rubbish", "00-" + "0" * 52, SAMPLED["traceparent"] + "\n", "x" * 100_000])
    def test_a_span_that_is_none_is_refused(self, trace):
        assert read_forwarded(self.forwarded(trace=trace)[1]) == (None, "the span that it belongs to is none")
        operation, message = self.forwarded(trace=SAMPLED["traceparent"])
        assert read_forwarded(message) == (operation, "")


class TestClients:
    def test_name_the_span_that_is_current(self):
        tracer = TracerProvider(shutdown_on_exit=False).get_tracer("a program")
        with tracer.start_as_current_span("buys") as span:
            headers = trail(Random(1))
            assert headers["traceparent"] == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-03"
        assert "traceparent" not in trail(Random(1))


class Collector:
    """Takes traces by OTLP over HTTP.

    :ivar bodies: as they came.
    :ivar status: that it answers.
    """

    def __init__(self):
        self.bodies, self.status, collector = [], 200, self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self):
                assert self.path == "/v1/traces"
                assert self.headers["Content-Type"] == "application/x-protobuf"
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def spans(self):
        """Of each: its node, its name, its trace, its parent, its id, and what is said of it."""
        return [
            {
                "node": _said(resource.resource.attributes)["dynakv.node"],
                "name": span.name,
                "trace": span.trace_id.hex(),
                "parent": span.parent_span_id.hex(),
                "id": span.span_id.hex(),
                **_said(span.attributes),
            }
            for body in list(self.bodies)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def _said(attributes):
    return {one.key: one.value.string_value or one.value.int_value for one in attributes}


@pytest.fixture(scope="module")
def collected():
    """Two nodes: each has a copy of all keys, and is the first owner of half of them, who decides about conditions."""
    collector = Collector()
    cluster = RealCluster.start(2, "--otel-endpoint", collector.url, "--log-format", "json")
    yield collector, cluster
    cluster.close()
    collector.close()


@pytest.mark.processes
def test_one_trace_goes_from_the_program_over_the_node_that_it_asks_to_the_owner(collected):
    collector, cluster = collected
    one = cluster.nodes[0]
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("a program")
    with Client.connect(f"http://{one.address}") as kv:
        kv.login("ann", "a long secret")
        with tracer.start_as_current_span("buys") as span, request_id("checkout-7"):
            for number in range(12):
                kv.put("orders", f"secretkey{number}", {"of": "secretvalue"}, if_none_match=True)
            kv.keys("orders")
            with pytest.raises(NotFound):
                kv.get("orders", "secretnothing")
    trace = f"{span.context.trace_id:032x}"

    def found(name):
        return [one for one in collector.spans() if (one["name"], one["trace"]) == (name, trace)]

    wait_until(lambda: len(found("data.put")) == 12 and found("data.keys") and found("data.get"))
    puts = {one["id"]: one for one in found("data.put")}
    for put in puts.values():
        assert put["parent"] == f"{span.context.span_id:016x}"
        assert put == put | {
            "node": one.address, "http.request.method": "PUT", "http.response.status_code": 201,
            "dynakv.table": "orders", "dynakv.level": "quorum", "dynakv.request_id": "checkout-7",
        }  # fmt: skip
    assert found("data.get")[0]["http.response.status_code"] == 404
    wait_until(lambda: any(one["parent"] == found("data.get")[0]["id"] for one in found("owner.compare")))
    wait_until(lambda: found("owner.put") and len(found("owner.replicate")) == 12)
    owners = {one["id"]: one for one in found("owner.put")}
    assert 0 < len(owners) < 12
    for owner in owners.values():
        assert owner["parent"] in puts, "it is a part of what the node was asked for"
        assert (owner["dynakv.code"], owner["dynakv.table"]) == ("ok", "orders")
        assert owner["node"] != one.address
    for copy in found("owner.replicate"):
        above = owners.get(copy["parent"]) or puts[copy["parent"]]
        assert copy["node"] != above["node"]
        assert copy["dynakv.answer"] == "Done"
    assert not [body for body in collector.bodies if b"secret" in body or b"ann" in body]


@pytest.mark.processes
def test_a_collector_that_takes_nothing_costs_requests_nothing(collected):
    collector, cluster = collected
    node = cluster.nodes[0]
    token = node.register("bea")
    collector.status = 403
    for number in range(20):
        began_s = time.monotonic()
        assert node.put("t", f"k{number}", {}, token).status == 201
        assert time.monotonic() - began_s < 1

    def dropped():
        lines = node.request("GET", "/metrics").body.decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("dynakv_spans_dropped_total"))

    wait_until(lambda: dropped() >= 20)
    said = [json.loads(line) for line in node.log.read_text().splitlines() if "takes no traces" in line]
    assert len(said) == 1
    assert said[0]["level"] == "warn"
    assert "code: 403" in said[0]["text"]
    assert "Traceback" not in cluster.logs()
