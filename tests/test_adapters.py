"""Sessions, caches and results, by the frameworks themselves, in a cluster of three of which one is killed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time

import httpx
import pytest

from dynatwist.testing import Cluster

pytestmark = pytest.mark.processes
ACCOUNT = {"user": "web", "secret": "a long secret"}


@pytest.fixture(scope="module")
def cluster():
    made = Cluster(3)
    yield made
    made.close()


@pytest.fixture(scope="module")
def kv(cluster):
    return cluster.client(**ACCOUNT)


@pytest.fixture(scope="module")
def django(cluster):
    """Django, set up once a process."""
    import django
    from django.conf import settings

    settings.configure(
        DYNAKV={"urls": cluster.urls, **ACCOUNT},
        SESSION_ENGINE="dynatwist.adapters.django_sessions",
        CACHES={"default": {"BACKEND": "dynatwist.adapters.django.DynakvCache", "TIMEOUT": 60}},
        SECRET_KEY="not a secret",
        ROOT_URLCONF="tests.test_adapters",
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        USE_TZ=True,
    )
    django.setup()
    return django


def count(request):
    """A view of Django's."""
    from django.http import JsonResponse

    request.session["visits"] = request.session.get("visits", 0) + 1
    if "out" in request.GET:
        request.session.flush()
    return JsonResponse({"visits": request.session.get("visits", 0)})


def __getattr__(name):
    if name == "urlpatterns":
        from django.urls import path

        return [path("", count)]
    raise AttributeError(name)


