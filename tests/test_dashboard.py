"""The dashboard in a real browser: Debian's Chromium, driven through ChromeDriver (W3C WebDriver)."""

from __future__ import annotations

import json

import pytest

from dynatwist.storage.keyfile import parse

from .browser import Browser
from .real import wait_until

pytestmark = pytest.mark.processes


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
