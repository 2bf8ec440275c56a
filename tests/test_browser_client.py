"""The browser's client in a real browser, on pages of another origin than the nodes', while nodes die and freeze."""

from __future__ import annotations

import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .real import RealCluster, check_logs, wait_until
from .test_dashboard import Browser
from .test_presence import RULE, SECRET

pytestmark = pytest.mark.processes
TOKEN_S = 10
"""For so long tokens are good here: each page's ends while it is looked at."""
PAGE = """<!doctype html><meta charset="utf-8"><script type="importmap">{"imports": {"dynakv": "%(module)s"},
"integrity": {"%(module)s": "%(integrity)s"}}</script><script type="module">
import * as dynakv from "dynakv"
window.dynakv = dynakv
</script>"""


class Pages(SimpleHTTPRequestHandler):
    """A page that loads the module; under ``/no-websocket`` its policy forbids websockets."""

    content = ""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        if self.path == "/no-websocket":
            self.send_header("Content-Security-Policy", "connect-src http:")
        self.end_headers()
        self.wfile.write((self.content % {"wrong": "sha384-" + "A" * 64}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def origin():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def nodes(origin):
    """Three nodes that know where the pages come from, and two tables that everybody may read."""
    cluster = RealCluster.start(3, "--cors-origin", origin, "--token-lifetime", str(TOKEN_S))
    one = cluster.nodes[0]
    for table in ("here", "shared"):
        assert one.request("PUT", f"/admin/tables/{table}", {"access": [RULE]}, cluster.admin_token()).status == 200
    listed = one.request("GET", "/client/").json
    module = f"http://{one.address}/client/dynakv.js"
    Pages.content = PAGE % {"module": module, "integrity": listed["/client/dynakv.js"]}
    yield cluster
    check_logs(cluster, SECRET)
    cluster.close()


class Page(Browser):
    """A page with a client that is logged in as ``kv``."""

    def enter(self, url, nodes, name):
        self.open(url)
        wait_until(lambda: self.script("return window.dynakv !== undefined"), what="the module")
        urls = [f"http://{node.address}" for node in nodes]
        self.js(f"window.kv = await dynakv.Client.connect({json.dumps(urls)})")
        self.js(f"await kv.login('{name}', {json.dumps(SECRET)})")

    def js(self, text):
        """What an asynchronous function comes to."""
        return self.script(f"return (async () => {{ {text} }})()")

    def error(self, text):
        """Class, status and code of the error that something fails with."""
        return self.js(f"try {{ {text} }} catch (e) {{ return [e.name, e.status, e.code] }} return null")


@pytest.fixture
def pages(tmp_path):
    made = [Page(tmp_path / name) for name in ("ann", "ben", "cid")]
    yield made
    for page in made:
        page.close()


def test_a_page_of_another_origin_works_with_records(nodes, pages, origin):
    page = pages[0]
    page.enter(origin, nodes.nodes, "ann")
    etag = page.js("return (await kv.put('mine', 'a/ä', {n: 1}, {w: 'all', ttl: 60, ifNoneMatch: true})).etag")
    assert page.js("return (await kv.get('mine', 'a/ä')).value") == {"n": 1}
    assert page.js(f"return (await kv.patch('mine', 'a/ä', {{m: 2}}, {{ifMatch: {json.dumps(etag)}}})).value") == {
        "n": 1,
        "m": 2,
    }
    assert page.js("return (await kv.touch('mine', 'a/ä', 600)).expires_at > Date.now() + 500e3")
    ops = "[{op: 'put', key: 'b', value: {}}, {op: 'put', key: 'c', value: {}}, {op: 'delete', key: 'none'}]"
    assert page.js(f"return (await kv.batch('mine', {ops})).map(one => one.status)") == [201, 201, 404]
    assert page.js("return await kv.keys('mine', {prefix: 'b'})") == ["b"]
    assert sorted(page.js("return Object.keys(await kv.getMany('mine', ['b', 'c', 'none']))")) == ["b", "c"]
    assert page.error("await kv.put('mine', 'b', {}, {ifNoneMatch: true})") == [
        "PreconditionFailed", 412, "precondition_failed",
    ]  # fmt: skip
    page.js("await kv.delete('mine', 'b')")
    assert page.error("await kv.get('mine', 'b')") == ["NotFound", 404, "not_found"]
    assert page.error("await kv.login('ann', 'another secret')")[:2] == ["Unauthorized", 401]
    assert page.error("await kv.get('mine', 'b', {signal: AbortSignal.abort()})")[0] == "AbortError"
    assert page.error("await kv.loginAdmin('a guess of a password')") == ["Forbidden", 403, "foreign_origin"]
