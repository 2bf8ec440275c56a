"""The heart's two implementations: chosen in one place, equal in all they give."""

from __future__ import annotations

import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist import heart
from dynatwist.api.causal import CausalToken
from dynatwist.api.limits import Limits, looked_at
from dynatwist.errors import ApiError
from dynatwist.heart import pure
from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.flaws import record_flaw
from dynatwist.model.lease import Lease
from dynatwist.model.lineage import Lineage
from dynatwist.model.named import Named
from dynatwist.model.record import Draft, Record, write_over
from dynatwist.model.records import pack, unpack
from dynatwist.model.replica import BucketWalk, Merge, Outcome, Replica

NATIVE = heart.compiled()
needs_native = pytest.mark.skipif(NATIVE is None, reason="no compiled heart was built: the pure one alone is tested")

names = st.text(max_size=40)
dots = st.tuples(st.binary(max_size=20), st.integers(-(1 << 70), 1 << 70))
text = st.text(st.characters(), max_size=20)
"""Of any code points, surrogates among them."""
integers = st.integers(-(1 << 63), (1 << 64) - 1)
keys = st.tuples(names, names)
actors = st.sampled_from((b"a" * 16, b"b" * 16, b"c" * 15))
moments = st.builds(Stamp, st.integers(0, (1 << 53) + 1), st.integers(0, 3), actors)


@st.composite
def records(draw):
    """Records of which most have no flaw."""
    named_dots = st.builds(Dot, actors, st.integers(0, 1 << 53))
    return Record(
        draw(named_dots),
        draw(st.sampled_from((None, b"{}", b'{"a":1}', b"[]", b"{", b'{"a":"\xff"}', b'{"a":1e999}'))),
        tuple(draw(st.lists(named_dots, max_size=17))),
        draw(moments),
        Lineage(draw(st.integers(0, 3)), tuple(draw(st.lists(moments, min_size=0, max_size=2)))),
        draw(st.integers(0, 1 << 53)),
        draw(st.sampled_from(("", "alice#a-1", "\u00e9" * 40, "x" * 1024, "x" * 1025))),
        draw(st.integers(-1, 1 << 53)),
        draw(st.binary(max_size=16) | st.sampled_from((bytes(1024), bytes(1025)))),
        draw(st.sampled_from(((), (), (Named(bytes(24), 1, 1, bytes(12)),), (Named(b"", 1, 1, b""),)))),
        draw(st.sampled_from((None, None, Lease(b"a" * 16, 5), Lease(b"", 0)))),
    )


numbers = st.integers(-2, 1 << 65)


def outcome(function, *arguments):
    """What a function gives, or the error that it raises."""
    try:
        return function(*arguments)
    except Exception as error:  # a PanicException is none, and ends the test
        return type(error), str(error)


def same(name, *arguments):
    """Both hearts give the same."""
    expected = outcome(getattr(pure, name), *arguments)
    found = outcome(getattr(NATIVE, name), *arguments)
    assert (type(found), found) == (type(expected), expected)


class TestChoice:
    def test_the_compiled_one_where_it_was_built(self):
        native = types.SimpleNamespace(INTERFACE=heart.INTERFACE)
        assert heart.choose(native, {}) == (native, "heart: compiled")
        assert heart.choose(native, {"DYNAKV_PURE": "0"}) == (native, "heart: compiled")

    def test_the_pure_one_where_none_was_built(self):
        assert heart.choose(None, {}) == (pure, "heart: pure (no compiled one was built)")

    def test_the_pure_one_where_it_is_switched_off(self):
        native = types.SimpleNamespace(INTERFACE=heart.INTERFACE)
        assert heart.choose(native, {"DYNAKV_PURE": "1"}) == (pure, "heart: pure (DYNAKV_PURE is set)")

    def test_the_pure_one_where_the_compiled_one_is_of_another_release(self):
        for native in (types.SimpleNamespace(INTERFACE=heart.INTERFACE + 1), types.SimpleNamespace()):
            chosen, says = heart.choose(native, {})
            assert chosen is pure
            assert "install DynaTwist anew" in says

    @needs_native
    def test_what_was_built_is_of_this_release_and_has_all_functions(self):
        assert NATIVE.INTERFACE == heart.INTERFACE
        functions = [name for name in vars(heart.Heart) if not name.startswith("_")]
        for one in (NATIVE, pure, heart):
            assert all(callable(getattr(one, name)) for name in functions)


