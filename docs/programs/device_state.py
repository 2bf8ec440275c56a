"""Device state: sensors report with a token of their own, and whoever watches hears when one falls silent.

DYNAKV_ADMIN_PASSWORD=... python device_state.py http://127.0.0.1:6661
"""

import os
import sys

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater, react

from dynatwist.client import Client

BETWEEN_REPORTS_S = 1


async def report(reactor, kv, sensor, readings):
    """What runs on a sensor: a record that lives for twice the time between two reports."""
    for reading in readings:
        await kv.put("devices", f"sensor/{sensor}", {"celsius": reading}, ttl=2 * BETWEEN_REPORTS_S)
        await deferLater(reactor, BETWEEN_REPORTS_S)


async def main(reactor):
    urls = sys.argv[1:]
    admin, sensors, watcher = [await Client.connect(reactor, urls) for _ in range(3)]

    # Once, by the administrator: one token for the sensors, and one for whoever watches.
    await admin.login_admin(os.environ["DYNAKV_ADMIN_PASSWORD"])
    for client, name, rights in ((sensors, "sensors", ["read", "write"]), (watcher, "watcher", ["read"])):
        access = [{"table": "devices", "prefix": "sensor/", "rights": rights}]
        answer = await admin.call("POST", "/admin/tokens", {"name": name, "access": access, "lifetime": None})
        client.token = answer["token"]

    watch = watcher.watch("devices", prefix="sensor/")
    await watch.subscribed()
    ensureDeferred(report(reactor, sensors, 1, [21.5, 22.0]))
    async for change in watch:
        if change.type == "Updated":
            print(change.key, "reports", change.record.value["celsius"], "as", change.record.owner)
        elif change.reason == "expired":
            print(change.key, "has fallen silent")
            return


react(lambda reactor: ensureDeferred(main(reactor)))
