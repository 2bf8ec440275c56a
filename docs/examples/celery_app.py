"""Adds, and keeps the sums."""

from celery import Celery

URLS = ["http://127.0.0.1:6671", "http://127.0.0.1:6672"]
app = Celery("sums", broker="memory://", backend="dynatwist.adapters.celery:DynakvBackend")
app.conf.result_backend_transport_options = {"urls": URLS, "user": "web", "secret": "a long secret"}


@app.task
def add(a, b):
    return a + b
