"""The pure parts of the dashboard's views of data, by Node.js where that is installed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import dynatwist.web.dashboard

from . import javascript

FOLDER = Path(dynatwist.web.dashboard.__file__).parent
pytestmark = javascript.needs_node
SEED = 4


def evaluated(module, expression, given=None):
    """What an expression comes to, in which the module is `m`, and what is given is `given`; as JSON."""
    before = f"import * as m from {json.dumps((FOLDER / module).as_uri())}\nconst given = {json.dumps(given)}"
    return javascript.evaluated(before, expression)


def made(chance, depth=0):
    """Some JSON value."""
    kind = chance.randrange(7 if depth < 4 else 5)
    if kind < 5:
        number, text = chance.randrange(-(10**20), 10**20), '\u2028"\\/\n🦄\u0001'[: chance.randrange(9)]
        return [None, True, number, text, ""][kind]
    if kind == 5:
        return [made(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {f"{number * 7 % 5} \u202e": made(chance, depth + 1) for number in range(chance.randrange(4))}


def test_json_stays_as_it_was_written():
    chance = random.Random(SEED)
    values = [made(chance) for _ in range(200)]
    texts = [json.dumps(value, indent=chance.choice([None, 1, 7])) for value in values]
    for value, compact in zip(values, evaluated("json.js", "given.map(m.compact)", texts), strict=True):
        assert compact == json.dumps(value, separators=(",", ":"))
    digits = '{"10": 1.10, "2": 1e400, "a": -0.0, "big": 12345678901234567890}'
    assert evaluated("json.js", "m.compact(given)", digits) == digits.replace(" ", "")


LAID_OUT = """{
  "rows": [
    {"id": 0, "name": "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnn", "more": "mmmmmmmmm"},
    {"id": 1, "name": "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnn", "more": "mmmmmmmmm"}
  ],
  "few": {"a": [1, 2]},
  "many": [
    100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114,
    115, 116, 117, 118, 119
  ],
  "none": {}
}"""


def test_json_is_laid_out_for_people():
    chance = random.Random(SEED)
    values = [made(chance) for _ in range(200)]
    once, twice = evaluated(
        "layout.js",
        "[given.map((text) => m.indented(text)), given.map((text) => m.indented(m.indented(text)))]",
        [json.dumps(value) for value in values],
    )
    assert once == twice
    for value, text in zip(values, once, strict=True):
        assert json.loads(text) == value
    rows = [{"id": number, "name": "n" * 30, "more": "m" * 9} for number in range(2)]
    value = {"rows": rows, "few": {"a": [1, 2]}, "many": list(range(100, 120)), "none": {}}
    assert evaluated("layout.js", "m.indented(JSON.stringify(given))", value) == LAID_OUT


def test_what_is_json_is_what_the_browser_takes():
    chance = random.Random(SEED)
    texts = [json.dumps(made(chance), indent=chance.choice([None, 1])) for _ in range(400)]
    broken = []
    for text in texts:
        at = chance.randrange(len(text) + 1)
        instead = chance.choice(["", ",", "}", '"', "1", "\\", "e", "\t", "]", "-", "0", "tru"])
        broken.append(text[:at] + instead + text[at + 1 :])
    told = evaluated(
        "json.js",
        "given.map((text) => { const taken = (work) => { try { work(text); return true } catch { return false } };"
        "return [taken(m.checkJson), taken(JSON.parse)] })",
        [*texts, *broken],
    )
    assert [one for one, _ in told] == [other for _, other in told]
    assert 50 < sum(not taken for taken, _ in told) < 400


FAULTS = {
    "": "line 1, column 1: a value is an object",
    "[]": "line 1, column 1: a value is an object",
    '{\n  "a": 1,\n}': "line 3, column 1: a name",
    '{"a" 1}': "line 1, column 6: a colon",
    '{"a": 1 "b"}': "line 1, column 9: a comma or }",
    '{"a": nul}': "line 1, column 7: this is no JSON value",
    '{"a": "b\n"}': "line 1, column 7: this text does not end",
    '{"a": 1} x': "line 1, column 10: there is more",
    '{"a": ' + "[" * 5000: "line 1, column 507: this is nested too deeply",
}


def test_a_fault_is_told_with_its_place():
    work = "given.map((text) => { try { m.checkObject(text) } catch (error) { return error.message } })"
    for told, fault in zip(evaluated("json.js", work, list(FAULTS)), FAULTS.values(), strict=True):
        assert told.startswith(fault)


def test_members_are_told_as_they_are_written():
    text = '{"value": {"n": 1.10}, "__proto__": 1, "a\\u0062": [ ], "ab": 2}'
    found = evaluated("json.js", "[...m.members(given)]", text)
    assert found == [["value", '{"n": 1.10}'], ["__proto__", "1"], ["ab", "2"]]


def test_differences_make_the_one_text_of_the_other():
    chance = random.Random(SEED)
    pairs = [["\n".join(chance.choices("abc", k=chance.randrange(9))) for _ in "12"] for _ in range(200)]
    for (before, after), lines in zip(
        pairs, evaluated("diff.js", "given.map(([one, other]) => m.differences(one, other))", pairs), strict=True
    ):
        assert "\n".join(one["line"] for one in lines if one["sign"] != "+") == before
        assert "\n".join(one["line"] for one in lines if one["sign"] != "-") == after
    kept = evaluated("diff.js", "m.differences('a\\nb\\nc', 'a\\nx\\nc')")
    assert [one["sign"] for one in kept] == [" ", "-", "+", " "]
    lines = "m.shortened(m.differences(given.join('\\n'), given.with(20, 'x').join('\\n')))"
    shown = evaluated("diff.js", lines, [str(number) for number in range(50)])
    told = ["17 equal lines", "17", "18", "19", "20", "x", "21", "22", "23", "26 equal lines"]
    assert [one["line"] for one in shown] == told


def test_keys_are_ordered_by_code_points():
    keys = ["a", "a/", "a0", "", "ｚ", "🦄", "\U0010ffff", "\ue000", "é", "a🦄", "aｚ"]
    assert evaluated("order.js", "given.sort(m.compare)", keys) == sorted(keys)


def test_the_tail_keeps_so_many_and_counts_what_comes_during_a_pause():
    told = evaluated(
        "tail.js",
        """(() => {
          const tail = new m.Tail()
          const record = {value: {}, version: 1, timestamp: 1}
          const put = (key) => tail.add({type: "Updated", table: "t", key, record})
          const seen = []
          for (let number = 0; number < 3 * m.MOST_ROWS; number += 1) put(`k${number}`)
          seen.push(tail.take().at(-1).key, tail.rows.length, tail.rows[0].key)
          tail.pause(true)
          put("unseen"); tail.add({type: "lagged"})
          seen.push(tail.take().length, tail.missed)
          tail.pause(false)
          seen.push(tail.take().map((one) => one.key ?? one.notice.slice(0, 18)), tail.missed)
          tail.tick(); put("last"); tail.tick()
          return [...seen, tail.count, tail.rates.slice(-2)]
        })()""",
    )
    assert told[:5] == ["k2999", 1000, "k2000", 0, 1]
    assert told[5][0] == "unseen"
    assert told[5][1].startswith("Changes were")
    assert told[6:] == [0, 3002, [3001, 1]]
