"""As whom an adapter asks, and its client, which is made when it is needed first: a server may fork before that."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from dynatwist.sync import Client


class Account:
    """See the module.

    :param urls: of the nodes.
    :param user: logs in with `secret`; is registered if it is not.
    :param token: instead: a service token, which may do what it was made for.
    :raises ValueError: neither a user with a secret is given, nor a token.
    """

    def __init__(
        self, urls: str | Iterable[str], *, user: str = "", secret: str = "", token: str = "", ca: str | None = None
    ) -> None:
        if not token and not (user and secret):
            raise ValueError("give a user and its secret, or a token")
        self._urls = urls
        self._user, self._secret, self._token, self._ca = user, secret, token, ca
        self._client: Client | None = None
        self._pid = 0
        self._making = threading.Lock()

    @property
    def client(self) -> Client:
        """For this process.

        :raises KvError: the account is refused, or no node answers.
        """
        with self._making:
            if self._client is None or self._pid != os.getpid():
                made = Client(self._urls, ca=self._ca)
                if self._token:
                    made.token = self._token
                else:
                    made.login(self._user, self._secret)
                self._client, self._pid = made, os.getpid()
            return self._client
