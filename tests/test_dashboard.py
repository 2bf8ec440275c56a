"""The dashboard's frame, overview and members in a real browser, while nodes are killed and frozen."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dynatwist.storage.keyfile import parse

from .real import wait_until

pytestmark = pytest.mark.processes
SECRET = "a long secret"
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
def cluster(dashboard_cluster):
    dashboard_cluster.wait_ready(60)
    return dashboard_cluster


@pytest.fixture(scope="module")
def password(cluster):
    return parse((cluster.folder / "cluster.key").read_text(), "").admin_password()


@pytest.fixture(scope="module")
def window(chromium):
    return chromium


@pytest.fixture
def page(window, cluster, password):
    """A browser with the administrator logged in at the first node."""
    if not window.has("#top:not([hidden])"):
        enter(window, cluster.nodes[0], "admin", password)
    return window


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
        alice = cluster.nodes[0].register("alice", SECRET)
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


def row_of(browser, node):
    """What the row of a member says."""
    rows = browser.script("return [...document.querySelectorAll('.members tbody tr')].map(row => row.innerText)")
    return next((row for row in rows if row.startswith(node.address)), "")


def edit(browser, text):
    browser.script(
        f"const area = document.querySelector('.record textarea'); area.value = {json.dumps(text)};"
        "area.dispatchEvent(new Event('input'))"
    )


class TestNodesThatFail:
    """One is killed, another frozen, the page's own as well; all come back. Each view goes on meanwhile."""

    def test_a_dead_and_a_frozen_member_are_said_with_what_to_do(self, cluster, page):
        _, two, three = cluster.nodes
        go(page, "#/members", ".members tbody tr")
        three.kill()
        wait_until(lambda: "dead" in row_of(page, three), 20, "the row of a dead one")
        assert "2 of 3 members" in sentence(page)
        go(page, "#/overview", ".verdict.warning, .verdict.danger")
        assert three.address in page.text(".advice")
        two.freeze()
        try:
            wait_until(lambda: page.has(".verdict.danger"), 20, "the verdict about no majority")
            go(page, "#/members", ".members tbody tr")
            wait_until(lambda: "alive" not in row_of(page, two), 20, "the row of a frozen one")
        finally:
            two.thaw()
        wait_until(lambda: "alive" in row_of(page, two), 20, "the row of one that goes on")

    def test_data_and_live_go_on_without_the_dead_one(self, cluster, page):
        one = cluster.nodes[0]
        alice = one.register("alice", SECRET)
        assert one.put("shelf", "left", {"n": 1}, alice).status == 201
        go(page, "#/data/shelf?key=left", ".record textarea")
        wait_until(lambda: "Changes are shown" in page.text(".live-state"))
        edit(page, '{"n": 2}')
        page.click(".record button.main")
        wait_until(lambda: page.text("#said") == "Saved.")
        assert one.put("shelf", "new", {}, alice).status == 201
        wait_until(lambda: "new" in page.text(".names"), what="the new key in the list")
        go(page, "#/live?table=shelf", ".live-state")
        wait_until(lambda: page.text(".live-state") == "Listening.")
        assert one.put("shelf", "left", {"n": 3}, alice).status == 201
        wait_until(lambda: "left" in page.text(".live tbody"), what="the change in the tail")

    def test_it_rejoins(self, cluster, page):
        three = cluster.nodes[2]
        three.start()
        go(page, "#/members", ".members tbody tr")
        wait_until(lambda: "alive" in row_of(page, three) and "not ready" not in row_of(page, three), 30, "its row")
        wait_until(lambda: page.has(".verdict.ok"), 30, "all to be well again")

    def test_the_page_leaves_its_own_node_when_that_is_frozen_with_what_was_typed(self, cluster, page):
        one, two, *_ = cluster.nodes
        alice = two.register("alice", SECRET)
        go(page, "#/data/shelf?key=left", ".record textarea")
        wait_until(lambda: "Changes are shown" in page.text(".live-state"))
        edit(page, '{"n": 4}')
        one.freeze()
        try:
            wait_until(lambda: two.put("shelf", "elsewhere", {}, alice).status == 201, 20, "a write without the node")
            wait_until(lambda: "elsewhere" in page.text(".names"), 30, "the list to go on by another node")
            assert page.script("return document.querySelector('.record textarea').value") == '{"n": 4}'
            page.click(".record button.main")
            wait_until(lambda: page.text("#said") == "Saved.", 20)
            assert page.has("#node.elsewhere")
            assert two.get("shelf", "left", alice).json["value"] == {"n": 4}
            go(page, "#/members", ".members tbody tr")
            wait_until(lambda: "alive" not in row_of(page, one), 20, "the row of the page's own node")
        finally:
            one.thaw()
        wait_until(lambda: page.has(".verdict.ok"), 30, "all to be well again")
        page.script("location.reload()")
        wait_until(lambda: page.has("#nav a") and not page.has("#node.elsewhere"), what="the page to be back")
        cluster.wait_ready()


