"""The three clients are one: equal names, arguments, docstrings and errors, and the same behaviour on nodes that are
killed and frozen."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import socket
import subprocess
import sys
import time

import msgspec
import pydantic
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

import dynatwist.aio
import dynatwist.client
import dynatwist.sync
from dynatwist.sansio.verbs import Verbs

from .real import RealCluster, certificate, wait_until
from .sync_face import written

SECRET = "a long secret"
FACES = (dynatwist.client, dynatwist.aio, dynatwist.sync)
MORE = {"connect", "reactor"}
"""What differs: Twisted's takes the reactor, and has it."""


def verbs_of(face):
    return {name for name in dir(face.Client) if not name.startswith("_")} - MORE


class TestNames:
    def test_all_have_the_same(self):
        assert verbs_of(dynatwist.client) == verbs_of(dynatwist.aio) == verbs_of(dynatwist.sync)
        assert {*dynatwist.client.__all__} == {*dynatwist.aio.__all__} == {*dynatwist.sync.__all__}

    def test_the_same_arguments_and_docstrings(self):
        for name in verbs_of(dynatwist.aio):
            one, other = getattr(dynatwist.aio.Client, name), getattr(dynatwist.sync.Client, name)
            if isinstance(one, property):
                assert one.__doc__ == other.__doc__
                continue
            assert list(inspect.signature(one).parameters) == list(inspect.signature(other).parameters), name
            assert inspect.getdoc(one).replace("async with", "with") == inspect.getdoc(other), name

    def test_the_blocking_form_is_what_is_made_of_the_original(self):
        made = inspect.getsource(sys.modules["dynatwist.sync.requests"])
        assert made == written(), "run python -m tests.sync_face"

    def test_the_same_errors(self):
        for name in ("KvError", "NotFound", "Forbidden", "Unauthorized", "Unavailable", "PreconditionFailed", "Locked"):
            assert len({getattr(face, name) for face in FACES}) == 1


class TestWhatIsLoaded:
    @pytest.mark.parametrize("face", ["aio", "sync"])
    def test_no_twisted_and_no_server(self, face):
        code = (
            f"import sys, dynatwist.{face}; print([one for one in sys.modules if one.split('.')[0] in "
            "('twisted', 'klein', 'autobahn', 'treq', 'cryptography') or one.startswith(('dynatwist.core', "
            "'dynatwist.api', 'dynatwist.storage', 'dynatwist.web', 'dynatwist.client'))])"
        )
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


class TestWhatIsWrong:
    @pytest.mark.parametrize("make", [dynatwist.sync.Client, dynatwist.aio.Client, lambda urls: Verbs(None, urls)])
    @pytest.mark.parametrize(
        ("urls", "kind", "says"),
        [
            ([], ValueError, "give at least one, such as http://127.0.0.1:6661"),
            (6661, TypeError, "expected the URLs of some nodes"),
            ("ftp://127.0.0.1", ValueError, "speaks http or https, and not ftp"),
            ("http://127.0.0.1:6661/users", ValueError, "no URL of a node"),
            (["http://127.0.0.1:port"], ValueError, "no URL of a node"),
        ],
    )
    def test_urls(self, make, urls, kind, says):
        with pytest.raises(kind, match=says):
            make(urls)

    @pytest.mark.parametrize(
        ("value", "says"),
        [
            ({"tags": [1, {2}]}, r"value\.tags\[1\]: a set is no JSON; use a list"),
            ({"data": b"x"}, r"value\.data: bytes are no JSON"),
            ({"n": float("nan")}, r"value\.n: nan is no JSON number"),
            ({"n": (1.0, float("inf"))}, r"value\.n\[1\]: inf is no JSON number"),
            ({1: 2}, "the name 1 is no text"),
            ([1], "a record's value is an object with fields"),
            ({"f": print}, r"value\.f: builtin_function_or_method is no JSON"),
        ],
    )
    def test_values(self, value, says):
        kv = dynatwist.sync.Client("127.0.0.1:1")
        with pytest.raises(TypeError, match=says):
            kv.put("t", "k", value)
        with pytest.raises(TypeError, match="the value of 'k'"):
            kv.batch("t", [{"op": "put", "key": "k", "value": [value]}])
        kv.close()

    def test_a_loop_is_no_reactor(self):
        loop = asyncio.new_event_loop()
        with pytest.raises(TypeError, match=r"use dynatwist\.aio"):
            dynatwist.client.Client(loop, "127.0.0.1:6661")
        loop.close()

    def test_a_call_from_within_a_callback_would_wait_for_itself(self):
        kv = dynatwist.sync.Client("127.0.0.1:1")

        async def inside():
            kv.keys("t")

        with pytest.raises(RuntimeError, match="wait for itself"):
            kv._portal.run(inside())


