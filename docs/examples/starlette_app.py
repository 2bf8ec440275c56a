"""Counts visits, in a session that is kept on the server."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from dynatwist.adapters.starlette import DynakvSessions

URLS = ["http://127.0.0.1:6671", "http://127.0.0.1:6672"]


async def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse({"visits": request.session["visits"]})


sessions = Middleware(DynakvSessions, urls=URLS, user="web", secret="a long secret")
app = Starlette(routes=[Route("/", visits)], middleware=[sessions])