class TestMembers:
    def test_each_has_a_row_with_its_partitions(self, cluster, page):
        go(page, "#/members", ".members tbody tr")
        wait_until(lambda: page.script("return document.querySelectorAll('.members tbody tr').length") == 3)
        rows = page.text(".members tbody")
        assert all(node.address in rows for node in cluster.nodes)
        assert rows.count("alive") == 3
        labels = page.script("return [...document.querySelectorAll('.strip')].map(s => s.getAttribute('aria-label'))")
        assert all(label.endswith(" whole") for label in labels)

    def test_a_cold_save_of_another_node(self, cluster, page):
        two = cluster.nodes[1]
        go(page, "#/members", ".does button")
        page.click(f"[aria-label='Cold save of {two.address}']")
        wait_until(lambda: page.text("#said") == f"{two.address} has made a cold save.")
        assert two.stats()["cold_saves"] > 0

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
    alice = one.register("alice", SECRET)
    page.resize(1400, 900)
    try:
        page.script(f"location.hash = '{place}'")
        wait_until(lambda: _written(one, alice) and page.has(waits_for), what=f"{place} to show {waits_for}")
        path = Path(PICTURES or tmp_path) / f"{name}.png"
        page.shoot(path)
        assert path.stat().st_size > 20_000
    finally:
        page.resize(1200)


def test_a_member_is_drained_and_gone_once_the_consequence_was_read(cluster, page):
    one, _, three = cluster.nodes
    four = cluster.add()
    cluster.wait_ready(60)
    alice = one.register("alice", SECRET)
    for number in range(50):
        assert one.put("moving", f"k{number}", {"n": number}, alice).status == 201
    go(page, "#/members", ".does button")
    button = f"[aria-label='Drain {four.address}']"
    wait_until(lambda: page.script(f'return document.querySelector("{button}")?.disabled === false'))
    page.click(button)
    wait_until(lambda: page.has("dialog[open]"))
    page.press("\ue00c")  # Escape: nothing happens
    wait_until(lambda: not page.has("dialog"))
    assert page.text("#said") == ""
    page.click(button)
    wait_until(lambda: page.has("dialog[open]"))
    told = page.text("dialog")
    assert "3 members stay" in told
    assert "hands" in told
    page.click("dialog button.danger")
    three.freeze()  # it would have to take over some of what the other one has
    try:
        wait_until(lambda: f"{four.address} is leaving" in page.text("#said"))
        wait_until(lambda: "leaving" in row_of(page, four), what="its row")
    finally:
        three.thaw()
    wait_until(lambda: one.stats()["cluster"]["members"] == 3 and not one.stats()["cluster"]["changing"], 40)
    wait_until(lambda: row_of(page, four) == "", 30, "its row to be gone")
    wait_until(lambda: "all 3 members answer" in sentence(page), 30)
    keys = one.request("GET", "/moving/keys?r=all", None, alice).json
    assert len(keys) == 50
    four.kill()
    cluster.nodes.remove(four)
