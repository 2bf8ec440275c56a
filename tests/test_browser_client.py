"""The client for pages, in a real browser: from a page of another origin, while nodes are killed and frozen."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .real import RealCluster, check_logs, wait_until
from .test_dashboard import Browser

pytestmark = pytest.mark.processes
EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "together.html"
SECRET = "a long secret"
SHARED = {"prefix": "", "read": ["*"], "create": ["*"], "update": ["*"], "delete": ["*"]}
PAGE = """<!doctype html><meta charset="utf-8"><title>page</title><p id="state"></p><script type="module">
const query = new URLSearchParams(location.search)
class Closed { constructor() { setTimeout(() => this.onclose?.(), 10) } close() {} }
if (query.has("without")) globalThis.WebSocket = Closed
window.dynakv = await import(query.get("node") + "/client/dynakv.js")
document.getElementById("state").textContent = "loaded"
</script>"""


class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        body = EXAMPLE.read_bytes() if self.path.startswith("/together") else PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def origin():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def cluster(origin):
    made = RealCluster.start(3, "--cors-origin", origin)
    admin = made.admin_token()
    for table in ("online", "todo", "live"):
        path = f"/admin/tables/{table}"
        assert made.nodes[0].request("PUT", path, {"access": [SHARED]}, admin).status == 200
    yield made
    check_logs(made)
    made.close()


@pytest.fixture
def open_page(cluster, origin, tmp_path):
    """Opens the page in a browser of its own, with a client in ``kv`` that is logged in."""
    browsers = []

    def open_page(name="ann", more="", node=0):
        browser = Browser(tmp_path / f"profile{len(browsers)}")
        browsers.append(browser)
        urls = [f"http://{one.address}" for one in (*cluster.nodes[node:], *cluster.nodes[:node])]
        browser.open(f"{origin}/?node={urls[0]}{more}")
        wait_until(lambda: browser.text("#state") == "loaded", 20)
        browser.script(
            f"return dynakv.Client.connect({json.dumps(urls)}).then(async (kv) => {{"
            f" window.kv = kv; await kv.login({name!r}, {SECRET!r}) }})"
        )
        return browser

    yield open_page
    for browser in browsers:
        browser.close()


def run(browser, body):
    """What an asynchronous function answers that has `kv` and `dynakv`; its error's text where it fails."""
    return browser.script(
        f"return (async () => {{ {body} }})().catch((error) => `${{error.name}} ${{error.code}}: ${{error.message}}`)"
    )


class TestFiles:
    def test_they_are_served_to_be_kept_and_checked(self, cluster):
        node = cluster.nodes[0]
        hashes = node.request("GET", "/client/integrity.json").json
        for name, kind in (("dynakv.js", "text/javascript"), ("dynakv.d.ts", "text/plain")):
            answer = node.request("GET", f"/client/{name}")
            assert answer.headers["content-type"].startswith(kind)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "max-age" in answer.headers["cache-control"]
            assert hashes[name] == "sha384-" + base64.b64encode(hashlib.sha384(answer.body).digest()).decode()
            again = node.request("GET", f"/client/{name}", None, None, If_None_Match=answer.headers["etag"])
            assert (again.status, again.body) == (304, b"")

    def test_types_name_what_the_module_has(self, cluster):
        node = cluster.nodes[0]
        module, types = (node.request("GET", f"/client/{name}").body.decode() for name in ("dynakv.js", "dynakv.d.ts"))
        for name in ("Client", "Watch", "Mirror", "Presence", "KvError", "NotFound", "Unavailable", "Unauthorized"):
            assert f"export class {name}" in module
            assert f"export class {name}" in types

    def test_other_origins_are_not_let_in(self, cluster):
        foreign = cluster.nodes[0].request("GET", "/client/dynakv.js", None, None, Origin="https://evil.example")
        assert foreign.status == 403
        assert "access-control-allow-origin" not in foreign.headers


