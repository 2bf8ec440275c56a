"""The dashboard's people, conflicts, locks and secrets, in a real browser against a real cluster."""

from __future__ import annotations

import json
import threading
from urllib.parse import quote

import pytest

from dynatwist.storage.keyfile import parse

from .real import wait_until
from .test_conflicts import contested
from .test_rotation import Traffic

pytestmark = pytest.mark.processes
HOSTILE = "<img src=x onerror=document.title='owned'>"
SECRET = "a long secret"
ESCAPE = "\ue00c"


class Page:
    """The dashboard as somebody uses it."""

    def __init__(self, cluster, browser):
        self.cluster, self.browser = cluster, browser
        browser.open(f"http://{cluster.nodes[0].address}/admin")
        browser.script("sessionStorage.clear()")
        browser.open(f"http://{cluster.nodes[0].address}/admin?anew")  # a page that nobody is logged in to
        browser.complaints()  # of what was before

    def log_in(self, name="admin", secret=None):
        browser = self.browser
        self.until("document.querySelector('#login')")
        secret = secret or parse((self.cluster.folder / "cluster.key").read_text(), "").admin_password()
        browser.script("document.querySelector('#name').value = ''")
        browser.type("#name", name)
        browser.type("#password", secret)
        browser.click("#login button")
        self.until("!document.querySelector('#top').hidden")

    def log_out(self):
        self.browser.click("#logout")

    def go(self, *parts, **query):
        path = "/".join(quote(part, safe="") for part in parts)
        asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        self.browser.script(f"location.hash = {json.dumps(f'#/{path}?{asked}')}")

    def until(self, expression, what=""):
        return wait_until(lambda: self.browser.script(f"return {expression}"), what=what or expression)

    def until_shown(self, *texts, where="main"):
        for text in texts:
            self.until(f"document.querySelector('{where}')?.innerText.includes({json.dumps(text)})")

    def until_said(self, text):
        self.until_shown(text, where="#said")

    def fill(self, **fields):
        for name, text in fields.items():
            self.browser.type("#" + name.replace("_", "-"), text)

    def press(self, text, where="main"):
        """The button, or the link, of that text."""
        texts = f"[...document.querySelectorAll('{where} :is(button, a)')]"
        found = f"{texts}.find(one => one.innerText == {json.dumps(text)})"
        self.until(f"!!{found}")
        self.browser.script(f"const found = {found}; found.focus(); found.click()")

    def confirm(self, *consequences):
        self.until_shown(*consequences, where="dialog")
        self.browser.click("dialog button.danger")

    @property
    def rows(self):
        return self.browser.script("return [...document.querySelectorAll('main tbody tr')].map(row => row.innerText)")

    @property
    def has_no_markup_from_a_node(self):
        return self.browser.script("return document.querySelector('img, main b, main script') === null")

    def until_rows(self, count):
        wait_until(lambda: len(self.rows) == count, what=f"{count} rows")

    def reload(self):
        self.browser.script("location.reload()")


@pytest.fixture(scope="module")
def cluster(dashboard_cluster):
    dashboard_cluster.wait_ready(60)
    return dashboard_cluster


@pytest.fixture(scope="module")
def page(cluster, chromium):
    made = Page(cluster, chromium)
    made.log_in()
    return made


@pytest.fixture(scope="module")
def people(cluster):
    return {name: cluster.nodes[0].register(name, SECRET) for name in ("alice", "bob")}


