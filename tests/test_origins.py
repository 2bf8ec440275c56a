"""What a browser sends for other people's pages is refused, by its origin and by the name that it uses for the node."""

from __future__ import annotations

import pytest

from dynatwist.api.origins import Origins
from dynatwist.errors import ApiError

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
