"""The dashboard's views Data and Live in a real browser, against real nodes."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest

from dynatwist.storage.keyfile import parse

from .real import wait_until

pytestmark = pytest.mark.processes

SECRET = "a long secret"
ESCAPE, DOWN, ENTER = "\ue00c", "\ue015", "\ue007"
HOSTILE_TABLE = "<i>\"täble'</i>/..?a=%2F#&b"
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "../..",
    "emoji 🦄 key",
    "%2F%00",
    "quote \"'` & more",
    "\u202ertl \u05e9\u05dc\u05d5\u05dd",
    "k" * 500,
]


class Dashboard:
    """A browser with the dashboard open, as its user."""

    def __init__(self, browser, node):
        self.browser, self.base = browser, f"http://{node.address}"

    def enter(self, name, secret):
        self.browser.open(f"{self.base}/admin")
        self.browser.script("sessionStorage.clear()")
        self.browser.open(f"{self.base}/admin?anew")  # a page that nobody is logged in to
        self.wait("document.querySelector('#password')")
        self.browser.script("document.querySelector('#name').value = ''")
        self.browser.type("#name", name)
        self.browser.type("#password", secret)
        self.browser.click("#login button")
        self.wait("!document.querySelector('#top').hidden")

    def js(self, expression):
        return self.browser.script(f"return {expression}")

    def wait(self, expression, limit_s=10.0):
        return wait_until(lambda: self.js(expression), limit_s, expression)

    def go(self, view, *parts, **query):
        path = "/".join(quote(part, safe="") for part in (view, *parts))
        search = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        self.browser.script("document.querySelector('.view')?.classList.add('before')")
        self.browser.script(f"location.hash = {json.dumps(f'#/{path}?{search}')}")
        self.wait("document.querySelector('.view:not(.before)')")

    def go_to_table(self, table, **query):
        """To the keys of a table; from then on changes are heard."""
        self.go("data", table, **query)
        self.wait("document.querySelector('.live-state')?.textContent.startsWith('Changes are shown')")

    def names(self):
        """What the list of keys shows."""
        return self.js("[...document.querySelectorAll('.keys .names bdi')].map((one) => one.textContent)")

    def wait_names(self, *names):
        wait_until(lambda: self.names() == list(names), what=f"{names}, and not {self.names()}")

    def open(self, name):
        """Click on a key."""
        self.press(name, ".keys", "a")

    def wait_record(self, value):
        wait_until(lambda: self.value() == value, what=f"a record with {value}, and not {self.value()}")

    def value(self):
        text = self.js("document.querySelector('.record textarea')?.value")
        return json.loads(text) if text else None

    def edit(self, text, within=".record"):
        """What is typed into the editor, as far as the page can tell."""
        self.browser.script(
            f"const area = document.querySelector('{within} textarea'); area.value = {json.dumps(text)};"
            "area.dispatchEvent(new Event('input'))"
        )

    def press(self, text, within="body", kind="button:enabled:not([hidden])"):
        """Click what says so, once that can be done."""
        all_of = f"[...document.querySelectorAll({json.dumps(f'{within} {kind}')})]"
        found = f"{all_of}.find((one) => one.textContent === {json.dumps(text)})"
        self.wait(found)
        self.browser.script(f"{found}.click()")

    def said(self, text):
        self.wait(f"document.querySelector('main, dialog') && document.body.innerText.includes({json.dumps(text)})")


@pytest.fixture(scope="module")
def cluster(dashboard_cluster):
    dashboard_cluster.wait_ready(60)
    return dashboard_cluster


@pytest.fixture(scope="module")
def browser(chromium):
    return chromium


@pytest.fixture(scope="module")
def alice(cluster):
    return cluster.nodes[0].register("alice", SECRET)


@pytest.fixture(scope="module")
def admin(cluster, browser, alice):
    """The dashboard that the last node serves, as the administrator."""
    page = Dashboard(browser, cluster.nodes[2])
    page.enter("admin", parse((cluster.folder / "cluster.key").read_text(), "").admin_password())
    return page


@pytest.fixture
def put(cluster, alice):
    def write(table, key, value, query="?w=all"):
        assert cluster.nodes[0].put(table, key, value, alice, query).status == 201

    return write


@pytest.fixture(scope="module")
def read(cluster):
    token = cluster.admin_token()

    def get(table, key):
        answer = cluster.nodes[0].get(table, key, token, "?r=majority")
        return answer.json["value"] if answer.status == 200 else None

    return get


def test_folders_lead_to_a_record_that_is_edited_and_flashes_when_others_write(admin, put, read):
    for key in ("readme", "book/one", "book/two", "book/old/three", "film:four"):
        put("library", key, {"key": key})
    admin.go("data")
    admin.wait("[...document.querySelectorAll('.data td a')].some((one) => one.textContent === 'library')")
    admin.go_to_table("library")
    admin.wait_names("book/", "film:four", "readme")
    admin.open("▸ book/, folder")
    admin.wait_names("old/", "one", "two")
    admin.open("one")
    admin.wait_record({"key": "book/one"})
    facts = admin.browser.text(".facts")
    assert "alice" in facts
    assert "Version\n1" in facts
    assert "key=book%2Fone" in admin.js("location.hash")

    admin.edit('{"big": 12345678901234567890, "price": 1.10,')
    admin.wait("document.querySelector('.fault').textContent.startsWith('line 1, column 45')")
    assert admin.js("document.querySelector('.record .main').disabled")
    admin.edit('{"big": 12345678901234567890, "price": 1.10}')
    admin.press("Save", ".record")
    admin.wait("document.querySelector('.facts').innerText.includes('Version\\n2')")
    assert "12345678901234567890" in admin.js("document.querySelector('.record textarea').value")

    put("library", "book/one", {"by": "another"})
    admin.wait_record({"by": "another"})
    assert admin.js("document.querySelector('.facts').classList.contains('flash')")
    put("library", "book/new", {})
    admin.wait_names("new", "old/", "one", "two")
    admin.wait("document.querySelector('.keys .flash')?.innerText === 'new'")

    assert admin.js("document.activeElement.tagName") == "H2", "the record was gone to"
    admin.browser.press(ESCAPE)
    admin.wait("document.activeElement.innerText === 'one' && !document.querySelector('.record')")
    admin.browser.press(DOWN)
    assert admin.js("document.activeElement.innerText") == "two"

    admin.browser.type("#prefix", "o")
    admin.press("Search")
    admin.wait_names("old/", "one")
    admin.press("flat")
    admin.wait_names("book/old/three", "book/one")
    assert "sep=none" in admin.js("location.hash")
    admin.go_to_table("library", sep=":")
    admin.wait_names("book/new", "book/old/three", "book/one", "book/two", "film:", "readme")


def test_who_saves_what_others_changed_meanwhile_sees_the_difference_first(admin, put, read):
    put("library", "book/two", {"title": "began", "same": 1})
    admin.go_to_table("library", key="book/two")
    admin.wait_record({"title": "began", "same": 1})
    admin.edit('{\n  "title": "mine",\n  "same": 1\n}')
    put("library", "book/two", {"title": "theirs", "same": 1})
    admin.said("It was changed meanwhile")
    assert admin.value() == {"title": "mine", "same": 1}, "what is being edited stays"
    admin.press("Save", ".record")
    admin.wait("document.querySelector('dialog.meeting')")
    lines = admin.js(
        "[...document.querySelectorAll('dialog.meeting del, dialog.meeting ins')].map((one) => one.innerText.trim())"
    )
    assert {'-   "title": "began",', '+   "title": "theirs",', '+   "title": "mine",'} <= set(lines)
    admin.press("Go on editing", "dialog")
    assert read("library", "book/two")["title"] == "theirs"
    admin.press("Save", ".record")
    admin.press("Overwrite", "dialog")
    wait_until(lambda: read("library", "book/two")["title"] == "mine")
    admin.edit('{"title": "lost"}')
    put("library", "book/two", {"title": "again"})
    admin.said("It was changed meanwhile")
    admin.press("Compare", ".notice")
    admin.press("Take theirs", "dialog")
    admin.wait_record({"title": "again"})


def test_a_record_is_made_lives_for_a_time_and_is_deleted(admin, read):
    admin.go_to_table("fresh", new="1")
    admin.wait("document.querySelector('dialog #new-key')")
    admin.browser.type("#new-key", "first")
    admin.edit('{"n": 1}', "dialog")
    admin.browser.type("dialog input[type=number]", "300")
    admin.press("Save", "dialog")
    admin.wait_record({"n": 1})
    ends = "[...document.querySelectorAll('.facts dd')].at(-1).textContent"
    first = admin.wait(f"/^in 4 min \\d+ s/.test({ends}) && {ends}")
    admin.wait(f"/^in 4 min \\d+ s/.test({ends}) && {ends} !== {json.dumps(first)}")
    admin.edit('{"n": 2}')
    admin.browser.click("#nav a[href='#/live']")
    admin.said("Not saved yet")
    admin.press("Cancel", "dialog")
    admin.press("Save", ".record")
    admin.wait("document.querySelector('.facts').innerText.includes('Version\\n2')")
    assert admin.js(ends).startswith("in 4 min"), "it keeps its end"
    admin.press("New record")
    admin.browser.type("#new-key", "first")
    admin.edit("{}", "dialog")
    admin.press("Save", "dialog")
    admin.said("There is a record of that key already")
    admin.press("Cancel", "dialog")
    admin.press("Throw my changes away", "dialog")
    admin.press("Delete", ".record")
    admin.press("Delete", "dialog")
    admin.wait_names()
    assert admin.js("document.querySelector('.record')") is None
    admin.said("There are no keys")


def test_what_was_typed_is_not_lost_by_links_buttons_of_the_browser_or_closing(admin, put):
    put("drafts", "one", {"n": 1})
    admin.go("live")
    admin.go_to_table("drafts", key="one")
    admin.wait_record({"n": 1})
    here = admin.js("location.hash")
    closes = "dispatchEvent(new Event('beforeunload', {cancelable: true}))"
    assert admin.js(closes), "nothing was typed yet"
    admin.edit('{"n": 2}')
    assert not admin.js(closes), "the browser asks"
    leaving = (
        lambda: admin.browser.script("history.back()"),
        lambda: admin.browser.script("location.hash = '#/overview'"),
        lambda: admin.browser.click("#logout"),
        lambda: admin.browser.type("#nav a[href='#/live']", ENTER),
    )
    for leave in leaving:
        leave()
        admin.said("Not saved yet")
        admin.browser.press(ESCAPE)
        admin.wait(f"!document.querySelector('dialog') && location.hash === {json.dumps(here)}")
        assert admin.value() == {"n": 2}
    admin.edit('{"n": 1}')
    admin.browser.script("history.back()")
    admin.wait("location.hash.startsWith('#/live') && document.querySelector('.view.live')")
    admin.browser.script("history.forward()")
    admin.wait_record({"n": 1})
    admin.edit('{"n": 2}')
    admin.browser.script("history.back()")
    admin.press("Throw my changes away", "dialog")
    admin.wait("location.hash.startsWith('#/live') && document.querySelector('.view.live')")
    assert admin.js(closes)


def test_what_is_typed_for_a_new_record_or_as_settings_is_asked_for_too(admin):
    admin.go_to_table("drafts")
    admin.press("New record")
    admin.edit('{"n": 3}', "dialog")
    for _ in range(2):  # a browser obeys the second Escape in a row, unless the key itself is taken
        admin.browser.press(ESCAPE)
        admin.said("Not saved yet")
        admin.browser.press(ESCAPE)
        admin.wait("document.querySelectorAll('dialog').length === 1")
    assert admin.js("document.querySelector('dialog textarea').value") == '{"n": 3}'
    admin.browser.press(ESCAPE)
    admin.press("Throw my changes away", "dialog")
    admin.wait("!document.querySelector('dialog')")
    admin.browser.click(".settings summary")
    admin.wait("document.querySelector('.settings textarea')?.value.includes('owner')")
    admin.edit("[", ".settings")
    admin.browser.script("location.hash = '#/live'")
    admin.said("Not saved yet")
    admin.press("Throw my changes away", "dialog")
    admin.wait("document.querySelector('.view.live')")


@pytest.mark.parametrize("key", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_and_values_are_text(admin, put, read, key):
    value = {"<b>": "</textarea><script>alert(1)</script>", "rtl": "\u202e", "__proto__": {"a": 1}}
    put(HOSTILE_TABLE, key, value)
    admin.go_to_table(HOSTILE_TABLE, sep="none")
    assert admin.js("document.querySelector('h1').innerText") == f"Data › {HOSTILE_TABLE}"
    admin.wait(f"[...document.querySelectorAll('.names bdi')].some((one) => one.textContent === {json.dumps(key)})")
    admin.open(key)
    admin.wait_record(value)
    admin.edit('{"edited": true}')
    admin.press("Save", ".record")
    wait_until(lambda: read(HOSTILE_TABLE, key) == {"edited": True})
    assert admin.js("document.querySelectorAll('main img, main script, main b').length") == 0


def test_a_prefix_is_exported_deleted_and_imported_again(admin, put, read, tmp_path):
    for number in range(30):
        put("moved", f"a/{number:02}", {"n": number, "price": 1.10}, "")
    put("moved", "b", {"stays": True})
    admin.browser.script(
        "window.blobs = []; const made = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { blobs.push(blob); return made.call(URL, blob) }"
    )
    admin.go_to_table("moved", prefix="a/")
    admin.press("Export all under the prefix")
    admin.said("30 records exported.")
    admin.press("Close", "dialog")
    admin.browser.script("blobs[0].text().then((text) => { window.told = text })")
    text = admin.wait("window.told")
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0]["format"] == "dynakv-export"
    assert lines[1]["key"] == "a/00"
    assert lines[-1] == {"end": "dynakv-export", "total": 30, "records": {"moved": 30}}

    admin.press("Delete all under the prefix…")
    admin.said("Delete 30 keys")
    admin.wait("document.querySelector('dialog .danger').disabled")
    admin.browser.type("dialog input", "delete")
    admin.press("Delete", "dialog")
    admin.said("30 deleted.")
    admin.press("Close", "dialog")
    admin.wait_names()
    assert read("moved", "b") == {"stays": True}

    file = tmp_path / "moved.jsonl"
    broken = text.splitlines(keepends=True)
    broken[8] = broken[8].replace("}", ",}", 1)
    file.write_text("".join(broken))
    admin.press("Import")
    admin.browser.type("dialog input[type=file]", str(file))
    admin.press("Import", "dialog")
    admin.said("29 written, 0 left as they are, 1 refused.")
    admin.said("Line 9:")
    admin.press("Close", "dialog")
    wait_until(lambda: len(admin.names()) == 29)
    assert read("moved", "a/08") == {"n": 8, "price": 1.1}

    admin.go_to_table("moved", prefix="a/2")
    wait_until(lambda: len(admin.names()) == 10)
    admin.press("Export what is shown")
    admin.said("10 records exported.")
    admin.press("Close", "dialog")
    put("moved", "c", {"was": 1})
    file.write_text(f'{{"key": "c", "value": 5, "expires_at": {1000 * time.time() + 60_000:.0f}}}\n{{"key": "d"}}\n')
    admin.press("Import")
    admin.browser.type("dialog input[type=file]", str(file))
    admin.browser.click("dialog input[type=checkbox]")
    admin.press("Import", "dialog")
    admin.said("1 written, 0 left as they are, 1 refused.")
    admin.said('Line 2: it has no "value"')
    admin.press("Close", "dialog")
    assert read("moved", "c") == {"value": 5}


def test_settings_are_shown_checked_and_set(admin, cluster):
    admin.go_to_table("ruled")
    admin.browser.click(".settings summary")
    admin.wait("document.querySelector('.settings textarea')?.value.includes('owner')")
    admin.edit('[{"prefix": "", "raed": ["*"]}]', ".settings")
    admin.said("rule 1 has no raed")
    admin.edit('[{"prefix": "", "read": ["*"], "write": ["everybody"]}]', ".settings")
    admin.press("Save settings")
    admin.said("there is no principal 'everybody'")
    admin.edit('[{"prefix": "", "read": ["*"], "write": ["owner", "*"]}]', ".settings")
    admin.press("Save settings")
    admin.said("The settings were saved.")
    held = cluster.nodes[0].request("GET", "/admin/tables/ruled", token=cluster.admin_token()).json
    assert held["access"][0]["read"] == ["*"]


def test_the_tail_shows_changes_filters_them_and_waits_when_paused(admin, put, cluster, alice):
    admin.go("live", table="stream")
    admin.wait("document.querySelector('.live-state')?.textContent === 'Listening.'")
    rows = "[...document.querySelectorAll('.live tbody tr')].map((one) => one.innerText)"
    put("stream", "one", {"color": "red"})
    put("stream", "two", {"color": "<i>blue</i>"})
    assert cluster.nodes[0].delete("stream", "one", alice).status == 200
    newest, *_ = wait_until(lambda: found if len(found := admin.js(rows)) == 3 else None)
    assert "one" in newest
    assert "Deleted" in newest
    admin.browser.type("#live-filter", "BLUE")
    wait_until(lambda: len(admin.js(rows)) == 1)
    assert "<i>blue</i>" in admin.js(rows)[0]
    admin.press("Pause")
    put("stream", "three", {"color": "dark blue"})
    put("stream", "four", {"color": "green"})
    admin.said("2 changes came since the pause")
    assert len(admin.js(rows)) == 1
    admin.press("Go on")
    wait_until(lambda: len(admin.js(rows)) == 2)
    admin.press("Clear")
    assert admin.js(rows) == []
    assert "filter=BLUE" in admin.js("location.hash")


def test_the_page_goes_on_when_its_own_node_is_killed(admin, put, cluster):
    put("lasting", "one", {"n": 1})
    admin.go_to_table("lasting", key="one")
    admin.wait_record({"n": 1})
    cluster.nodes[2].kill()
    put("lasting", "two", {}, "")
    wait_until(lambda: admin.names() == ["one", "two"], 15.0)
    put("lasting", "one", {"n": 2}, "")
    admin.wait_record({"n": 2})
    admin.edit('{"n": 3}')
    admin.press("Save", ".record")
    admin.wait("document.querySelector('.facts').innerText.includes('Version\\n3')")
    assert admin.js("document.querySelector('#trouble').hidden")
    cluster.nodes[2].start()
    cluster.wait_ready(60)


def test_a_user_sees_what_is_theirs_and_errors_in_place(browser, cluster, put):
    one = cluster.nodes[0]
    bob = one.register("bob", SECRET)
    assert one.put("mixed", "bobs", {"n": 1}, bob).status == 201
    put("mixed", "alices", {"n": 2}, "")
    page = Dashboard(browser, one)
    page.enter("bob", SECRET)
    page.wait("document.querySelector('#table-name')")
    assert page.js("document.querySelectorAll('.data table').length") == 0
    browser.type("#table-name", "mixed")
    page.press("Open")
    page.wait_names("bobs")
    assert page.js("document.querySelector('.settings')") is None
    page.go_to_table("mixed", key="alices")
    page.said("the key belongs to another user")
    page.go("live", table="mixed")
    page.wait("document.querySelector('.live-state')?.textContent === 'Listening.'")
    put("mixed", "alices", {"n": 3}, "")
    assert one.put("mixed", "bobs", {"n": 4}, bob).status == 201
    page.wait("document.querySelector('.live tbody').innerText.includes('bobs')")
    assert "alices" not in browser.text(".live tbody")
    page.browser.script("location.reload()")  # a page that has forgotten the secret by that
    page.go_to_table("mixed", key="bobs")
    page.wait_record({"n": 4})
    page.edit('{"n": 5}')
    assert one.request("POST", "/auth/bob/logout", None, bob).status == 200
    page.press("Save", ".record")
    page.said("Log in again")
    assert page.value() == {"n": 5}
    browser.type("#password", SECRET)
    browser.click("#login button")
    page.wait("!document.querySelector('dialog')")
    page.press("Save", ".record")
    page.wait("document.querySelector('#said').innerText === 'Saved.'")
    page.go("data", "_users")
    page.wait("document.querySelector('#trouble').innerText.includes('system')")
    page.go("data")
    page.wait("[...document.querySelectorAll('.names a')].some((one) => one.textContent === 'mixed')")
    page.browser.click("#logout")
    assert page.js("sessionStorage.length") == 0
    assert not [one for one in browser.complaints() if "Content Security Policy" in one["message"]]
