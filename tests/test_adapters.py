"""Sessions, caches and results, by the frameworks themselves, in a cluster of three of which one is killed."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from dynatwist.testing import Cluster

pytestmark = pytest.mark.processes
EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
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

    async def ended_elsewhere(request):
        request.session["visits"] += 1
        for key in kv.keys("sessions"):
            kv.delete("sessions", key)
        return JSONResponse({})

    app = Starlette(routes=[Route("/", visits), Route("/out", out), Route("/nothing", nothing)])
    app.routes.append(Route("/ended", ended_elsewhere))
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
            assert "max-age=0" in (await visitor.get("/ended")).headers["set-cookie"].lower()
            assert kv.keys("sessions") == [], "a session that was ended meanwhile does not come back"
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


class TestTheDocumentation:
    """What docs/examples has, as it stands there, but for the ports."""

    @staticmethod
    def run(name, cluster):
        text = (EXAMPLES / name).read_text()
        for number, url in enumerate(cluster.urls[:2]):
            text = text.replace(f"http://127.0.0.1:{6671 + number}", url)
        held = {"__name__": "example"}
        exec(compile(text, name, "exec"), held)
        return held

    def test_of_django(self, cluster):
        from django.utils.module_loading import import_string

        held = self.run("django_settings.py", cluster)
        assert import_string(f"{held['SESSION_ENGINE']}.SessionStore")
        assert import_string(held["CACHES"]["default"]["BACKEND"])
        assert set(held["DYNAKV"]) == {"urls", *ACCOUNT}, "as the tests above have it"

    def test_of_flask(self, cluster):
        visitor = self.run("flask_app.py", cluster)["app"].test_client()
        assert [visitor.get("/").json["visits"] for _ in range(2)] == [1, 2]

    def test_of_starlette(self, cluster):
        app = self.run("starlette_app.py", cluster)["app"]

        async def story():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as visitor:
                return [(await visitor.get("/")).json()["visits"] for _ in range(2)]

        assert asyncio.run(story()) == [1, 2]

    def test_of_celery(self, cluster):
        app = self.run("celery_app.py", cluster)["app"]
        app.backend.store_result("sum", 3, "SUCCESS")
        assert app.AsyncResult("sum").get(timeout=10) == 3


def test_the_plugin_is_there_where_the_package_is_installed(tmp_path):
    """As somebody who tests a program that uses the store: the example of docs/testing.rst."""
    shutil.copy(EXAMPLES / "test_orders.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert "3 passed" in done.stdout, done.stdout


def test_a_cluster_for_tests(cluster, kv):
    kv.put("t", "k", {"n": 1}, w="all")
    cluster.kill(1)
    cluster.freeze(2)
    assert kv.get("t", "k", r="one").value == {"n": 1}
    cluster.restart(1)
    cluster.thaw(2)
    assert cluster.client("admin", nodes=[3]).call("GET", "/admin/users")
    assert "DynaTwist" in cluster.log(1)
