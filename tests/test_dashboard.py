"""The dashboard's frame, overview and members in a real browser, while nodes are killed and frozen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dynatwist.storage.keyfile import parse

from .browser import Browser
from .real import wait_until

pytestmark = pytest.mark.processes
SCREENS = ((360, "dark"), (1200, "light"), (2560, "dark"))
PICTURES = os.environ.get("DASHBOARD_PICTURES", "")
"""A folder for the pictures of the manual, as ``docs/pictures``; else they are made and thrown away."""
SHOWN = {
    "overview": ("#/overview", ".plot .line"),
    "members": ("#/members", ".strip"),
    "data": ("#/data/shelf?prefix=novels/&key=novels/emma", ".record textarea"),
    "live": ("#/live?table=shelf", "tbody tr"),
    "people": ("#/people", "tbody tr"),
    "secrets": ("#/secrets", "tbody tr"),
}
"""By the picture's name: what it shows, and what has to be there."""


@pytest.fixture(scope="module")
def password(cluster):
    return parse((cluster.folder / "cluster.key").read_text(), "").admin_password()


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture
def page(window, cluster, password):
    """A browser with the administrator logged in at the first node."""
    enter(window, cluster.nodes[0], "admin", password)
    yield window
    window.script("sessionStorage.clear(); document.getElementById('logout')?.click()")


def enter(browser, node, name, secret):
    browser.open(f"http://{node.address}/")  # which leads to the dashboard
    wait_until(lambda: browser.has("#login"), what="the login form")
    browser.script("document.querySelector('#name').value = ''")
    browser.type("#name", name)
    browser.type("#password", secret)
    browser.click("#login button")
    wait_until(lambda: browser.has("#nav a"), what="the views")


def go(browser, place, waits_for):
    browser.script(f"location.hash = '{place}'")
    wait_until(lambda: browser.has(waits_for), what=f"{place} to show {waits_for}")


def sentence(browser):
    return browser.text(".verdict").lower()  # the style gives it a capital


def test_a_wrong_password_is_said_and_nothing_is_kept_after_a_log_out(cluster, window, password):
    window.open(f"http://{cluster.nodes[0].address}/admin")
    wait_until(lambda: window.has("#login"))
    window.type("#password", "wrong password")
    window.click("#login button")
    wait_until(lambda: window.text("#login-error") == "wrong password")
    enter(window, cluster.nodes[0], "admin", password)
    window.click("#logout")
    wait_until(lambda: window.has("#login"))
    assert window.script("return sessionStorage.length") == 0
    assert "Members" not in window.text("body")


def test_a_page_that_is_loaded_again_stays_where_it_was(page):
    go(page, "#/members", ".members tbody tr")
    page.script("location.reload()")
    wait_until(lambda: page.has(".members tbody tr"), what="the members, without another login")


def test_nothing_external_is_loaded(cluster, page):
    one = cluster.nodes[0]
    loaded = page.script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert loaded
    assert all(name.startswith((f"http://{one.address}/", "data:")) for name in loaded)
    policy = one.request("GET", "/admin").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


class TestOverview:
    def test_it_says_how_the_cluster_is_and_plots_what_it_does(self, cluster, page):
        alice = cluster.nodes[0].register("alice")
        go(page, "#/overview", ".plot .line")
        wait_until(lambda: "all 3 members answer" in sentence(page), what="the verdict")
        assert "ok" in page.script("return document.querySelector('.verdict').className")

        def is_plotted():
            cluster.nodes[0].put("shelf", "book", {"n": 1}, alice)
            label = page.script("return document.querySelector('.plot svg').getAttribute('aria-label')")
            return "PUT: now 0," not in label and "PUT: now" in label

        wait_until(is_plotted, 30, "the writes in the plot")
        page.script("document.querySelector('.plot svg').focus()")
        page.press("\ue012")  # arrow left
        wait_until(lambda: "PUT" in page.text(".plot .told"), what="the values of a moment")

    def test_one_hour_and_one_node_have_a_url(self, cluster, page):
        go(page, "#/overview", ".choice")
        page.click(".choice button:nth-child(2)")
        wait_until(lambda: "span=1h" in page.script("return location.hash"))
        two = cluster.nodes[1].address
        wait_until(lambda: two in page.text(".bar select"))
        page.script(
            f"const s = document.querySelector('.bar select'); s.value = '{two}'; s.dispatchEvent(new Event('change'))"
        )
        wait_until(lambda: "node=" in page.script("return location.hash"))

    def test_a_dead_and_a_frozen_member_are_said_with_what_to_do(self, cluster, page):
        _, two, three = cluster.nodes
        go(page, "#/overview", ".verdict.ok")
        three.kill()
        try:
            wait_until(lambda: "2 of 3 members" in sentence(page), 20, "the verdict about a dead one")
            assert three.address in page.text(".advice")
            two.freeze()
            try:
                wait_until(lambda: page.has(".verdict.danger"), 20, "the verdict about no majority")
            finally:
                two.thaw()
        finally:
            three.start()
        wait_until(lambda: page.has(".verdict.ok"), 30, "all to be well again")


