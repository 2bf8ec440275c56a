"""What a client decides, without sockets: whom it asks, what it repeats, when it logs in again, what values become."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from random import Random

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.aio.world import Waiter
from dynatwist.replication import followed as node
from dynatwist.replication.request import is_followed
from dynatwist.sansio.contention import updated
from dynatwist.sansio.errors import Forbidden, KvError, PreconditionFailed, Unauthorized, Unavailable
from dynatwist.sansio.failover import PAUSE_S, ROUNDS, Failover
from dynatwist.sansio.session import Session
from dynatwist.sansio.trail import MADE, one_id, request_id, trail
from dynatwist.sansio.values import decoded, encoded
from dynatwist.sansio.world import AnswerLost, NotSent, Response, beside

URLS = ["http://a", "http://b", "http://c"]


class Made:
    """A world without a network: what nodes answer is written down, and time passes only while somebody waits.

    :param answer: a response, or an error, for each request.
    """

    def __init__(self, answer):
        self.answer, self.sent, self.pauses, self.random, self._now_s = answer, [], [], Random(1), 0.0

    def now_s(self):
        return self._now_s

    def later(self, delay_s, call):
        self._now_s += delay_s
        self.pauses.append(delay_s)
        asyncio.get_running_loop().call_soon(call)

    def waiter(self):
        return Waiter()

    async def send(self, request):
        self.sent.append(request)
        await asyncio.sleep(0)
        found = self.answer(request)
        if isinstance(found, AnswerLost):
            self._now_s += request.timeout_s
        if isinstance(found, Exception):
            raise found
        return found


def says(status, code="", **headers):
    body = {"error": "it says so", "code": code} if status >= 400 else {"token": code}
    return Response(status, headers, json.dumps(body).encode())


def ask(world, *, repeatable, method="PUT", deadline_s=30.0):
    async def asked():
        return await Failover(world, URLS.copy(), deadline_s).request(
            method, "/t/key/k", None, {}, repeatable=repeatable
        )

    return asyncio.run(asked())


OUTCOMES = {
    "not sent": lambda: NotSent("refused"),
    "lost": lambda: AnswerLost("too late"),
    "uncertain": lambda: says(503, "uncertain"),
    "busy": lambda: says(503, "busy"),
    "forbidden": lambda: says(403, "forbidden"),
    "done": lambda: says(200),
}
MAYBE = {"lost", "uncertain"}
"""After these nobody knows whether it was carried out."""


class TestWhatFollowsARequest:
    """The id by which it is found in logs."""

    def test_one_id_over_all_tries_and_another_one_for_the_next_request(self):
        world = Made(lambda _: NotSent("refused"))
        session = Session(world, Failover(world, URLS.copy(), 30.0))

        async def twice():
            for _ in range(2):
                with pytest.raises(Unavailable) as raised:
                    await session.request("GET", "/stats", repeatable=True)
                assert str(raised.value).endswith(f"refused (request {raised.value.request_id})")
                yield raised.value.request_id

        async def ids():
            return [one async for one in twice()]

        first, second = asyncio.run(ids())
        sent = [one.headers["X-Request-Id"] for one in world.sent]
        assert sent == [first] * 9 + [second] * 9
        assert first != second
        assert first.startswith(MADE)
        assert is_followed(first)

    @pytest.mark.parametrize(
        ("status", "is_named"), [(403, False), (404, False), (412, False), (500, True), (503, True), (507, True)]
    )
    def test_an_error_has_it_and_says_it_where_the_node_failed(self, status, is_named):
        world = Made(lambda _: says(status, "why"))
        session = Session(world, Failover(world, URLS.copy(), 30.0))
        with request_id("checkout-7"), pytest.raises(KvError) as raised:
            asyncio.run(session.request("PUT", "/t/key/k"))
        assert raised.value.request_id == "checkout-7"
        assert str(raised.value) == "it says so" + (" (request checkout-7)" if is_named else "")

    def test_a_login_that_comes_between_has_the_same(self):
        def answer(request):
            if request.url.endswith("/auth/ann"):
                return says(200, "new")
            return says(200) if request.headers["Authorization"].endswith("new") else says(401, "bad_token")

        world = Made(answer)
        session = Session(world, Failover(world, URLS.copy(), 30.0))

        async def asked():
            with one_id(world.random):
                await session.log_in("/auth/ann", b"{}", b"{}")
                session._token = "old"
                await session.request("GET", "/stats")

        asyncio.run(asked())
        assert len({one.headers["X-Request-Id"] for one in world.sent}) == 1
        assert len(world.sent) == 4

    def test_all_that_an_update_asks_has_one(self):
        world = Made(lambda _: says(200))
        seen = set()

        async def read():
            seen.add(trail(world.random)["X-Request-Id"])

        async def write(value, held):
            seen.add(trail(world.random)["X-Request-Id"])
            if len(seen) == 1 and len(value) < 3:
                raise PreconditionFailed(412, "precondition_failed", "others were quicker")

        tries = iter(range(1, 9))
        asyncio.run(updated(world, read, write, lambda _: dict.fromkeys(map(str, range(next(tries)))), 10.0))
        assert len(seen) == 1
        assert next(tries) == 4

    def test_what_goes_on_beside_the_program_has_its_own(self):
        world, seen = Made(None), []

        async def work():
            seen.append(trail(world.random)["X-Request-Id"])

        world.start = lambda work: asyncio.ensure_future(work)

        async def begun():
            with request_id("mine"):
                beside(world, work())
            await asyncio.sleep(0)

        asyncio.run(begun())
        assert seen[0].startswith(MADE)

    @pytest.mark.parametrize("text", ["", "a b", "x" * 65, "a\nb", "é"])
    def test_what_nodes_would_not_take_is_refused(self, text):
        with pytest.raises(ValueError, match="is no id of requests"), request_id(text):
            pass

    def test_nodes_know_by_its_beginning_that_a_client_made_it(self):
        assert MADE == node.MADE


class TestWhomItAsks:
    @given(st.lists(st.sampled_from(sorted(OUTCOMES)), min_size=9, max_size=9), st.booleans())
    def test_what_may_not_be_repeated_is_not_sent_again_once_it_may_have_been_carried_out(self, told, repeatable):
        outcomes = iter(told)
        heard = []

        def answer(_):
            heard.append(next(outcomes))
            return OUTCOMES[heard[-1]]()

        try:
            ask(Made(answer), repeatable=repeatable)
            error = None
        except KvError as found:
            error = found
        in_doubt = bool(MAYBE & {*heard})
        if not repeatable:
            assert not MAYBE & {*heard[:-1]}
        assert (error is None) == (heard[-1] == "done")
        if error is not None:
            assert (error.code == "uncertain") == in_doubt, heard

    def test_the_nodes_take_turns_and_each_pause_is_longer_and_by_chance(self):
        world = Made(lambda _: NotSent("refused"))
        with pytest.raises(Unavailable, match="refused"):
            ask(world, repeatable=True)
        assert [one.url for one in world.sent] == [f"{url}/t/key/k" for url in URLS] * ROUNDS
        assert len(world.pauses) == ROUNDS - 1
        for number, pause_s in enumerate(world.pauses):
            assert PAUSE_S * 2**number / 2 <= pause_s <= PAUSE_S * 2**number

    def test_a_deadline_is_for_all_tries(self):
        world = Made(lambda _: AnswerLost("too late"))
        with pytest.raises(Unavailable):
            ask(world, repeatable=True, deadline_s=7.0)
        assert [one.timeout_s for one in world.sent] == [5.0, 2.0]

    def test_a_refusal_of_one_node_is_that_of_all(self):
        world = Made(lambda _: says(403, "forbidden"))
        with pytest.raises(Forbidden):
            ask(world, repeatable=True)
        assert len(world.sent) == 1

    def test_what_a_node_has_said_of_causes_is_shown_to_the_next(self):
        world = Made(lambda _: says(200, **{"x-causal-token": "seen"}))

        async def twice():
            nodes = Failover(world, URLS.copy(), 30.0)
            for _ in range(2):
                await nodes.request("GET", "/stats", None, {}, repeatable=True)

        asyncio.run(twice())
        assert [one.headers.get("X-Causal-Token") for one in world.sent] == [None, "seen"]


class TestLoggingInAgain:
    @pytest.mark.parametrize(("secret_counts", "is_told"), [(True, 0), (False, 20)])
    def test_once_for_all_that_wait(self, secret_counts, is_told):
        counts = {"first"}

        def answer(request):
            if request.url.endswith("/auth/ann"):
                if not counts and not secret_counts:
                    return says(401, "bad_credentials")
                token = "second" if not counts else "first"
                counts.add(token)
                return says(200, token)
            token = request.headers["Authorization"].removeprefix("Bearer ")
            return says(200) if token in counts else says(401, "bad_token")

        world = Made(answer)

        async def story():
            session = Session(world, Failover(world, URLS.copy(), 30.0))
            await session.log_in("/auth/ann", b"{}", b"{}")
            counts.clear()
            many = (session.request("GET", "/stats", repeatable=True) for _ in range(20))
            return await asyncio.gather(*many, return_exceptions=True)

        answers = asyncio.run(story())
        assert sum(isinstance(one, Unauthorized) for one in answers) == is_told
        assert sum(one.url.endswith("/auth/ann") for one in world.sent) == 2, "at first, and once again"

    def test_who_logs_out_meanwhile_stays_so(self):
        world = Made(lambda request: says(200, "new") if "/auth/" in request.url else says(401, "bad_token"))

        async def story():
            session = Session(world, Failover(world, URLS.copy(), 30.0))
            await session.log_in("/auth/ann", b"{}", b"{}")
            renewing = asyncio.create_task(session.renew("new"))
            await asyncio.sleep(0)
            session.use(None)
            await renewing
            return session.token

        assert asyncio.run(story()) is None
        assert len(world.sent) == 2

    def test_who_has_no_secret_is_told(self):
        world = Made(lambda _: says(401, "bad_token"))

        async def story():
            session = Session(world, Failover(world, URLS.copy(), 30.0))
            session.use("from elsewhere")
            await session.request("GET", "/stats", repeatable=True)

        with pytest.raises(Unauthorized):
            asyncio.run(story())
        assert len(world.sent) == 1


class Tagged(msgspec.Struct, tag="place"):
    lat: float
    note: str | msgspec.UnsetType = msgspec.UNSET


class Named(pydantic.BaseModel):
    lat: float = pydantic.Field(alias="latitude")


@dataclasses.dataclass
class Plain:
    lat: float


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner) | st.sets(st.integers()),
)


class TestValues:
    @settings(max_examples=40)
    @given(st.dictionaries(st.text(), ANY, max_size=4))
    def test_what_is_taken_comes_back_and_all_else_is_a_type_error(self, value):
        try:
            body = encoded(value)
        except TypeError:
            return
        assert json.loads(body) == json.loads(json.dumps(value, allow_nan=False))

    @pytest.mark.parametrize("value", [Tagged(1.5), Tagged(1.5, "n"), Named(latitude=1.5), Plain(1.5)])
    def test_what_has_fields_comes_back_as_it_was(self, value):
        body = b'{"value":%b,"vector_clock":{},"version":1,"timestamp":1}' % encoded(value)
        assert decoded(body, type(value)).value == value

    @pytest.mark.parametrize(
        ("value", "says"),
        [
            ({"t": ["\ud800"]}, r"value\.t\[0\]: half a character"),
            ({"\udfff": 1}, "value: half a character"),
            ({"c": Plain}, r"value\.c: type is no JSON"),
        ],
    )
    def test_what_json_cannot_say_is_refused_by_its_place(self, value, says):
        with pytest.raises(TypeError, match=says):
            encoded(value)
