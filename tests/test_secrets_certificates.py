"""Certificates on the client port: the node's, which are replaced while it serves, and clients', which name users."""

from __future__ import annotations

import datetime
import http.client
import json
import signal
import ssl
from contextlib import closing, suppress

import pytest
from twisted.internet.task import Clock

from dynatwist.errors import StartError
from dynatwist.sync import Client, Unavailable
from dynatwist.web.certificates import LOOK_S, Certificates, TlsFiles, load

from .real import Node, RealCluster, check_logs, free_port, wait_until
from .tls import Authority


class Tls:
    """A node with TLS that believes certificates of one authority, and what clients need."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.ca, self.stranger = Authority(folder, "ca"), Authority(folder, "stranger")
        self.pair = self.ca.server("server")
        tls = ("--tls-cert", str(self.pair.cert), "--tls-key", str(self.pair.key), "--tls-client-ca", str(self.ca.path))
        self.cluster = RealCluster(folder)
        self.node = Node(folder, free_port(), *tls, "--audit-log", str(folder / "audit.log"), *options)
        self.cluster.nodes.append(self.node)
        self.node.start()
        self.url = f"https://127.0.0.1:{self.node.port}"

    def connection(self, pair=None):
        context = ssl.create_default_context(cafile=str(self.ca.path))
        if pair is not None:
            context.load_cert_chain(*pair.paths)
        return http.client.HTTPSConnection("127.0.0.1", self.node.port, context=context, timeout=5)

    def ask(self, method, path, body=None, pair=None, **headers):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(self.connection(pair)) as connection:
            connection.request(method, path, json.dumps(body) if body is not None else None, sent)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")

    def is_ready(self, pair=None):
        with suppress(OSError):
            return self.ask("GET", "/readyz", None, pair)[0] == 200
        return False

    def client(self, pair=None, token=None):
        made = Client([self.url], ca=str(self.ca.path), cert=pair.paths if pair is not None else None)
        made.token = token
        return made

    def register(self, name):
        return self.ask("POST", f"/auth/{name}", {"secret": "wonderland"})[1]["token"]

    def ends_s(self):
        with closing(self.connection()) as connection:
            connection.connect()
            shown = ssl.cert_time_to_seconds(connection.sock.getpeercert()["notAfter"])
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        lines = [line for line in text.splitlines() if line.startswith("dynakv_tls_certificate_end_timestamp_seconds ")]
        return shown, float(lines[0].split()[1])


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    made = Tls(tmp_path_factory.mktemp("tls"), "--trusted-proxy", "10.9.9.9")
    wait_until(made.is_ready, 20)
    made.alice, made.bob = made.register("alice"), made.register("bob")
    made.shown = made.ca.client("alice")
    yield made
    check_logs(made.cluster)
    made.cluster.close()


@pytest.mark.processes
class TestUsersByCertificate:
    def test_each_way_in_goes_by_the_certificate(self, tls):
        """The fast lane, Klein with a short and a long body, a listing."""
        assert tls.ask("PUT", "/t/key/a", {"n": 1}, tls.shown)[1]["owner"] == "alice"
        assert tls.ask("GET", "/t/key/a", None, tls.shown)[0] == 200
        assert tls.ask("PUT", "/t/key/b", {"n": "x" * 9000}, tls.shown)[0] == 201
        assert tls.ask("POST", "/t/key/a/touch?ttl=60", None, tls.shown)[0] == 200
        assert tls.ask("GET", "/t/keys", None, tls.shown) == (200, ["a", "b"])
        assert tls.ask("GET", "/t/key/a")[0] == 401

    def test_a_websocket_and_an_event_stream_go_by_it(self, tls):
        with tls.client(tls.shown) as client, client.watch("t", "a") as events:
            client.put("t", "a", {"n": 2})
            assert next(events).record.value == {"n": 2}
        connection = tls.connection(tls.shown)
        connection.request("GET", "/t/subscribe/a")
        answer = connection.getresponse()
        assert answer.status == 200
        assert tls.ask("PUT", "/t/key/a", {"n": 3}, tls.shown)[0] in (200, 201)
        while b'"n":3' not in answer.readline():
            pass
        connection.close()

    def test_with_a_token_the_token_counts(self, tls):
        assert tls.ask("GET", "/t/key/a", None, tls.shown, Authorization=f"Bearer {tls.bob}")[0] == 403
        assert tls.ask("GET", "/t/key/a", None, tls.shown, Authorization="Bearer nonsense")[0] == 401
        with tls.client(tls.shown, tls.bob) as client, client.watch("bobs", "b") as events:
            client.put("bobs", "b", {"n": 1})
            assert next(events).record.owner == "bob"

    def test_who_is_no_user_or_two_or_a_page_is_nobody(self, tls):
        assert tls.ask("GET", "/t/key/a", None, tls.ca.client("nobody"))[1]["code"] == "no_token"
        assert tls.ask("GET", "/t/key/a", None, tls.ca.client("alice", "bob"))[1]["code"] == "no_token"
        page = {"Origin": tls.url, "Sec_Fetch_Site": "same-origin"}
        for path in ("/t/key/a", "/t/keys"):
            assert tls.ask("GET", path, None, tls.shown, **page)[1]["code"] == "no_token"
        assert tls.ask("GET", "/admin/members", None, tls.ca.client("admin"))[0] in (401, 403)

    def test_what_another_authority_has_issued_or_is_over_ends_the_connection(self, tls):
        over = tls.ca.client("alice", life=datetime.timedelta(hours=-1), stem="over")
        for pair in (tls.stranger.client("alice", stem="forged"), over):
            with pytest.raises(OSError, match=r"alert|reset|EOF|closed"):
                tls.ask("GET", "/t/key/a", None, pair)
            with pytest.raises(Unavailable, match="does not accept the certificate"), tls.client(pair) as client:
                client.get("t", "a")

    def test_the_audit_log_says_that_it_was_a_certificate(self, tls):
        tls.ask("POST", "/auth/alice/logout", None, tls.shown)
        with tls.client(tls.shown) as client, client.watch("t", "a"):
            pass

        def audited():
            lines = map(json.loads, (tls.folder / "audit.log").read_text().splitlines())
            return {(line["what"], line["who"]) for line in lines if line.get("by") == "certificate"}

        wait_until(lambda: audited() >= {("accounts.logout", "alice"), ("websocket.auth", "alice")})

    def test_who_is_deleted_is_heard_and_told_nothing_more(self, tls):
        token, shown = tls.register("eve"), tls.ca.client("eve")
        connection = tls.connection(shown)
        connection.request("GET", "/t/subscribe/a")
        answer = connection.getresponse()
        assert tls.ask("DELETE", "/auth/eve", None, None, Authorization=f"Bearer {token}")[0] == 200
        while answer.readline():
            pass
        assert tls.ask("GET", "/t/key/a", None, shown)[0] == 401


@pytest.mark.processes
class TestRenewal:
    def test_new_connections_get_the_new_certificate_and_old_ones_go_on(self, tls):
        old = tls.connection(tls.shown)
        old.request("GET", "/heartbeat")
        old.getresponse().read()
        before, _ = tls.ends_s()
        tls.ca.server("server", datetime.timedelta(days=60))
        tls.node.signal(signal.SIGHUP)
        wait_until(lambda: tls.ends_s()[0] > before)
        wait_until(lambda: len(set(tls.ends_s())) == 1)
        old.request("GET", "/t/key/a")
        assert old.getresponse().status == 200

    def test_a_pair_that_does_not_fit_is_told_once_and_the_one_before_stays(self, tls):
        before = tls.ends_s()
        kept, other = tls.pair.key.read_bytes(), tls.ca.server("other")
        tls.pair.key.write_bytes(other.key.read_bytes())
        tls.node.signal(signal.SIGHUP)
        wait_until(lambda: "stays as it was" in tls.node.log.read_text())
        assert tls.ends_s() == before
        tls.pair.key.write_bytes(kept)

    def test_where_a_certificate_is_required_there_is_no_connection_without(self, tmp_path):
        made = Tls(tmp_path, "--tls-client-cert", "required")
        try:
            shown = made.ca.client("alice")
            wait_until(lambda: made.is_ready(shown), 20)
            with pytest.raises(OSError, match=r"alert|reset|EOF|closed"):
                made.ask("GET", "/readyz")
        finally:
            made.cluster.close()


class TestFiles:
    @pytest.fixture
    def made(self, tmp_path):
        self.ca, self.clock, self.ends = Authority(tmp_path, "ca"), Clock(), []
        self.pair = self.ca.server("server")
        self.files = TlsFiles(*self.pair.paths, str(self.ca.path))
        found = Certificates(self.files, self.clock, self.ends.append)
        found.start()
        return found

    def test_a_file_that_has_changed_is_read_within_some_seconds(self, made):
        self.clock.advance(LOOK_S)
        assert len(self.ends) == 1
        self.ca.server("server", datetime.timedelta(days=60))
        self.clock.advance(LOOK_S)
        assert len(self.ends) == 2
        assert self.ends[1] > self.ends[0]
        made.stop()
        assert not self.clock.getDelayedCalls()

    def test_what_cannot_be_used_is_tried_again_when_it_has_changed(self, made):
        good = self.pair.cert.read_bytes()
        self.pair.cert.unlink()
        self.clock.advance(LOOK_S)
        self.pair.cert.write_bytes(b"no certificate")
        self.clock.advance(LOOK_S)
        assert len(self.ends) == 1
        self.pair.cert.write_bytes(good)
        self.clock.advance(LOOK_S)
        assert len(self.ends) == 2

    def test_each_fault_is_a_line_that_names_the_file(self, made, tmp_path):
        other, empty = self.ca.server("other"), tmp_path / "empty"
        empty.touch()
        cert, key = self.pair.paths
        for files, said in (
            (TlsFiles(cert, str(other.key)), "no certificate and key that belong together"),
            (TlsFiles(str(empty), key), f"--tls-cert {empty}: no certificate in PEM"),
            (TlsFiles(cert, str(empty)), f"--tls-key {empty}: no private key in PEM"),
            (TlsFiles(cert, key, str(empty)), f"--tls-client-ca {empty}: no certificate in PEM"),
            (TlsFiles(cert, key, f"{empty}-not"), "No such file"),
        ):
            with pytest.raises(StartError, match=said.replace("(", r"\(")):
                load(files)