class TestPeople:
    def test_a_user_is_made_logged_out_and_deleted_whatever_the_name(self, cluster, page):
        node = cluster.nodes[1]
        page.go("people")
        page.until_shown("Make a user")
        page.fill(new_user=HOSTILE)
        page.browser.type("#create-user input[type=password]", SECRET)
        page.browser.click("#create-user button")
        page.until_said("can log in now")
        page.until_shown(HOSTILE, where="h1")
        assert page.has_no_markup_from_a_node
        token = node.register(HOSTILE, SECRET)
        assert node.get("t", "k", token).status == 404

        page.browser.click("#end-sessions")
        page.until_said("logged out everywhere")
        assert node.get("t", "k", token).status == 401

        token = node.register(HOSTILE, SECRET)
        assert node.put("t", "stays", {"n": 1}, token).status == 201
        page.browser.click("#delete-user")
        page.confirm("The records that", "stay")
        page.until_said("is deleted")
        assert node.get("t", "stays", token).status == 401
        assert node.request("GET", "/admin/table/t/key/stays", None, cluster.admin_token()).json["value"] == {"n": 1}
        assert page.browser.script("return document.title") == "People – DynaTwist"

    def test_users_are_found_by_how_their_names_begin(self, cluster, page, people):
        cluster.nodes[0].register("alicia", SECRET)
        page.go("people", "users")
        page.until_shown("bob")
        page.browser.type("input[type=search]", "alic")
        page.until_rows(2)
        assert [row.split()[0] for row in page.rows] == ["alice", "alicia"]
        page.browser.type("input[type=search]", "e")
        page.until_rows(1)
        assert page.browser.script("return location.hash") == "#/people/users?prefix=alice"

    def test_a_group_has_members_and_rules_name_it(self, cluster, page, people):
        page.go("people", "groups")
        page.fill(new_group="editors/<b>")
        page.browser.click("#create-group button")
        page.until_shown("Nobody is in this group")
        for name in ("alice", "bob"):
            page.fill(new_member=name)
            page.browser.click("#add-member button")
            page.until_said(f"{name} is in editors/<b>.")
        page.press("Take out")
        page.until_said("alice is in editors/<b> no more.")
        admin = cluster.admin_token()
        group = cluster.nodes[2].request("GET", "/admin/groups/editors%2F%3Cb%3E", None, admin).json
        assert group["members"] == ["bob"]
        assert page.browser.script("return document.activeElement.ariaLabel") == "Take out bob", "the focus stays"

        rules = [{"prefix": "", "read": ["*"], "create": ["group:editors/<b>"], "update": ["owner"]}]
        assert cluster.nodes[0].request("PUT", "/admin/tables/wiki", {"access": rules}, admin).status == 200
        page.go("people", "rights", user="bob", table="wiki")
        page.until_shown("every user", "the group editors/<b>", "nobody")
        assert page.browser.text("#may") == (
            "In wiki bob may read every record, create new records and update records that bob owns, but not delete."
        )
        page.until_shown("bob is in the groups editors/<b>.", "Why", "group:editors/<b>")
        page.browser.type("[name=key]", "some/page")
        page.press("What may they do?")
        page.until_shown("Under the key some/page of wiki bob may read every record")
        page.go("people", "rights", user="alice", table="wiki")
        page.until_shown("In wiki alice may read every record", "but not create or delete")
        page.go("people", "rights", user="nobody", table="wiki")
        page.until_shown("there is no user 'nobody'")
        page.go("people", "rights", user="bob", table="<i>")
        page.until_shown("In <i> bob may read records that bob owns, create new records")

    def test_the_end_of_the_audit_log_is_shown_as_it_grows(self, cluster, page, people):
        node = cluster.nodes[0]
        page.go("people", "audit")
        page.until_shown(f"lines of {node.address}")
        page.browser.type("input[type=search]", "wrong_secret")
        page.until_rows(0)
        assert node.request("POST", "/auth/bob", {"secret": "not this one"}).status == 401
        page.until_rows(1)
        assert "somebody unknown\taccounts.enter\tbob\twrong_secret\t127.0.0.1" in page.rows[0]
        page.press("Pause")
        assert node.request("POST", "/auth/bob", {"secret": "not this one"}).status == 401
        page.until_shown("Paused: new lines wait.")
        page.press("Pause")
        page.until_rows(2)
        assert page.browser.script("return location.hash") == "#/people/audit?only=wrong_secret"

    def test_a_token_is_shown_once_works_and_ends(self, cluster, page):
        page.go("people", "tokens")
        page.fill(new_token="collector")
        page.browser.type("#create-token [name=table]", "devices")
        page.browser.click("#create-token [name=create]")
        page.press("Make")
        token = page.until("document.querySelector('#token')?.value")
        page.press("I have it", where="dialog")
        page.until_rows(1)
        assert "create, read in devices" in page.rows[0].replace("read, create", "create, read")
        assert token not in page.browser.script("return document.documentElement.innerHTML")
        node = cluster.nodes[1]
        assert node.put("devices", "one", {"n": 1}, token).status == 201
        assert node.put("other", "one", {"n": 1}, token).status == 403
        page.press("End")
        page.confirm("refused on every node")
        page.until_shown("There are no service tokens.")
        assert node.put("devices", "two", {"n": 1}, token).status == 401


FORMS = {
    "#new-user": ("people", "users"),
    "#change-secret input": ("people", "users", "bob"),
    "#new-group": ("people", "groups"),
    "#new-member": ("people", "groups", "editors/<b>"),
    "#create-token [name=table]": ("people", "tokens"),
}