@pytest.fixture(params=[pytest.param(pure, id="pure"), pytest.param(NATIVE, id="compiled", marks=needs_native)])
def either(request):
    """One heart, and then the other."""
    return request.param


A, B = bytes(range(16)), bytes(range(16, 32))
BUCKETS = [334, 990]
MARK = 12791330682633647207
NAME = bytes.fromhex("7c3a3cafb07cc2582fe2eff6ef73d22d2094aebc3bba3ff0")
TAG = bytes.fromhex("bec9de9ff3ee5762957f9590")


class TestWhatPeersAndClientsRelyOn:
    """Values that other nodes, older releases and clients have to agree with, whichever heart made them."""

    def test_buckets(self, either):
        assert [either.bucket_of("t", "k"), either.bucket_of("users", "é")] == BUCKETS

    def test_changes(self, either):
        bucket, one = either.change_of("t", "k", None, (A, 1))
        assert (bucket, one) == (either.bucket_of("t", "k"), MARK)
        other = either.change_of("t", "k", (B, 1 << 60), None)[1]
        assert either.change_of("t", "k", (B, 1 << 60), (A, 1)) == (bucket, one ^ other)
        assert either.change_of("t", "k", (A, 1), (A, 1)) == either.change_of("t", "k", None, None) == (bucket, 0)

    def test_tags(self, either):
        assert either.tag_of(A, 1, 2, 3) == TAG
        assert either.etag_of(A, 1, 2, 3) == f'"{TAG.hex()}"'
        for wrong in (-1, 1 << 64):
            with pytest.raises(OverflowError):
                either.tag_of(A, wrong, 2, 3)

    def test_names_of_writes(self, either):
        assert either.name_of("\u00e9#1", "once", (b"put", b"{}")) == NAME

    def test_records(self, either):
        shown = either.record_json(b'{"n":1}', (A, 7), ((B, 3), (A, 5)), 4, 99, b'"me"', '"tag"', b',"expires_at":5')
        assert shown == (
            b'{"value":{"n":1},"vector_clock":{"0001020304050607.08090a0b0c0d0e0f":7,"1011121314151617.18191a1b1c1d1e1f":3}'
            b',"version":4,"timestamp":99,"owner":"me","etag":"tag","expires_at":5}'
        )
        assert either.record_json(None, (A, 1), (), 1, 1, b'"me"', '"t"', b"").startswith(b'{"value":null,')

    def test_tokens(self, either):
        assert either.token_of([]) == "kA=="
        assert CausalToken.parse(either.token_of([(256, (A, 70_000)), (0, (B, 1))])).dots(256) == (Dot(A, 70_000),)

    def test_answers(self, either):
        answer = either.answer_of(
            b"HTTP/1.1 200 OK\r\n", b"Vary: Origin\r\n", "text/plain", {"A": "é", "B": "→"}, b"ab"
        )
        head = (
            "HTTP/1.1 200 OK\r\nVary: Origin\r\nContent-Type: text/plain\r\nA: é\r\nB: ?\r\nContent-Length: 2\r\n\r\n"
        )
        assert answer == head.encode("latin-1") + b"ab"

    def test_of_what_is_wrong_none_is_sure(self, either):
        assert [either.minified(body, 64) for body in (b"", b"{", b"[]", b"{}x", b'{"a":01}')] == [None] * 5
        assert either.sound("t", "k", b"") is None
        assert either.succession("t", "k", b"", b"") is None
        assert either.weight(b"") is None


