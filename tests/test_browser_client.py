"""The browser's client in a real browser, on pages of another origin than the nodes', while nodes die and freeze."""

from __future__ import annotations

import json
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .browser import Browser
from .real import RealCluster, check_logs, wait_until
from .test_presence import RULE, SECRET

pytestmark = pytest.mark.processes
DOCS = Path(__file__).parent.parent / "docs"
GUIDE = (DOCS / "browser.rst").read_text()
TOKEN_S = 9
"""For so long those tokens are good that the third node gives."""
PAGE = """<!doctype html><meta charset="utf-8"><script type="importmap">{"imports": {"dynakv": "%(module)s"},
"integrity": {"%(module)s": "%(integrity)s"}}</script><script type="module">
import * as dynakv from "dynakv"
window.dynakv = dynakv
</script>"""


class Pages(SimpleHTTPRequestHandler):
    """Pages by path; any other is an empty one that loads the module. Under ``/no-websocket`` its policy forbids
    websockets."""

    content = ""
    contents = {"/together.html": (DOCS / "programs" / "together.html").read_text()}

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        if self.path == "/no-websocket":
            self.send_header("Content-Security-Policy", "connect-src http:")
        self.end_headers()
        self.wfile.write(self.contents.get(self.path, self.content).encode())

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
    """Three nodes that know where the pages come from, two tables that everybody may read, and those of the recipe."""
    cluster = RealCluster.start(2, "--cors-origin", origin)
    cluster.add("--cors-origin", origin, "--token-lifetime", str(TOKEN_S))
    cluster.wait_ready()
    one = cluster.nodes[0]
    rules = {"here": {"access": [RULE]}, "shared": {"access": [RULE]}}
    rules |= {
        name: json.loads(rule) for name, rule in re.findall(r"admin/tables/(\w+) .*? -d '(.*?)'", GUIDE, re.DOTALL)
    }
    assert len(rules) == 4
    for table, rule in rules.items():
        assert one.request("PUT", f"/admin/tables/{table}", rule, cluster.admin_token()).status == 200
    listed = one.request("GET", "/client/").json
    module = f"http://{one.address}/client/dynakv.js"
    Pages.content = PAGE % {"module": module, "integrity": listed["/client/dynakv.js"]}
    yield cluster
    check_logs(cluster, SECRET)
    cluster.close()


COUNT_GONE = """window.here = await kv.mirror('here'); window.gone = 0
here.addEventListener('change', ({detail}) => { if (detail.type === 'Deleted') gone += 1 })"""
COUNT_LOGINS = """window.logins = 0; const usual = window.fetch
window.fetch = (url, more) => { if (`${url}`.includes('/auth/')) logins += 1; return usual(url, more) }"""
SCRIPT = """Object.assign(document.createElement('script'),
{onload: () => done('run'), onerror: () => done('refused')}, """.replace("\n", " ")


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


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    made = [Page(tmp_path_factory.mktemp(name)) for name in ("ann", "ben", "cid")]
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
    assert page.js("return await kv.keys('mine', {delimiter: '/', limit: 2})") == ["a/", "b"]
    told = page.js("return await kv.call('PUT', '/mine/key/c', '{\"price\": 1.10}', {raw: true})")
    assert '"price":1.10' in told, "numbers keep their digits"
    assert sorted(page.js("return Object.keys(await kv.getMany('mine', ['b', 'c', 'none']))")) == ["b", "c"]
    assert page.error("await kv.put('mine', 'b', {}, {ifNoneMatch: true})") == [
        "PreconditionFailed", 412, "precondition_failed",
    ]  # fmt: skip
    page.js("await kv.delete('mine', 'b')")
    assert page.error("await kv.get('mine', 'b')") == ["NotFound", 404, "not_found"]
    assert page.error("await kv.login('ann', 'another secret')")[:2] == ["Unauthorized", 401]
    assert page.error("await kv.get('mine', 'b', {signal: AbortSignal.abort()})")[0] == "AbortError"
    assert page.error("await kv.loginAdmin('a guess of a password')") == ["Forbidden", 403, "foreign_origin"]


FOLLOW = """window.heard = []; window.words = []; window.watch = kv.watch('shared')
const follow = async () => {
  for await (const {type, key} of watch) (type === 'Updated' ? heard : words).push(key || type)
}
follow().catch((error) => words.push(error.message))
await watch.ready"""


def write(page, numbers):
    """Have a page write one record for each number, whatever happens to nodes meanwhile."""
    page.js(
        f"const all = async () => {{ for (const n of {list(numbers)}) await kv.put('shared', `k${{n}}`, {{n}}) }}; "
        "window.written = all()"
    )