# What all do


class _Awaited:
    """The blocking client, each call in a thread, so that the same story is told of it."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name in ("token", "fence", "is_lost", "is_held", "is_synced"):
            return found

        async def call(*args, **more):
            answer = await asyncio.to_thread(found, *args, **more)
            return _Awaited(answer) if type(answer).__module__ == "dynatwist.sync.live" else answer

        return call

    def __getitem__(self, key):
        return self._inner[key]

    def __contains__(self, key):
        return key in self._inner

    async def __aenter__(self):
        await asyncio.to_thread(self._inner.__enter__)
        return self

    async def __aexit__(self, *ended):
        await asyncio.to_thread(self._inner.__exit__, *ended)

    def __aiter__(self):
        return self

    async def __anext__(self):
        found = await asyncio.to_thread(next, self._inner, None)
        if found is None:
            raise StopAsyncIteration
        return found


async def begun(what):
    """A watch, presence, mirror or lock: made at once, but for the blocking face, whose calls are awaited here."""
    return await what if inspect.isawaitable(what) else what


def of_twisted(story, cluster):
    return ensureDeferred(story(lambda urls, **more: dynatwist.client.Client.connect(reactor, urls, **more), cluster))


def of_asyncio(story, cluster):
    return deferToThread(lambda: asyncio.run(story(dynatwist.aio.Client.connect, cluster)))


def of_threads(story, cluster):
    async def connect(urls, **more):
        return _Awaited(await asyncio.to_thread(dynatwist.sync.Client.connect, urls, **more))

    return deferToThread(lambda: asyncio.run(story(connect, cluster)))


@pytest.fixture(params=[of_twisted, of_asyncio, of_threads], ids=["twisted", "asyncio", "threads"])
def tell(request):
    """Tells a story of one face."""
    return request.param


@pytest.fixture(scope="module")
def cluster():
    made = RealCluster.start(3)
    admin = made.admin_token()
    made.nodes[0].request("PUT", "/admin/tables/jobs", {"consistency": "strong"}, admin)
    rule = {"prefix": "", "read": ["*"], "create": ["*"], "update": ["owner"], "delete": ["owner"]}
    made.nodes[0].request("PUT", "/admin/tables/here", {"access": [rule]}, admin)
    yield made
    made.close()


@dataclasses.dataclass
class Place:
    lat: float
    tags: list[str]


class Struct(msgspec.Struct):
    lat: float
    tags: list[str]


class Model(pydantic.BaseModel):
    lat: float
    tags: list[str]


def urls_of(cluster):
    return [f"http://{node.address}" for node in cluster.nodes]


async def records(connect, cluster):
    async with await connect(urls_of(cluster)) as kv:
        await kv.login("ann", SECRET)
        first = await kv.put("t", "k", {"n": 1})
        with pytest.raises(dynatwist.aio.PreconditionFailed) as refused:
            await kv.put("t", "k", {"n": 2}, if_none_match=True)
        if refused.value.is_shown:  # else it was not durable yet where it was refused
            assert refused.value.held.value == {"n": 1}
        second = await kv.patch("t", "k", {"m": [None, True, "ü"]}, if_match=first.etag)
        for write in (kv.patch("t", "k", {"m": 0}, if_match=first.etag), kv.delete("t", "k", if_match=first.etag)):
            with pytest.raises(dynatwist.aio.PreconditionFailed):
                await write
        assert (await kv.get("t", "k")).value == {"n": 1, "m": [None, True, "ü"]}
        await kv.update("t", "k", lambda held: {**held, "n": held["n"] + 1})
        assert (await kv.get("t", "k", r="majority")).value["n"] == second.value["n"] + 1
        for kind in (Place, Struct, Model):
            await kv.put("t", "place", kind(lat=1.5, tags=["a"]))
            assert (await kv.get("t", "place", type=kind)).value == kind(lat=1.5, tags=["a"])
        with pytest.raises(TypeError, match="the record's value is no"):
            await kv.get("t", "k", type=Struct)
        results = await kv.batch("t", [{"op": "put", "key": f"b{n}", "value": Struct(n, [])} for n in range(5)])
        assert [one["status"] for one in results] == [201] * 5
        assert await kv.keys("t", "b", limit=2) == ["b0", "b1"]
        assert sorted(await kv.get_many("t", ["b1", "none"])) == ["b1"]
        await kv.delete("t", "k")
        with pytest.raises(dynatwist.aio.NotFound):
            await kv.get("t", "k")
        assert await kv.conflicts("t") == []
        assert await kv.ticket()
        assert len((await kv.members())["nodes"]) == 3


async def listings(connect, cluster):
    async with await connect(urls_of(cluster)[0]) as kv:
        await kv.login("lis", SECRET)
        for begin in range(0, 1200, 400):
            await kv.batch("many", [{"op": "put", "key": f"{n:04}", "value": {}} for n in range(begin, begin + 400)])
        names = [f"{n:04}" for n in range(1200)]
        scanned, stored = await begun(kv.scan("many")), await begun(kv.store("many", "00"))
        if not hasattr(scanned, "__aiter__"):
            assert (list(scanned), [key for key, _ in stored]) == (names, names[:100])
        else:
            assert [key async for key in scanned] == names
            assert [key async for key, _ in stored] == names[:100]


async def until(kv, condition):
    """Asks a node for something, again and again, until something holds."""
    end_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end_s
        await kv.stats()


async def live(connect, cluster):
    async with await connect(urls_of(cluster)) as kv, await connect(urls_of(cluster)[1:]) as other:
        for client in (kv, other):
            await client.login("liv", SECRET)
        async with await begun(kv.watch("here")) as watch, await begun(kv.mirror("here")) as mirror:
            async with await begun(other.presence("here", "liv", Struct(1, []))) as here:
                change = await anext(watch)
                assert (change.type, change.key, change.record.value["lat"]) == ("Updated", "liv", 1)
                await here.update(Struct(2, []))
                assert (await anext(watch)).record.value["lat"] == 2
                await until(kv, lambda: "liv" in mirror and mirror["liv"].ephemeral)
                assert not here.is_lost
            assert (await anext(watch)).type == "Deleted"
            await until(kv, lambda: "liv" not in mirror)
        with pytest.raises(dynatwist.aio.WatchRefused):
            await (await begun(kv.watch("_users"))).subscribed()
        async with await begun(kv.lock("jobs", "j", ttl_s=5)) as lock:
            assert lock.is_held
            with pytest.raises(dynatwist.aio.Locked):
                await (await begun(other.lock("jobs", "j", wait_s=0))).acquire()
        async with await begun(other.lock("jobs", "j", wait_s=5)) as after:
            assert after.fence > lock.fence


async def a_token_that_ends(connect, cluster):
    async with await connect(urls_of(cluster)) as kv, await connect(urls_of(cluster)) as elsewhere:
        await kv.login("tok", SECRET)
        watch = await begun(kv.watch("t"))
        await watch.subscribed()
        before = kv.token
        await elsewhere.login("tok", SECRET)
        await elsewhere.logout("tok")
        await kv.put("t", "tok", {"n": 1})
        assert kv.token != before, "it has logged in again by itself"
        assert (await anext(watch)).key == "tok", "and its watch goes on"
        await begun(watch.close())
        with pytest.raises(dynatwist.aio.Unauthorized):
            await elsewhere.get("t", "tok")


async def errors_name_the_request(connect, cluster):
    async with await connect(urls_of(cluster)) as kv:
        await kv.login("err", SECRET)
        with pytest.raises(dynatwist.aio.NotFound) as made:
            await kv.get("t", "nothing")
        assert made.value.request_id.startswith("dk-")
        assert made.value.request_id not in str(made.value)
        with dynatwist.aio.request_id("err-17"):
            await kv.put("t", "k", {})
            with pytest.raises(dynatwist.aio.NotFound) as given:
                await kv.get("t", "nothing")
        assert given.value.request_id == "err-17"
        log = cluster.nodes[0].log.read_text()
        assert "request err-17: data.put is answered 201" in log
        assert "request err-17: data.get is answered 404" in log
        assert made.value.request_id not in log, "it is the client's, and went well"
    with pytest.raises(dynatwist.aio.Unavailable) as unheard:
        await connect("http://127.0.0.1:1", deadline_s=0.05)
    assert str(unheard.value).endswith(f"(request {unheard.value.request_id})")


STORIES = (records, listings, live, a_token_that_ends, errors_name_the_request)


@pytest.mark.processes
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
@pytest_twisted.ensureDeferred
async def test_all_do_the_same(tell, cluster, story):
    await tell(story, cluster)
    admin = cluster.admin_token()
    for table in ("t", "many"):  # the next face finds nothing there
        for key in cluster.nodes[0].request("GET", f"/{table}/keys", token=admin).json:
            cluster.nodes[0].delete(table, key, admin)


async def nodes_that_die(connect, cluster):
    killed, frozen, _ = cluster.nodes
    async with await connect(urls_of(cluster)) as kv:
        await kv.login("die", SECRET)
        watch = await begun(kv.watch("t", prefix="die"))
        await watch.subscribed()
        heard = []
        for number in range(6):
            if number == 2:
                killed.kill()
            if number == 4:
                killed.start()
                frozen.freeze()
            await kv.put("t", f"die{number}", {"n": number}, w="one")
            assert (await kv.get("t", f"die{number}", r="one")).value == {"n": number}
        while len({*heard}) < 6:
            heard.append((await anext(watch)).key)
        frozen.thaw()
        await begun(watch.close())


async def nobody(connect, cluster):
    with pytest.raises(dynatwist.aio.Unavailable):
        await connect(["127.0.0.1:1", "127.0.0.1:2"], deadline_s=1.0)


async def a_private_authority(connect, secure):
    url = f"https://{secure.address}"
    with pytest.raises(dynatwist.aio.Unavailable, match="is not trusted; name the authority's with ca="):
        await connect(url, deadline_s=2)
    with pytest.raises(dynatwist.aio.Unavailable, match="does the node take https"):
        await connect(url.replace("https", "http"), deadline_s=2)
    with pytest.raises((ValueError, OSError), match="hosts"):
        await connect(url, ca="/etc/hosts")
    async with await connect(url, ca=str(secure.folder / "cert.pem")) as kv:
        await kv.login("tls", SECRET)
        async with await begun(kv.watch("t")) as watch:
            await kv.put("t", "k", {"n": 1})
            assert (await anext(watch)).key == "k"


def _takes_connections(node):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", node.port)) == 0


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A node whose certificate nobody knows."""
    made = RealCluster(tmp_path_factory.mktemp("secure"), [])
    node = made.add(*certificate(made.folder))
    wait_until(lambda: _takes_connections(node), 20)
    yield node
    made.close()


@pytest.mark.processes
@pytest_twisted.ensureDeferred
async def test_all_trust_whom_they_are_told_to(tell, secure):
    await tell(a_private_authority, secure)


@pytest.mark.processes
@pytest_twisted.ensureDeferred
async def test_all_go_on_while_nodes_die_and_freeze(tell, cluster):
    await tell(nodes_that_die, cluster)
    cluster.wait_ready()
    await tell(nobody, cluster)
