"""The dashboard in a real browser: Debian's Chromium, driven through ChromeDriver (W3C WebDriver)."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request

import pytest

from dynatwist.storage.keyfile import parse

from .real import wait_until

pytestmark = pytest.mark.processes
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1200,1000",
]  # fmt: skip
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """As much of WebDriver as the tests need."""

    def __init__(self, profile):
        for program in ("chromium", "chromedriver"):
            assert shutil.which(program), f"{program} is not installed: apt install chromium chromium-driver"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._base = f"http://127.0.0.1:{port}"
        wait_until(self._is_up)
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        logging = {"goog:loggingPrefs": {"browser": "ALL"}}
        session = self._call(
            "POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options} | logging}}
        )
        self._base += f"/session/{session['sessionId']}"

    def _is_up(self):
        try:
            return self._call("GET", "/status")["ready"]
        except OSError:
            return False

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())["value"]

    def open(self, url):
        self._call("POST", "/url", {"url": url})

    def find(self, selector):
        return self._call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self._call("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector, text):
        self._call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def script(self, text):
        return self._call("POST", "/execute/sync", {"script": text, "args": []})

    def text(self, selector):
        return self.script(f"return document.querySelector({json.dumps(selector)}).innerText")

    def complaints(self):
        return [entry for entry in self._call("POST", "/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]

    def close(self):
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(10)


@pytest.fixture
def browser(tmp_path):
    made = Browser(tmp_path / "profile")
    yield made
    made.close()


def test_log_in_and_look_around(cluster, browser):
    one = cluster.nodes[0]
    alice = one.register("alice")
    for number in range(5):
        assert one.put("shelf", f"book-{number}", {"title": f"<b>Title {number}</b>"}, alice, "?w=all").status == 201
    browser.open(f"http://{one.address}/")  # which leads to the dashboard
    assert browser.script("return document.querySelector('#board').hidden") is True

    browser.type("#password", "wrong password")
    browser.click("#login button")
    wait_until(lambda: browser.text("#login-error") == "wrong password")
    browser.script("document.querySelector('#password').value = ''")
    browser.type("#password", parse((cluster.folder / "cluster.key").read_text(), "").admin_password())
    browser.click("#login button")

    wait_until(lambda: browser.text("#active") == "3", what="three active members")
    members = browser.text("#members")
    assert all(node.address in members for node in cluster.nodes)
    assert members.count("Active") == 3
    wait_until(lambda: browser.text("#keys") == "5")
    wait_until(lambda: browser.text("#rate") not in ("–", "0.0"), what="a request rate")
    assert float(browser.text("#latency")) > 0

    assert one.put("shelf", "book-live", {"title": "new"}, alice, "?w=all").status == 201
    wait_until(lambda: browser.text("#keys") == "6", what="the figures to follow")

    browser.click("#tables button")
    wait_until(lambda: "book-3" in browser.text("#keys-list"))
    browser.script("[...document.querySelectorAll('#keys-list button')].find(b => b.innerText == 'book-3').click()")
    wait_until(lambda: "Title 3" in browser.text("#record"))
    assert json.loads(browser.text("#record"))["value"] == {"title": "<b>Title 3</b>"}
    assert browser.text("#trouble") == ""

    browser.click("#logout")
    assert browser.script("return document.querySelector('#board').hidden") is True
    assert browser.script("return sessionStorage.length") == 0
    assert [entry for entry in browser.complaints() if "401" not in entry["message"]] == []


def test_nothing_external_is_loaded(cluster, browser):
    one = cluster.nodes[0]
    browser.open(f"http://{one.address}/admin")
    loaded = browser.script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert loaded
    assert all(name.startswith((f"http://{one.address}/", "data:")) for name in loaded)
    assert one.request("GET", "/").json["dashboard"] == "/admin"
    policy = one.request("GET", "/admin").headers["content-security-policy"]
    assert "default-src 'none'" in policy