def test_no_form_is_left_with_what_was_typed_without_a_question(page, people):
    for field, place in FORMS.items():
        page.go(*place)
        page.until(f"document.querySelector({json.dumps(field)})")
        here = page.browser.script("return location.hash")
        page.browser.type(field, "something")
        page.browser.script("history.back()")
        page.until_shown("Not saved yet", where="dialog")
        page.browser.press(ESCAPE)
        page.until(f"!document.querySelector('dialog') && location.hash === {json.dumps(here)}")
        assert page.browser.script(f"return document.querySelector({json.dumps(field)}).value") == "something"
        page.go("live")
        page.confirm("What you have typed here is not saved")
        page.until("document.querySelector('.view.live')")


VIEWS = {
    "overview": ".plot",
    "members": ".strip",
    "data": "table",
    "live": "#live-table",
    "people": "#new-user",
    "conflicts": "#count",
    "locks": "#of-table",
    "secrets": ".steps button",
}


def test_a_member_of_the_group_admins_is_an_administrator_as_long_as_that_is_so(cluster, page, people):
    admin = cluster.admin_token()
    group = lambda *names: cluster.nodes[0].request("PUT", "/admin/groups/admins", {"members": names}, admin)  # noqa: E731
    page.log_out()
    page.log_in("bob", SECRET)
    assert page.browser.text("nav").split() == ["Data", "Live", "Conflicts"]
    page.go("members")
    page.until_shown("This is for administrators, and bob is none")
    assert group("bob").status == 200
    page.go("overview")
    for name, part in VIEWS.items():
        page.until("document.querySelectorAll('#nav a').length === 8", "all views for bob")
        page.go(name)
        page.until(f"document.querySelector('.view.{name} {part}')", f"{name} for bob")
    page.until("document.querySelector('#rotation').innerText.includes('accept no other')")
    assert page.browser.script("return document.querySelector('#trouble').hidden")
    assert group().status == 200
    page.until_shown("This is for administrators, and bob is none")
    page.log_out()
    page.log_in()


@pytest.fixture(scope="module")
def lost(cluster, people):
    """Seven values of alice's, and none of bob's, lost against others of hers."""
    contested(cluster, "fought", [HOSTILE, *(f"k{number}" for number in range(6))], people["alice"])


@pytest.mark.usefixtures("lost")
class TestConflicts:
    def test_the_value_that_lost_is_seen_beside_what_is_held_and_restored(self, cluster, page, people):
        page.go("conflicts", table="fought")
        page.until_rows(7)
        page.press(HOSTILE)
        page.until_shown("Held now", '"three"', '"one"', "1 difference")
        assert page.browser.text("tr.differs").split() == ["by", "differs", '"three"', '"one"']
        assert page.has_no_markup_from_a_node
        page.browser.click("#restore")
        page.confirm("only if nobody has written the record since")
        page.until_said("has the value again that lost")
        page.until_rows(6)
        held = cluster.nodes[1].get("fought", HOSTILE, people["alice"]).json
        assert held["value"] == {"by": "one", "key": HOSTILE}
        assert held["owner"] == "alice"

    def test_nothing_is_written_over_what_somebody_wrote_meanwhile(self, cluster, page, people):
        page.press("k5")
        page.until_shown("1 difference")
        assert cluster.nodes[1].put("fought", "k5", {"by": "somebody"}, people["alice"], "?w=all").status == 201
        page.browser.click("#restore")
        page.confirm()
        page.until_shown("nothing was changed", where="[role=alert].error")
        assert cluster.nodes[2].get("fought", "k5", people["alice"]).json["value"] == {"by": "somebody"}
        page.reload()
        page.until_shown("written after the conflict", '"somebody"')
        page.browser.click("#settle")
        page.confirm("gone for good")
        page.until_said("is settled")
        page.until_rows(5)

    def test_users_see_what_they_lost_themselves_and_no_other(self, page):
        for name, rows in (("bob", 0), ("alice", 5)):
            page.log_out()
            page.log_in(name, SECRET)
            page.go("conflicts", table="fought")
            page.until_shown("values of yours that lost", "There are no conflicts" if not rows else "k4")
            page.until_rows(rows)
        assert page.browser.text("nav").split() == [
            "Data",
            "Live",
            "Conflicts",
        ]

    def test_what_lost_against_a_record_that_is_gone_comes_back(self, cluster, page, people):
        assert cluster.nodes[1].delete("fought", "k4", people["alice"]).status == 200
        page.press("k4")
        page.until_shown("Nothing is held now", "Settle: leave it deleted")
        page.browser.click("#restore")
        page.confirm()
        page.until_rows(4)
        held = cluster.nodes[2].get("fought", "k4", people["alice"]).json
        assert (held["value"], held["owner"]) == ({"by": "one", "key": "k4"}, "alice")

    def test_all_that_are_shown_are_settled_at_once(self, page):
        page.press("Settle the 4 shown")
        page.confirm("What is held now stays in all 4 cases")
        page.until_shown("There are no conflicts")
        page.until_said("4 conflicts settled.")
        page.log_out()
        page.log_in()


