"""The same in a script, in an asyncio program, and with Twisted: python three_faces.py URL..."""

import asyncio
import sys
from dataclasses import dataclass

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

import dynatwist.aio
import dynatwist.client
import dynatwist.sync

URLS = sys.argv[1:]


@dataclass
class Session:
    user: str
    visits: int


def with_threads():
    with dynatwist.sync.Client.connect(URLS) as kv:
        kv.login("ann", "a long secret")
        kv.put("sessions", "s1", Session("ann", 1), ttl=3600)
        kv.update("sessions", "s1", lambda held: {**held, "visits": held["visits"] + 1})
        print("threads:", kv.get("sessions", "s1", type=Session).value)


async def with_asyncio():
    async with dynatwist.aio.Client.connect(URLS) as kv:
        await kv.login("ann", "a long secret")
        async with kv.watch("sessions", prefix="s") as changes:
            await kv.patch("sessions", "s1", {"visits": 3})
            change = await anext(changes)
            print("asyncio:", change.type, change.key, change.record.value)


async def with_twisted(reactor):
    async with await dynatwist.client.Client.connect(reactor, URLS) as kv:
        await kv.login("ann", "a long secret")
        print("twisted:", [key async for key in kv.scan("sessions")])


with_threads()
asyncio.run(with_asyncio())
react(lambda reactor: ensureDeferred(with_twisted(reactor)))