def test_records(open_page):
    page = open_page()
    assert run(page, "const made = await kv.put('t', 'ü/1', {n: 1, list: [null, true]}); return made.version") == 1
    assert run(page, "return (await kv.get('t', 'ü/1')).value") == {"n": 1, "list": [None, True]}
    assert run(page, "return (await kv.patch('t', 'ü/1', {m: 2, list: null})).value") == {"n": 1, "m": 2}
    assert run(page, "return (await kv.update('t', 'ü/1', (held) => ({...held, n: held.n + 1}))).value.n") == 2
    refused = ".catch((error) => [error.constructor.name, error.held.value])"
    held = f"return kv.put('t', 'ü/1', {{}}, {{ifNoneMatch: true}}){refused}"
    assert run(page, held) == ["PreconditionFailed", {"n": 2, "m": 2}]
    ops = "[{op: 'put', key: 'a', value: {}}, {op: 'delete', key: 'none'}]"
    assert run(page, f"return (await kv.batch('t', {ops})).map((one) => one.status)") == [201, 404]
    assert run(page, "return kv.keys('t')") == ["a", "ü/1"]
    assert run(page, "const found = []; for await (const key of kv.scan('t')) found.push(key); return found") == [
        "a",
        "ü/1",
    ]
    assert run(page, "return Object.keys(await kv.getMany('t', ['a', 'b']))") == ["a"]
    assert run(page, "await kv.delete('t', 'a'); return kv.get('t', 'a')") == "NotFound not_found: there is no such key"
    for value, says in (
        ("{n: NaN}", "value.n: NaN is no JSON number"),
        ("{s: new Set()}", "value.s: Set is no JSON"),
        ("[1]", "an object"),
    ):
        assert says in run(page, f"return kv.put('t', 'x', {value})")
    assert "Unauthorized" in run(page, "return new dynakv.Client(kv.urls).login('ann', 'another secret')")
    assert "NotFound not_registered" in run(page, "return kv.login('nobody', 'a long secret', {registers: false})")
    assert "user_exists" in run(page, "return kv.register('ann', 'a long secret')")


WATCH = """
window.heard = [], window.failed = null
window.watch = kv.watch('live', {initial: true})
;(async () => { for await (const change of watch) heard.push([change.type, change.key, change.record?.value?.n]) })()
  .catch((error) => failed = error.message)
await watch.subscribed"""


@pytest.mark.parametrize("more", ["", "&without=sockets"], ids=["websocket", "stream"])
def test_a_watch_goes_on_while_nodes_die_and_freeze(cluster, open_page, more):
    admin, first, second = cluster.admin_token(), cluster.nodes[0], cluster.nodes[1]
    for key in cluster.nodes[2].request("GET", "/live/keys", token=admin).json:
        cluster.nodes[2].delete("live", key, admin)
    page = open_page(more=more)
    run(page, WATCH)
    written = 0

    def write(times=3):
        nonlocal written
        for _ in range(times):
            made = run(page, f"await kv.put('live', 'k{written}', {{n: {written}}}); return 'made'")
            assert made == "made"
            written += 1

    def hears_all():
        heard = {key for kind, key, _ in page.script("return heard") if kind == "Updated"}
        return heard == {f"k{number}" for number in range(written)}

    write()
    wait_until(hears_all, 30)
    first.kill()
    write()
    wait_until(hears_all, 30)
    first.start()
    cluster.wait_ready()
    second.freeze()
    try:
        write()
        wait_until(hears_all, 40)
    finally:
        second.thaw()
    assert page.script("return failed") is None
    assert run(page, "watch.close(); return (await watch.next()).done") is True
    cluster.wait_ready()


def test_a_token_that_ends_is_renewed(cluster, open_page):
    page = open_page("tok")
    run(page, WATCH)
    before = page.script("return kv.token")
    assert cluster.nodes[1].request("POST", "/auth/tok/logout", None, before).status == 200
    both = "return (await Promise.all([kv.put('live', 'tok1', {n: 1}), kv.put('live', 'tok2', {n: 2})])).length"
    assert run(page, both) == 2
    assert page.script("return kv.token") != before
    wait_until(lambda: {"tok1", "tok2"} <= {one[1] for one in page.script("return heard")}, 20)


def test_the_example(cluster, origin, tmp_path):
    """Two people are online, share a list, and do not notice that a node dies."""
    pages = [Browser(tmp_path / name) for name in ("ann", "bea")]
    try:
        for page, name in zip(pages, ("ann", "bea"), strict=True):
            page.open(f"{origin}/together")
            nodes = " ".join(f"http://{node.address}" for node in cluster.nodes)
            page.script(f"document.querySelector('#nodes').value = {nodes!r}")
            page.type("#name", name)
            page.type("#secret", SECRET)
            page.click("#enter button")
        for page in pages:
            wait_until(lambda page=page: page.text("#online") == "ann, bea", 20, page.text("#state"))
        pages[0].type("#what", "water the roses")
        pages[0].click("#add button")
        wait_until(lambda: "water the roses" in pages[1].text("#list"), 20)
        cluster.nodes[0].kill()
        pages[1].click("#list input")
        wait_until(lambda: pages[0].script("return document.querySelector('#list li')?.className") == "done", 20)
        assert pages[0].text("#online") == "ann, bea"
        pages[1].close()
        wait_until(lambda: pages[0].text("#online") == "ann", 30)
    finally:
        cluster.nodes[0].start()
        for page in pages[:1]:
            page.close()
        cluster.wait_ready()