def test_a_lock_is_shown_with_those_who_wait_and_ended_in_its_holders_place(cluster, page, people):
    one, two, _ = cluster.nodes
    admin, alice = cluster.admin_token(), people["alice"]
    page.go("locks")
    page.until_shown("no strong table")
    assert one.request("PUT", "/admin/tables/jobs", {"consistency": "strong"}, admin).status == 200
    taken = one.request("POST", "/jobs/lock/nightly", {"ttl": 600, "note": "<b>report</b>"}, alice)
    assert taken.status == 201
    second = threading.Thread(target=two.request, args=("POST", "/jobs/lock/nightly?wait=30", {"ttl": 30}, alice))
    second.start()
    page.until_shown("1 lock held")
    page.until_shown("<b>report</b>")
    wait_until(lambda: any("\t1\t" in row for row in page.rows), what="somebody to wait")
    page.press("Release")
    page.confirm("two may work at the same time")
    second.join(30)
    assert two.get("jobs", "nightly", alice).json["version"] > taken.json["version"]


class TestSecrets:
    def names(self, cluster, admin):
        return cluster.nodes[1].request("GET", "/admin/keys", None, admin).json["nodes"].values()

    def test_the_secret_is_replaced_step_by_step_while_clients_go_on(self, cluster, page, people):
        admin, (one, two, three) = cluster.admin_token(), cluster.nodes
        traffic = Traffic([two], people["alice"])
        ((former,),) = {tuple(names) for names in self.names(cluster, admin)}
        page.go("secrets")
        page.until_shown(f"All members use {former}, and accept no other secret.")
        assert all(f"{former}\tsince before" in row for row in page.rows[:3])
        page.press("Install a new secret")
        page.until_shown("Next they use it")
        (accepted,) = {tuple(names) for names in self.names(cluster, admin)}
        latter = accepted[1]
        assert page.browser.script("return document.activeElement.innerText") == "Use it"

        three.kill()
        page.until_shown(f"while {three.address} does not answer", where="#why-not")
        assert page.browser.script("return document.activeElement.ariaDisabled") == "true"
        three.start()
        cluster.wait_ready()
        page.reload()
        page.until_shown("Next they use it")
        page.until("document.querySelector('#why-not').innerText == ''")

        page.press("Use it")
        page.until_shown(f"All members use {latter}. {former} is still accepted")
        wait_until(
            lambda: all(f"{latter}\tsince" in row and "before" not in row for row in page.rows[:3]), what="a date"
        )
        page.press("Retire all others")
        page.confirm("The administrator has to log in again")
        page.log_in()
        page.until_shown(f"Done: all members use {latter}, and accept no other secret.")
        traffic.finish()
        assert traffic.wrong == []
        assert traffic.count > 50
        assert {tuple(names) for names in self.names(cluster, cluster.admin_token())} == {(latter,)}
        assert one.active_count() == 3

    def test_since_when_it_is_used_is_known_when_the_next_one_comes(self, cluster):
        admin = cluster.admin_token()

        def since():
            members = cluster.nodes[0].request("GET", "/admin/overview", None, admin).json["members"]
            return {one["secret_since_ms"] for one in members}

        (agreed,) = since()
        assert cluster.nodes[1].request("POST", "/admin/keys/install", {}, admin).status == 200
        known = since() - {None}  # a member that was started again since has found the secret in use
        assert known
        assert all(abs(seen - agreed) < 5000 for seen in known)

    def test_a_node_has_its_own_storage_secret(self, cluster, page):
        before = cluster.nodes[1].request("GET", "/admin/storage-key", None, cluster.admin_token()).json["uses"]
        page.until_shown(before, where="#view")
        page.browser.script(
            f"document.querySelector('[aria-label=\"Replace that of {cluster.nodes[1].address}\"]').click()"
        )
        page.confirm("keep with each backup the key file of its time")
        page.until_said("seals its data folder anew")
        now = cluster.nodes[1].request("GET", "/admin/storage-key", None, cluster.admin_token()).json["uses"]
        assert now != before


def test_no_script_came_of_names_and_values_and_nothing_was_refused_but_what_was_meant_to_be(page):
    assert page.browser.script("return document.title") == "Secrets – DynaTwist"
    meant = ("401", "403", "404", "412", "ERR_CONNECTION", "favicon")
    assert [one for one in page.browser.complaints() if not any(word in one["message"] for word in meant)] == []