@needs_native
class TestTwins:
    @given(names, names)
    def test_buckets(self, table, name):
        same("bucket_of", table, name)

    @given(names, names, st.none() | dots, st.none() | dots)
    def test_changes(self, table, name, before, after):
        same("change_of", table, name, before, after)

    @given(st.binary(max_size=300), numbers, numbers, numbers)
    def test_tags(self, actor, seq, ms, counter):
        same("tag_of", actor, seq, ms, counter)
        same("etag_of", actor, seq, ms, counter)

    @given(names, names, st.lists(st.binary(max_size=200), max_size=4).map(tuple))
    def test_names_of_writes(self, uid, name, body):
        same("name_of", uid, name, body)

    @given(
        st.none() | st.binary(max_size=50),
        dots,
        st.lists(dots, max_size=20).map(tuple),
        st.integers(),
        st.integers(),
        st.binary(max_size=20),
        st.text(max_size=30),
        st.binary(max_size=20),
    )
    def test_records(self, value, dot, seen, version, ms, owner, tag, rest):
        same("record_json", value, dot, seen, version, ms, owner, tag, rest)

    def test_of_a_writer_that_is_named_twice_the_newest_number_stands_in_the_oldest_place(self):
        a, b = b"a" * 16, b"b" * 16
        same("record_json", b"{}", (a, 9), ((b, 3), (a, 2), (b, 1), (a, 1)), 1, 1, b'"me"', '"t"', b"")

    @given(st.lists(st.tuples(integers, st.tuples(st.binary(max_size=300), integers)), max_size=40))
    def test_tokens(self, pairs):
        same("token_of", pairs)

    def test_numbers_at_the_edges_of_what_msgpack_has(self):
        """A client may name any partition in the token that it sends back."""
        for power in (0, 5, 7, 8, 15, 16, 31, 32, 63, 64):
            for number in (base + step for base in (1 << power, -(1 << power)) for step in (-1, 0, 1)):
                if -(1 << 63) <= number < 1 << 64:
                    same("token_of", [(number, (b"a", number))])
        for one in (pure, NATIVE):
            for number in (-(1 << 63) - 1, 1 << 64):
                with pytest.raises(OverflowError):
                    one.token_of([(number, (b"a", 1))])

    @given(st.integers(0, 70_000), st.integers(0, 70_000))
    @settings(max_examples=20, deadline=None)
    def test_long_tokens(self, count, size):
        same("token_of", [(number, (b"a", number)) for number in range(count)])
        same("token_of", [(1, (bytes(size), 1))])

    @given(st.binary(max_size=20), st.binary(max_size=20), text, st.dictionaries(text, text, max_size=5), st.binary())
    def test_answers(self, status_line, shared, content_type, headers, body):
        same("answer_of", status_line, shared, content_type, headers, body)
        same("answer_of", status_line, shared, content_type, types.MappingProxyType(headers), body)

    def test_a_name_that_is_no_unicode(self):
        same("bucket_of", "t", "\ud800")
        same("change_of", "\udfff", "k", None, (b"", 1))
        same("name_of", "a", "\udfff", ())


SPACES = ("", "", " ", "\n", "\t\r ")
WORDS = rb"true false null 0 -0 1e 1e99 1e999 .5 5. 0.5e-9 tru NaN Infinity 00 9223372036854775808".split()
PIECES = (
    *WORDS,
    b"1234567890" * 3,
    b"0." + b"12345" * 9,
    *rb'{ } [ ] : , " \ \u \ud800 \u00e9 \x - + . e E //'.split(),
)


@st.composite
def bodies(draw):
    """JSON objects, as a rule, and some with a few bytes of them changed, left out or put in."""
    random = draw(st.randoms(use_true_random=False))

    def value(depth):
        """JSON with white space wherever it may stand, and numbers and strings of many spellings."""
        before, after = random.choice(SPACES), random.choice(SPACES)
        kind = random.randrange(6 if depth < 4 else 4)
        if kind == 0:
            inside = random.choice((b"true", b"false", b"null", b"{}", b"[]", *WORDS[:3]))
        elif kind < 4:
            inside = random.choice((b'"\\n\\u00e9"', b'"a b"', '"\u00e9"'.encode(), b"-1.5e-3", b"42", b"0", b'""'))
        elif kind == 4:
            inside = b"[" + b",".join(value(depth + 1) for _ in range(random.randrange(4))) + b"]"
        else:
            inside = objects(depth + 1)
        return before.encode() + inside + after.encode()

    def objects(depth):
        count = random.randrange(4)
        members = (b'%b"%d"%b:%b' % (b" " * (n & 1), n, b"\n" * (n & 2), value(depth)) for n in range(count))
        return b"{" + b",".join(members) + b"}"

    body = bytearray(objects(0))
    for _ in range(random.choice((0, 0, 1, 2))):
        at = random.randrange(len(body) + 1)
        body[at : at + random.randrange(3)] = random.choice(PIECES)
    return bytes(body)


