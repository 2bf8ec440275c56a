"""Keys as folders: hypothesis plays a table, a client that asks page by page, and a reader who may not read all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.api.folders import FEWEST, LAST_CHAR, Folders
from dynatwist.requests.listing import PAGE_KEYS

KEY_BYTES = 16
keys = st.text(alphabet=["a", "b", "/", "0", ".", LAST_CHAR], min_size=1, max_size=6).filter(
    lambda key: len(key.encode()) <= KEY_BYTES
)


class Table:
    """Keys in order, and how often it was asked for a page."""

    def __init__(self, names, hidden=()):
        self.names, self.hidden, self.pages = sorted(names), set(hidden), 0

    def page(self, prefix, after, limit):
        """Keys that may be read, and where the next page begins, as `Listing.names` answers."""
        self.pages += 1
        found = [name for name in self.names if name.startswith(prefix) and name > after]
        page = found[:limit]
        return [name for name in page if name not in self.hidden], page[-1] if len(found) > limit else None

    def listed(self, prefix, delimiter, after="", limit=10**6, most=PAGE_KEYS):
        """What one request answers."""
        folders, names = Folders(prefix, delimiter, KEY_BYTES), []
        after = folders.start(after)
        while len(names) < limit:
            found, next_after = self.page(prefix, after, min(most, folders.at_once))
            names += folders.take(found)
            if next_after is None:
                break
            after = folders.behind(next_after)
        return names[:limit]


def name_of(key, prefix, delimiter):
    """What shows a key, said another way."""
    head, found, _ = key.removeprefix(prefix).partition(delimiter)
    return prefix + head + found


tables = st.lists(keys, unique=True, max_size=25)


@given(tables, st.data(), st.sampled_from(["", "a", "a/", "b0"]), st.sampled_from(["/", "//", "0"]))
@settings(max_examples=300)
def test_page_by_page_each_key_and_each_folder_comes_once_and_in_order(names, data, prefix, delimiter):
    hidden = data.draw(st.sets(st.sampled_from(names))) if names else set()
    table, limit, most = Table(names, hidden), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    visible = [key for key in table.names if key.startswith(prefix) and key not in hidden]
    expected = list(dict.fromkeys(name_of(key, prefix, delimiter) for key in visible))
    listed = []
    while page := table.listed(prefix, delimiter, listed[-1] if listed else "", limit, most):
        listed += page
    assert listed == expected == sorted(expected)


@given(tables, st.integers(1, 4))
def test_without_a_delimiter_keys_are_shown_by_themselves(names, most):
    assert Table(names).listed("", "", most=most) == sorted(names)


def test_a_folder_of_many_keys_costs_no_more_than_one_of_few():
    table = Table([f"{folder}/{number:05}" for folder in "abc" for number in range(5000)] + ["d"])
    assert table.listed("", "/") == ["a/", "b/", "c/", "d"]
    assert table.pages <= 4


def test_keys_that_may_not_be_read_are_passed_many_at_a_time():
    others = [f"b/{number:05}" for number in range(10 * PAGE_KEYS)]
    table = Table(["a/0", "a/1", *others, "c"], hidden=others)
    assert table.listed("", "/") == ["a/", "c"]
    assert table.pages <= 12


def test_small_folders_are_read_many_at_a_time():
    table = Table([f"{folder:04}/{number}" for folder in range(1000) for number in range(2)])
    assert len(table.listed("", "/")) == 1000
    assert table.pages <= 2 + 2 * len(table.names) // PAGE_KEYS
    assert FEWEST < PAGE_KEYS
