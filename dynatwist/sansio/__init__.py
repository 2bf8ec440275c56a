"""What a client decides, without I/O: which node to ask, what may be sent again, how to go on after a lost connection.

A face (`dynatwist.client` for Twisted, `dynatwist.aio` for asyncio) gives it a `World`: sockets, a clock, randomness.
"""