def looked(body, levels=64):
    try:
        return looked_at(body, Limits(json_depth=levels))
    except ApiError:
        return None


@needs_native
class TestSureOnlyOfWhatIsSo:
    @given(bodies())
    @settings(max_examples=500, deadline=None)
    def test_values(self, body):
        sure = NATIVE.minified(body, 64)
        assert sure is None or sure == looked(body)

    @given(st.binary(max_size=40).map(lambda inside: b'{"a":' + inside + b"}"))
    @settings(max_examples=500)
    def test_any_bytes(self, body):
        sure = NATIVE.minified(body, 64)
        assert sure is None or sure == looked(body)

    def test_each_byte_in_a_string_and_behind_a_backslash(self):
        for byte in range(256):
            for inside in (bytes((byte,)), b"\\" + bytes((byte,)), b"\\u12" + bytes((byte,)) + b"4"):
                body = b'{"' + inside + b'":["' + inside + b'"]}'
                sure = NATIVE.minified(body, 64)
                assert sure is None or sure == looked(body), body

    @pytest.mark.parametrize("levels", [1, 2, 63, 64, 65, 200])
    def test_levels(self, levels):
        for depth in (levels - 1, levels, levels + 1, 100_000):
            for start, end in ((b"[", b"]"), (b'{"a":', b"}")):
                body = b'{"a":' + start * (depth - 1) + b"1" + end * (depth - 1) + b"}"
                sure = NATIVE.minified(body, levels)
                assert sure is None or sure == looked(body, levels)

    def test_of_what_is_usual(self):
        usual = b'{ "name": "al\\u00efce\\n", "at": [1, -2.5, 3e7, true, false, null, {}, []], "\xc3\xa9": {"n": 0} }'
        assert NATIVE.minified(usual, 64) == looked(usual) != usual
        long = b'{"a": "' + b"x" * 100_000 + b'"}'
        assert NATIVE.minified(long, 64) == looked(long)

    @given(keys, records())
    def test_records(self, key, record):
        packed = pack(record)
        sound = NATIVE.sound(*key, packed)
        if not record_flaw(key, record) and record.value in (None, b"{}") and len(record.lineage.stamps) == 1:
            assert sound or record.lease
        weight = NATIVE.weight(packed)
        assert weight is None or (*weight, None) == (len(record.value or b""), len(record.named), record.lease)
        if sound:
            assert weight is not None
            assert record_flaw(key, record) == ""
            assert sound == (record.dot, record.stamp.ms)
        for length in range(len(packed)):
            assert NATIVE.sound(*key, packed[:length]) is None
        assert NATIVE.sound(*key, packed + b"\xc0") is None

    @given(keys, records(), st.integers(0, 200), st.binary(min_size=1, max_size=3))
    @settings(max_examples=200, deadline=None)
    def test_records_with_other_bytes_in_them(self, key, record, at, other):
        packed = pack(record)
        changed = packed[:at] + other + packed[at + len(other) :]
        if NATIVE.sound(*key, changed):
            assert record_flaw(key, unpack(changed)) == ""

    @given(st.binary(max_size=200))
    def test_any_bytes_as_a_record(self, packed):
        if NATIVE.sound("t", "k", packed):
            assert record_flaw(("t", "k"), unpack(packed)) == ""


