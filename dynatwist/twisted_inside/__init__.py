"""The one room for names of Twisted, Klein and Autobahn that they do not document, and may change with any version.

The rules:

1. A name that begins with an underscore, an attribute or a hook that no documentation of the library mentions, and the
   order in which a library does things inside: all that is used here and nowhere else. Other packages use what is
   public, and the plain verbs of these modules.
2. Each such name has a contract in ``tests/test_twisted_inside*.py``: that the installed version has it, and that it
   does what this package relies on. The contract fails with a sentence that says what changed.
3. ``pyproject.toml`` bounds the libraries by the newest versions that the contracts were run against.
4. What a public name can do is done by the public name.

==================  ==================================================================================================
module              what it opens
==================  ==================================================================================================
``http``            where Twisted's HTTP parser stands; reading that stops and goes on; a request's path as it was sent
``sockets``         writing without a turn through the poller; ports that take in only so much in a turn
``tls``             connections that end although the other side never says goodbye; links that send at once
``websocket``       taking a connection over from HTTP; Autobahn's frames and endings
``reactor``         the clock of the timers; the beginning of each turn
``client``          whether a request that failed had left
==================  ==================================================================================================
"""