class TestAnotherNode:
    def test_the_page_goes_on_when_its_own_node_dies(self, cluster, page):
        one = cluster.nodes[0]
        go(page, "#/members", ".members tbody tr")
        one.kill()
        try:
            wait_until(lambda: page.has("#node.elsewhere"), 20, "another node to be asked")
            wait_until(lambda: "2 of 3 members" in sentence(page), 20)
            assert page.text("#node") in (cluster.nodes[1].address, cluster.nodes[2].address)
        finally:
            one.start()
        cluster.wait_ready()

    def test_and_when_it_is_frozen(self, cluster, page):
        one = cluster.nodes[0]
        go(page, "#/overview", ".verdict.ok")
        one.freeze()
        try:
            wait_until(lambda: page.has("#node.elsewhere"), 30, "another node to be asked")
        finally:
            one.thaw()
        cluster.wait_ready()


class TestMembers:
    def test_each_has_a_row_with_its_partitions(self, cluster, page):
        go(page, "#/members", ".members tbody tr")
        wait_until(lambda: page.script("return document.querySelectorAll('.members tbody tr').length") == 3)
        rows = page.text(".members tbody")
        assert all(node.address in rows for node in cluster.nodes)
        assert rows.count("alive") == 3
        labels = page.script("return [...document.querySelectorAll('.strip')].map(s => s.getAttribute('aria-label'))")
        assert all(label.endswith("257 whole") for label in labels)

    def test_a_cold_save_of_another_node(self, cluster, page):
        two = cluster.nodes[1]
        go(page, "#/members", ".does button")
        page.click(f"[aria-label='Cold save of {two.address}']")
        wait_until(lambda: page.text("#said") == f"{two.address} has made a cold save.")
        assert two.stats()["cold_saves"] > 0

    def test_a_member_is_drained_once_the_consequence_was_read(self, cluster, page):
        three = cluster.nodes[2]
        go(page, f"#/members/{three.address}", ".does button")
        button = f"[aria-label='Drain {three.address}']"
        page.click(button)
        wait_until(lambda: page.has("dialog[open]"))
        assert "2 members stay" in page.text("dialog")
        page.press("\ue00c")  # Escape: nothing happens
        wait_until(lambda: not page.has("dialog"))
        assert page.text("#said") == ""

    @pytest.mark.parametrize(("width", "scheme"), SCREENS)
    def test_it_fits_any_screen(self, page, width, scheme):
        page.resize(width)
        page.prefer(scheme)
        try:
            for place, waits_for in (("#/members", ".members tbody tr"), ("#/overview", ".plot .line")):
                go(page, place, waits_for)
                assert page.script("return document.documentElement.scrollWidth <= innerWidth"), place
        finally:
            page.resize(1200)
            page.prefer("light")


def _written(node, token):
    for title, year in (("emma", 1815), ("persuasion", 1817), ("middlemarch", 1871)):
        node.put("shelf", f"novels/{title}", {"title": title.title(), "year": year}, token)
    return True


@pytest.mark.parametrize("name", SHOWN)
def test_the_pictures_of_the_manual(cluster, page, tmp_path, name):
    place, waits_for = SHOWN[name]
    one = cluster.nodes[0]
    alice = one.register("alice")
    page.resize(1400, 900)
    try:
        page.script(f"location.hash = '{place}'")
        wait_until(lambda: _written(one, alice) and page.has(waits_for), what=f"{place} to show {waits_for}")
        path = Path(PICTURES or tmp_path) / f"{name}.png"
        page.shoot(path)
        assert path.stat().st_size > 20_000
    finally:
        page.resize(1200)