def test_nobody_misses_anything_while_nodes_die_and_freeze(nodes, pages, origin):
    ann, ben, cid = pages
    one, two, three = nodes.nodes
    ann.enter(origin, (one, two, three), "ann")
    ben.enter(origin, (one, three, two), "ben")
    cid.enter(f"{origin}/no-websocket", (one, two, three), "cid")
    ann.js("window.here = await kv.presence('here', 'ann/page', {at: 'home'}, {ttl: 15})")
    ben.js(COUNT_GONE)
    assert ben.js("return here.records.get('ann/page').value") == {"at": "home"}
    for page in (ben, cid):
        page.js(FOLLOW)
    wait_until(lambda: sum(node.stats()["active_sse_connections"] for node in nodes.nodes) == 1, what="cid's stream")

    def all_heard(upto):
        expected = {f"k{n}" for n in range(upto)}
        for page in (ben, cid):
            wait_until(lambda page=page: expected <= set(page.js("return heard")), 20, "everything is heard")
            assert page.js("return words") == []

    write(ann, range(40))
    all_heard(10)
    one.kill()  # under all three
    ann.js("await written")
    all_heard(40)
    write(ann, range(40, 60))
    two.freeze()
    ann.js("await written")
    all_heard(60)
    two.thaw()
    one.start()
    nodes.wait_ready()
    ann.js("await here.update({at: 'work'})")
    wait_until(lambda: ben.js("return here.records.get('ann/page')?.value.at") == "work")
    assert ben.js("return gone") == 0, "ann was there all the time, though nodes went"
    ann.open("about:blank")
    wait_until(lambda: ben.js("return [here.records.size, gone]") == [0, 1], 5, "ann says goodbye")
    ben.js("here.addEventListener('error', () => { gone = -1 }); here.close()")
    wait_until(
        lambda: ben.js("return [here.isSynced, gone]") == [False, 1], what="the mirror ends, and that is no error"
    )


def test_a_token_that_ends_is_renewed_once_for_all_who_wait(nodes, pages, origin):
    page, short = pages[0], nodes.nodes[2]
    page.enter(origin, [short], "dan")
    page.js(FOLLOW)
    page.js("await kv.presence('here', 'dan/page', {})")
    page.js(COUNT_GONE)
    page.js("await kv.put('mine', 'd', {n: 1})")
    token = page.js("return kv.token")
    wait_until(lambda: short.get("mine", "d", token).status == 401, TOKEN_S + 5, "the token has ended")
    page.js("await kv.put('shared', 'last', {})")
    wait_until(lambda: "last" in page.js("return heard"))
    assert page.js("return [words, gone]") == [[], 0], "watch and presence go on"

    old = page.js("return kv.token")
    page.js(COUNT_LOGINS)
    short.request("POST", "/auth/dan/logout", {}, old)
    assert page.js("return await Promise.all([1, 2, 3].map(async () => (await kv.get('mine', 'd')).value.n))") == [
        1,
        1,
        1,
    ]
    assert page.js("return logins") == 1
    page.js("await kv.logout()")
    assert page.error("await kv.get('mine', 'd')") == ["Unauthorized", 401, "no_token"]
    wait_until(lambda: page.js("return words.length") == 1, what="the watch ends with the user's tokens")


def test_a_module_that_is_not_the_one_that_was_meant_is_not_run(nodes, pages, origin):
    page, node = pages[0], nodes.nodes[1]
    page.open(origin)
    right = node.request("GET", "/client/").json["/client/dynakv.js"]
    for integrity, outcome in (("sha384-" + "A" * 64, "refused"), (right, "run")):
        source = f"http://{node.address}/client/dynakv.js?{outcome}"
        tag = {"type": "module", "src": source, "integrity": integrity}
        assert page.js(f"return new Promise(done => document.head.append({SCRIPT}{json.dumps(tag)})))") == outcome


def test_the_first_lines_of_the_guide_run_as_they_stand(nodes, pages, origin):
    page, one = pages[0], nodes.nodes[0]
    lines = re.search(r"<script type=.module.>.*?</script>", GUIDE, re.DOTALL)[0]
    for number, node in enumerate(nodes.nodes):
        lines = lines.replace(f"127.0.0.1:667{number + 1}", node.address)
    Pages.contents["/first.html"] = (
        f"<script>window.said = []; console.log = (...words) => said.push(words)</script>{lines}"
    )
    page.open(f"{origin}/first.html")
    alice = wait_until(lambda: one.try_request("POST", "/auth/alice", {"secret": "wonderland"})).json["token"]
    wait_until(lambda: one.get("users", "profile", alice).status == 200)

    def is_told():
        one.put("users", "profile", {"level": 43}, alice)
        return ["Updated", "profile"] in page.script("return said")

    wait_until(is_told, what="the watch stands, and tells")


def test_people_of_the_recipe_see_one_another_and_share_a_list(nodes, pages, origin):
    ann, ben, _ = pages
    for page, name, order in ((ann, "ann", 1), (ben, "ben", -1)):
        page.open(f"{origin}/together.html")
        page.script("document.querySelector('#nodes').value = ''")
        page.type("#nodes", " ".join(f"http://{node.address}" for node in nodes.nodes[::order]))
        page.type("#name", name)
        page.type("#secret", SECRET)
        page.click("#enter button")
    for page in (ann, ben):
        wait_until(lambda page=page: texts(page, "people") == ["ann", "ben"], what="both are online")
    for what in ("<b>bread</b>", "tea"):
        ann.type("#what", what)
        ann.click("#add button")
        wait_until(lambda: ann.script("return document.querySelector('#what').value") == "")
    wait_until(lambda: texts(ben, "todo") == ["<b>bread</b>", "tea"])
    ben.click("#todo li")
    wait_until(lambda: ann.script("return document.querySelector('#todo li').className") == "done")
    ann.script("document.querySelector('#todo li').dispatchEvent(new MouseEvent('dblclick'))")
    wait_until(lambda: texts(ben, "todo") == ["tea"])
    ben.open("about:blank")
    wait_until(lambda: texts(ann, "people") == ["ann"], what="ben is gone")
    assert ann.text("#state") == ""


def texts(page, ul):
    return page.script(f"return [...document.querySelectorAll('#{ul} li')].map(line => line.textContent)")
