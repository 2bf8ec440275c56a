"""Per-user data: everybody has a place of their own in one table, and nobody sees another's.

DYNAKV_ADMIN_PASSWORD=... python per_user_data.py http://127.0.0.1:6661
"""

import os
import sys

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from dynatwist.client import Client, Forbidden


async def main(reactor):
    urls = sys.argv[1:]
    admin, ann, ben = [await Client.connect(reactor, urls) for _ in range(3)]

    # Once, by the administrator. No other rule fits, so all else in the table is the administrator's.
    await admin.login_admin(os.environ["DYNAKV_ADMIN_PASSWORD"])
    own = {"prefix": "{user}/", "read": ["owner"], "create": ["*"], "update": ["owner"], "delete": ["owner"]}
    await admin.call("PUT", "/admin/tables/notes", {"access": [own]})

    await ann.login("ann", "a long secret")
    await ben.login("ben", "another long secret")
    await ann.put("notes", "ann/shopping", {"items": ["tea"]})
    await ben.put("notes", "ben/holidays", {"days": 12})
    print("ann has", await ann.keys("notes"))
    print("ben has", await ben.keys("notes"))

    for what, attempt in {
        "read ann's": ben.get("notes", "ann/shopping"),
        "write in ann's place": ben.put("notes", "ann/letter", {"from": "ben"}),
        "write outside of any": ben.put("notes", "news", {"from": "ben"}),
    }.items():
        try:
            await attempt
        except Forbidden as error:
            print(f"ben may not {what}: {error}")


react(lambda reactor: ensureDeferred(main(reactor)))
