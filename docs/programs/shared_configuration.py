"""Shared configuration: operators change it, and every program has it at hand.

DYNAKV_ADMIN_PASSWORD=... python shared_configuration.py http://127.0.0.1:6661 http://127.0.0.1:6662
"""

import os
import sys

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from dynatwist.client import Client, Forbidden


async def main(reactor):
    urls = sys.argv[1:]
    olga, web, admin = [await Client.connect(reactor, urls) for _ in range(3)]
    await olga.login("olga", "a long secret")
    await web.login("web", "another long secret")

    # Once, by the administrator: everybody reads, operators write.
    await admin.login_admin(os.environ["DYNAKV_ADMIN_PASSWORD"])
    await admin.call("PUT", "/admin/groups/operators", {"members": ["olga"]})
    rule = {"prefix": "", "read": ["*"], "write": ["group:operators"]}
    await admin.call("PUT", "/admin/tables/config", {"access": [rule]})

    # Each program keeps a copy, which is current by itself, over restarts of nodes too.
    async with web.mirror("config", prefix="web/") as config:
        changes = config.changes()
        await olga.put("config", "web/limit", {"requests": 100})  # what an operator does, elsewhere
        change = await anext(changes)
        print(change.key, "is", config["web/limit"].value)

        await olga.patch("config", "web/limit", {"requests": 200})
        await anext(changes)
        print("web/limit is", config["web/limit"].value)

        try:
            await web.put("config", "web/limit", {"requests": 10**6})
        except Forbidden as error:
            print("web may not:", error)


react(lambda reactor: ensureDeferred(main(reactor)))