@st.composite
def successors(draw):
    """Two records of one key, the second of which is usually written over the first."""
    plain = st.builds(
        Draft,
        st.sampled_from((b"{}", b'{"a":1}', b'{"a":12}', b'{"a":12}', None)),
        st.sampled_from(("alice", "bob")),
        st.sampled_from((0, 0, 0, 0, 5)),
        st.sampled_from((b"", b"", b"", b"op")),
        name=st.sampled_from((b"", b"", bytes(24))),
        lease=st.sampled_from((None, None, None, Lease(b"a" * 16, 5))),
    )
    writers = st.sampled_from((b"a" * 16, b"b" * 16, b"c" * 16))
    held: Record | None = None
    records = []
    for number in range(draw(st.integers(2, 4))):
        dot, stamp = Dot(draw(writers), draw(st.integers(1, 4))), Stamp(draw(st.integers(0, 9)), number, draw(writers))
        over = draw(st.sampled_from((*records, *[held] * 6))) if records else None
        held = write_over(over, (), draw(st.sampled_from((0, 0, 0, 1))), draw(plain), dot, stamp, 0)
        records.append(held)
    return draw(st.sampled_from((records[-2:], records[:1] + records[-1:], records[:-3:-1])))


def replica_with(record):
    replica = Replica(0)
    if record is not None:
        replica.merge(KEY, record)
    return replica


KEY = ("t", "k")


@needs_native
class TestSuccession:
    """Whatever the compiled heart is sure of is what the model comes to that looks at every rule."""

    def looks(self, one, other, changed=None):
        packed = pack(other) if changed is None else changed
        self.compare(None, packed)
        return self.compare(one, packed)

    def compare(self, one, packed):
        found = NATIVE.succession(*KEY, packed, None if one is None else pack(one))
        if found is None:
            return False
        other = unpack(packed)
        looked, sure = replica_with(one), replica_with(one)
        walks = [BucketWalk(replica, range(pure.BUCKETS)) for replica in (looked, sure)]
        if one is not None and one.dot == other.dot:
            assert not sure.succeed(KEY, packed, found, None)
            return True
        assert looked.merge(KEY, other, packed) == Merge(Outcome.WON, None)
        assert sure.succeed(KEY, packed, found, None)
        for part in ("records", "seen", "clock", "generation", "tombstones", "ends"):
            assert getattr(looked, part) == getattr(sure, part)
        assert looked.digests.to_wire() == sure.digests.to_wire()
        assert looked.summary() == sure.summary()
        assert walks[0].entries() == walks[1].entries()
        _, _, mark, grown_bytes, named, _, _ = found
        assert mark == other.stamp[:2]
        before = (0, 0) if one is None else (len(one.value), len(one.named))
        assert (grown_bytes, named) == (len(other.value) - before[0], len(other.named) - before[1])
        for record in filter(None, (one, other)):
            assert (record.lease, record.op, record.expires_ms) == (None, b"", 0)
        return True

    @given(successors())
    @settings(max_examples=200, deadline=None)
    def test_of_records_that_are_written_one_over_the_other(self, pair):
        self.looks(*pair)

    @given(records(), records())
    @settings(max_examples=200, deadline=None)
    def test_of_any_records(self, one, other):
        self.looks(one, other)

    @given(successors(), st.integers(0, 250), st.binary(min_size=1, max_size=3))
    @settings(max_examples=200, deadline=None)
    def test_of_other_bytes_in_them(self, pair, at, other):
        packed = pack(pair[1])
        self.looks(*pair, packed[:at] + other + packed[at + len(other) :])

    @given(st.binary(max_size=200), st.binary(max_size=200))
    @settings(deadline=None)
    def test_of_any_bytes(self, packed, held):
        self.compare(None, packed)
        if NATIVE.succession(*KEY, packed, held):
            self.looks(unpack(held), unpack(packed))

    def test_of_what_is_usual(self):
        one = write_over(None, (), 3, Draft(b"{}", "alice"), Dot(b"a" * 16, 1), Stamp(1, 0, b"a" * 16), 0)
        over = write_over(one, (), 3, Draft(b'{"a":1}', "bob"), Dot(b"b" * 16, 9), Stamp(2, 0, b"b" * 16), 0)
        assert self.looks(one, over)
        assert not self.looks(over, one)
        for length in range(len(pack(over))):
            assert NATIVE.succession(*KEY, pack(over)[:length], pack(one)) is None
            assert NATIVE.succession(*KEY, pack(one), pack(over)[:length]) is None
