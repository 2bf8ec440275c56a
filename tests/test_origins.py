"""What a browser sends for other people's pages is refused, by its origin and by the name that it uses for the node."""

from __future__ import annotations

import pytest

from dynatwist.api.origins import Origins
from dynatwist.config import texts
from dynatwist.errors import ApiError, ConfigError

ORIGINS = Origins(("https://app.example.org",), ("kv.example.org",))
OWN = {"host": "kv.example.org:6661"}


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "anything.example"},
        {"host": "anything.example", "user-agent": "curl/8"},
        {**OWN, "user-agent": "Mozilla/5.0"},
        {"host": "127.0.0.1:6661", "user-agent": "Mozilla/5.0"},
        {"host": "[::1]:6661", "user-agent": "Mozilla/5.0"},
        {"host": "localhost:6661", "user-agent": "Mozilla/5.0"},
        {**OWN, "origin": "http://kv.example.org:6661", "sec-fetch-site": "same-origin"},
        {"host": "kv.example.org", "origin": "https://kv.example.org"},
        {**OWN, "sec-fetch-site": "none", "user-agent": "Mozilla/5.0"},
        {**OWN, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ],
)
def test_programs_and_the_nodes_own_pages_are_let_in(headers):
    assert ORIGINS.check("GET", headers) == {}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**OWN, "origin": "https://evil.example"}, 403),
        ({**OWN, "origin": "null"}, 403),
        ({**OWN, "origin": "http://kv.example.org:9999"}, 403),
        ({**OWN, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({**OWN, "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        ({**OWN, "origin": "http://kv.example.org:6661", "sec-fetch-site": "cross-site"}, 403),
        ({"host": "kv.example.org", "origin": "http://kv.example.org", "sec-fetch-site": "same-site"}, 403),
        ({"host": "evil.example:6661", "origin": "http://evil.example:6661"}, 421),
        ({"host": "evil.example:6661", "user-agent": "Mozilla/5.0"}, 421),
        ({"host": "", "user-agent": "Mozilla/5.0"}, 421),
        ({"host": "kv.example.org:nonsense", "user-agent": "Mozilla/5.0"}, 421),
    ],
)
def test_foreign_pages_and_names_are_refused(headers, status):
    with pytest.raises(ApiError) as refused:
        ORIGINS.check("GET", headers)
    assert refused.value.status == status


def test_a_link_is_followed_and_a_form_is_not_sent():
    headers = {**OWN, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    with pytest.raises(ApiError):
        ORIGINS.check("POST", headers)


def test_an_origin_that_was_named_may_read_the_answers():
    headers = {"host": "any.example", "origin": "https://app.example.org", "sec-fetch-site": "cross-site"}
    shared = ORIGINS.check("GET", headers)
    assert shared["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert shared["Vary"] == "Origin"
    assert "X-Causal-Token" in shared["Access-Control-Expose-Headers"]
    asked = ORIGINS.check("OPTIONS", headers)
    assert "PATCH" in asked["Access-Control-Allow-Methods"]
    assert "Authorization" in asked["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.org.evil.example",
        "https://evil.example/https://app.example.org",
        "https://app.example.org@evil.example",
        "https://evilapp.example.org",
        "https://sub.app.example.org",
        "https://app.example.org:8443",
        "https://app.example.org:443",
        "https://app.example.org.",
        "https://app.example.org/",
        "http://app.example.org",
        "HTTPS://APP.EXAMPLE.ORG",
        "https://app.example.org, https://evil.example",
        "null",
        "*",
        "",
    ],
)
def test_an_origin_that_only_looks_like_a_named_one_is_shown_nothing(origin):
    assert ORIGINS.shown_to(origin) == {}
    assert not ORIGINS.is_preflight("OPTIONS", origin)
    for method in ("GET", "OPTIONS"):
        with pytest.raises(ApiError) as refused:
            ORIGINS.check(method, {**OWN, "origin": origin})
        assert refused.value.status == 403
        assert not [name for name in refused.value.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "path", [b"/admin", b"/admin/login", b"/admin/table/t/key/k", b"/%61dmin/keys", b"//admin/keys"]
)
def test_a_named_origin_does_not_administrate_and_may_read_that(path):
    headers = {"host": "any.example", "origin": "https://app.example.org", "sec-fetch-site": "cross-site"}
    assert "Access-Control-Allow-Origin" in ORIGINS.check("OPTIONS", headers, path)
    with pytest.raises(ApiError) as refused:
        ORIGINS.check("POST", headers, path)
    assert (refused.value.status, refused.value.code) == (403, "foreign_origin")
    assert ORIGINS.check("GET", headers, b"/administration/key/k")
    own = {**OWN, "origin": "http://kv.example.org:6661", "sec-fetch-site": "same-origin"}
    assert ORIGINS.check("POST", own, path) == {}


MEMBERS = Origins((), ("one.example",), members=lambda: ["one.example:6661", "127.0.0.1:6662", "two.example:80"])


@pytest.mark.parametrize(
    "origin",
    ["http://one.example:6661", "http://127.0.0.1:6662", "http://localhost:6662", "http://two.example"],
)
def test_the_pages_of_other_members_are_as_the_nodes_own(origin):
    """The dashboard goes on at another node when its own one dies."""
    headers = {"host": "one.example:6661", "origin": origin, "sec-fetch-site": "cross-site"}
    assert MEMBERS.check("POST", headers, b"/admin/save")["Access-Control-Allow-Origin"] == origin
    assert "Access-Control-Allow-Methods" in MEMBERS.check("OPTIONS", headers, b"/admin/save")


@pytest.mark.parametrize(
    "origin",
    [
        "https://127.0.0.1:6662", "http://127.0.0.1:6663", "http://two.example:81", "http://127.0.0.1",
        "http://one.example:6661.evil.example", "http://one.example:6661@evil.example", "http://evil.example/one.example:6661",
        "http://evil.example?one.example:6661", "http://evil.example#one.example:6661", "http://x@one.example:6661",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_members_page_is_foreign(origin):
    headers = {"host": "127.0.0.1:6661", "origin": origin}
    assert MEMBERS.shown_to(origin) == {}
    with pytest.raises(ApiError) as refused:
        MEMBERS.check("GET", headers)
    assert refused.value.status == 403


def test_a_member_that_was_struck_out_is_a_stranger():
    members = ["127.0.0.1:6662"]
    origins = Origins((), members=lambda: members)
    assert origins.shown_to("http://127.0.0.1:6662")
    members.clear()
    assert not origins.shown_to("http://127.0.0.1:6662")


def test_where_a_node_speaks_https_a_page_that_came_by_http_is_not_its_own():
    secure = Origins((), ("kv.example.org",), is_tls=True)
    with pytest.raises(ApiError):
        secure.check("GET", {"host": "kv.example.org", "origin": "http://kv.example.org"})
    assert secure.check("GET", {"host": "kv.example.org", "origin": "https://kv.example.org"}) == {}


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://app.example.org", "https://app.example.org"),
        ("HTTPS://App.Example.Org:443", "https://app.example.org"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://localhost:3000", "http://localhost:3000"),
    ],
)
def test_an_origin_is_taken_as_browsers_say_it(given, origin):
    assert texts.origin(given) == origin


@pytest.mark.parametrize(
    "given",
    [
        "null", "*", "", "app.example.org", "https://", "https://*", "https://*.example.org", "https://app.example.org/",
        "https://app.example.org/path", "https://app.example.org?q", "https://app.example.org#f", "https://a@b.example",
        "https://app.example.org:", "https://app.example.org:0", "https://app.example.org:65536", "ftp://app.example.org",
        "https://app.example.org https://b.example", "https://bücher.example", "https://.example", "file:///x",
        "https://app.example.org\n",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused(given):
    with pytest.raises(ConfigError, match="expected an origin"):
        texts.origin(given)
