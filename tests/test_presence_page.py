"""The page of ``docs/programs`` that shows who is there, in a real browser."""

from __future__ import annotations

import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .browser import Browser
from .real import RealCluster, check_logs, wait_until
from .test_presence import ENDED_S, RULE, SECRET

pytestmark = pytest.mark.processes
PROGRAMS = Path(__file__).parent.parent / "docs" / "programs"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def origin():
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=PROGRAMS))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def two(origin):
    made = RealCluster.start(2, "--cors-origin", origin)
    rule = {"access": [RULE]}
    assert made.nodes[0].request("PUT", "/admin/tables/here", rule, made.admin_token()).status == 200
    yield made
    check_logs(made)
    made.close()


@pytest.fixture
def browsers(tmp_path):
    made = [Browser(tmp_path / name) for name in ("one", "two")]
    yield made
    for browser in made:
        browser.close()


def come_in(browser, page, nodes, name):
    browser.open(page)
    browser.type("#nodes", " ".join(f"http://{node.address}" for node in nodes))
    browser.type("#name", name)
    browser.type("#secret", SECRET)
    browser.click("button")


def people(browser):
    return browser.script("return [...document.querySelectorAll('#people li')].map(line => line.innerText)")


def test_two_people_see_each_other_come_and_go(two, browsers, origin):
    page = f"{origin}/who-is-there.html"
    for browser, name, nodes in zip(browsers, ("ann", "ben"), (two.nodes, two.nodes[::-1]), strict=True):
        come_in(browser, page, nodes, name)
    for browser in browsers:
        wait_until(lambda browser=browser: people(browser) == ["ann", "ben"], 10)
    two.nodes[0].kill()  # ann's: her page goes on at the other node, and ben never misses her
    wait_until(lambda: browsers[0].text("#state") == "you are there", 10)
    end_s = time.monotonic() + ENDED_S
    while time.monotonic() < end_s:
        assert people(browsers[1]) == ["ann", "ben"]
    browsers[0].open("about:blank")  # she goes to another page: the browser says goodbye
    wait_until(lambda: people(browsers[1]) == ["ben"], 5)
