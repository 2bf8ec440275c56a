"""The pure parts of the dashboard, by Node.js where that is installed; Chromium runs the rest."""

from __future__ import annotations

import json
from pathlib import Path

import dynatwist.web.dashboard

from . import javascript

FOLDER = Path(dynatwist.web.dashboard.__file__).parent
pytestmark = javascript.needs_node


def evaluated(module, name, *calls):
    """What a function of a module answers to some lists of arguments."""
    before = f"import {{{name}}} from {json.dumps((FOLDER / module).as_uri())}"
    return javascript.evaluated(before, f"{json.dumps(calls)}.map(call => {name}(...call) ?? null)")


def test_a_list_begins_right_before_a_prefix():
    names = ["", "A", "a", "alice", "alicia", "b", "\ud7ff", "\ue000", "\U0001f600", "\U0001f600x"]
    prefixes = ["a", "ali", "b", "\ue000", "\U0001f600", "A", "\x00"]
    for prefix, start in zip(prefixes, evaluated("listed.js", "before", *([one] for one in prefixes)), strict=True):
        behind = [name for name in names if name > start]
        assert [name for name in behind if name.startswith(prefix)] == [n for n in names if n.startswith(prefix)]
        assert all(name >= prefix for name in behind), "nothing that is smaller is listed"
    assert evaluated("listed.js", "before", [""]) == [""]


def test_a_name_does_not_turn_the_rest_of_a_sentence_around():
    hostile = ["\u202eelbat", "\u2069\u202ex", "\u05e9\u05dc", "<b>"]
    shown = evaluated("format.js", "within", *([name] for name in hostile))
    assert shown == ["\u2068\ufffdelbat\u2069", "\u2068\ufffd\ufffdx\u2069", "\u2068\u05e9\u05dc\u2069", "<b>"]


def test_values_are_compared_member_by_member():
    one = {"same": 1, "in": {"a": [1], "b": None}, "gone": {"x": 1}, "__proto": {}}
    other = {"same": 1, "in": {"a": [1, 2], "b": None}, "kind": "new", "__proto": {}}
    ((*found,),) = evaluated("difference.js", "compared", [one, other])
    assert {" ".join(each["path"]): each["differs"] for each in found} == {
        "same": False, "in a": True, "in b": False, "gone": True, "kind": True,
    }  # fmt: skip
    assert evaluated("difference.js", "compared", [{"a": 1}, None])[0][0]["path"] == []


OLD, NEW = "old", "new"
STAGES = {
    "at rest": ([[OLD], [OLD]], None, "install"),
    "installed at some": ([[OLD, NEW], [OLD]], NEW, "install"),
    "installed": ([[OLD, NEW], [OLD, NEW]], NEW, "use"),
    "used by some": ([[NEW, OLD], [OLD, NEW]], NEW, "use"),
    "used": ([[NEW, OLD], [NEW, OLD]], NEW, "retire"),
    "retired by some": ([[NEW], [NEW, OLD]], NEW, "retire"),
    "done": ([[NEW], [NEW]], NEW, "install"),
    "begun by somebody else": ([[OLD, NEW], [OLD, NEW]], None, "choose"),
    "begun, and another one was remembered": ([[OLD, NEW], [OLD, NEW]], "elder", "choose"),
    "a member is away": ([[OLD, NEW], None], NEW, "use"),
    "nobody answers": ([None, None], NEW, "install"),
}


def test_how_far_a_rotation_has_come_is_seen_from_what_the_members_accept():
    calls = [({f"member-{n}": names for n, names in enumerate(told)}, to) for told, to, _ in STAGES.values()]
    found = evaluated("replacement.js", "progress", *calls)
    assert dict(zip(STAGES, (one["next"] for one in found), strict=True)) == {
        stage: wanted for stage, (_, _, wanted) in STAGES.items()
    }
    assert found[list(STAGES).index("a member is away")]["away"] == ["member-1"]