class TestDjango:
    def test_sessions(self, django, kv, cluster):
        from django.test import Client

        visitor, other = Client(), Client()
        assert [visitor.get("/").json()["visits"] for _ in range(3)] == [1, 2, 3]
        assert other.get("/").json()["visits"] == 1
        (key,) = [one for one in kv.keys("django_sessions") if one == visitor.cookies["sessionid"].value]
        assert kv.get("django_sessions", key).expires_at / 1000 - time.time() > 13 * 86_400
        cluster.kill(1)
        assert visitor.get("/").json()["visits"] == 4, "a node is gone, and nobody is logged out"
        cluster.restart(1)
        visitor.get("/?out")
        assert key not in kv.keys("django_sessions")
        assert visitor.get("/").json()["visits"] == 1

    def test_a_session_that_was_ended_elsewhere_does_not_come_back(self, django, kv):
        from django.contrib.sessions.backends.base import UpdateError

        from dynatwist.adapters.django_sessions import SessionStore

        store = SessionStore()
        store["n"] = 1
        store.save()
        again = SessionStore(store.session_key)
        assert again["n"] == 1
        kv.delete("django_sessions", store.session_key)
        again["n"] = 2
        with pytest.raises(UpdateError):
            again.save()
        assert SessionStore(store.session_key).load() == {}

    def test_the_cache(self, django, kv):
        from django.core.cache import cache

        cache.set("a", {"deep": (1, "two")})
        cache.set_many({"b": 2, "c": None})
        assert (cache.get("a"), cache.get("none", 7)) == ({"deep": (1, "two")}, 7)
        assert cache.get_many(["a", "b", "c", "d"]) == {"a": {"deep": (1, "two")}, "b": 2, "c": None}
        assert (cache.add("b", 3), cache.add("e", 5), cache.get("b")) == (False, True, 2)
        assert (cache.delete("e"), cache.delete("e"), "e" in cache) == (True, False, False)
        assert cache.touch("b", 1000)
        assert not cache.touch("none", 10)
        cache.set("b", 2, timeout=0)
        assert cache.get("b") is None
        with pytest.raises(ValueError, match="not found"):
            cache.incr("none")
        cache.set("n", 0, timeout=500)
        threads = [threading.Thread(target=lambda: [cache.incr("n") for _ in range(5)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert cache.get("n") == 20
        (name,) = kv.keys("django_cache", ":1:n")
        assert 400 < kv.get("django_cache", name).expires_at / 1000 - time.time() < 501, "it ends when it had to"
        cache.clear()
        assert kv.keys("django_cache") == []


def test_flask(cluster, kv):
    from flask import Flask, session

    from dynatwist.adapters.flask import DynakvSessions

    app = Flask(__name__)
    app.session_interface = DynakvSessions(app, cluster.urls, **ACCOUNT)

    @app.get("/")
    def visits():
        session["visits"] = session.get("visits", 0) + 1
        return {"visits": session["visits"]}

    @app.get("/out")
    def out():
        session.clear()
        return {}

    visitor, other = app.test_client(), app.test_client()
    assert [visitor.get("/").json["visits"] for _ in range(2)] == [1, 2]
    assert other.get("/").json["visits"] == 1
    assert len(kv.keys("flask_sessions")) == 2
    visitor.get("/out")
    assert len(kv.keys("flask_sessions")) == 1
    assert visitor.get("/").json["visits"] == 1


def test_starlette(cluster, kv):
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from dynatwist.adapters.starlette import DynakvSessions

    async def visits(request):
        request.session["visits"] = request.session.get("visits", 0) + 1
        return JSONResponse({"visits": request.session["visits"]})

    async def out(request):
        request.session.clear()
        return JSONResponse({})

    async def nothing(request):
        return JSONResponse({})

    app = Starlette(routes=[Route("/", visits), Route("/out", out), Route("/nothing", nothing)])
    app.add_middleware(DynakvSessions, urls=cluster.urls, **ACCOUNT)

    async def story():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as visitor:
            assert "set-cookie" not in (await visitor.get("/nothing")).headers, "nobody has a session for nothing"
            assert [(await visitor.get("/")).json()["visits"] for _ in range(2)] == [1, 2]
            cookie = (await visitor.get("/")).headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=lax" in cookie
            assert len(kv.keys("sessions")) == 1
            await visitor.get("/out")
            assert kv.keys("sessions") == []
            assert (await visitor.get("/")).json()["visits"] == 1
            made_up = await httpx.AsyncClient(transport=transport).get(
                "http://app/", headers={"Cookie": "session=guess"}
            )
            assert made_up.json()["visits"] == 1
            assert "guess" not in kv.keys("sessions"), "an id that a stranger chose is no session"

    asyncio.run(story())


def test_celery(cluster, kv):
    from celery import Celery

    app = Celery(
        "app",
        broker="memory://",
        backend="dynatwist.adapters.celery:DynakvBackend",
        result_backend_transport_options={"urls": cluster.urls, **ACCOUNT},
        task_always_eager=False,
    )
    app.backend.store_result("one", {"n": 1}, "SUCCESS")
    app.backend.store_result("two", ValueError("no"), "FAILURE")
    assert app.AsyncResult("one").get(timeout=10) == {"n": 1}
    with pytest.raises(ValueError, match="no"):
        app.AsyncResult("two").get(timeout=10)
    assert app.AsyncResult("none").state == "PENDING"
    (key,) = [one for one in kv.keys("celery_results") if one.endswith("one")]
    assert kv.get("celery_results", key).expires_at / 1000 - time.time() > 80_000
    app.AsyncResult("one").forget()
    assert app.AsyncResult("one").state == "PENDING"


def test_what_is_missing_is_told_at_once(cluster):
    from dynatwist.adapters.account import Account
    from dynatwist.adapters.starlette import DynakvSessions

    for make in (lambda: Account(cluster.urls, user="web"), lambda: DynakvSessions(None, urls=cluster.urls)):
        with pytest.raises(ValueError, match="give a user and its secret, or a token"):
            make()


def test_the_plugin_is_there_where_the_package_is_installed(tmp_path):
    """As somebody who tests a program that uses the store."""
    (tmp_path / "test_program.py").write_text(
        textwrap.dedent(
            """
            def test_a_node(dynakv_node):
                kv = dynakv_node.client()
                kv.put("t", "k", {"n": 1})
                assert kv.get("t", "k").value == {"n": 1}
                assert dynakv_node.client("admin").call("GET", "/admin/users")
                assert dynakv_node.url in dynakv_node.urls

            def test_a_cluster(dynakv_cluster):
                cluster = dynakv_cluster(3)
                kv = cluster.client()
                kv.put("t", "k", {"n": 1}, w="all")
                cluster.kill(1)
                cluster.freeze(2)
                assert kv.get("t", "k", r="one").value == {"n": 1}
                cluster.thaw(2)
                cluster.restart(1)
                assert len(kv.members()["nodes"]) == 3
                assert "DynaTwist" in cluster.log(1)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert "2 passed" in done.stdout, done.stdout
