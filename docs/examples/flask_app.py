"""Counts visits, in a session that is kept on the server."""

from flask import Flask, session

from dynatwist.adapters.flask import DynakvSessions

URLS = ["http://127.0.0.1:6671", "http://127.0.0.1:6672"]
app = Flask(__name__)
app.session_interface = DynakvSessions(app, URLS, user="web", secret="a long secret")


@app.get("/")
def visits():
    session["visits"] = session.get("visits", 0) + 1
    return {"visits": session["visits"]}
