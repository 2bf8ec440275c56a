"""Nodes for a test: started, killed, frozen and thawed at will."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence

from dynatwist.local.cluster import LocalCluster
from dynatwist.local.ports import choose_ports
from dynatwist.storage.keyfile import load_or_create
from dynatwist.sync import Client

FIRST_PORT = 21_000
"""Peers' ports, 10,000 above, are below those that the system gives to outgoing connections (32,768 on Linux)."""
PORTS_A_PROCESS = 100
"""Several processes of tests may run side by side (pytest-xdist)."""


class Cluster:
    """Some nodes; numbered from 1.

    :param options: of ``twistd dynakv``, besides.
    :raises RuntimeError: there are not enough free ports.
    :raises NotStarted: a node did not start; the text says where its log is.
    """

    def __init__(self, count: int, options: Sequence[str] = ()) -> None:
        ports = choose_ports(count, FIRST_PORT + os.getpid() % 10 * PORTS_A_PROCESS)
        if len(ports) < count:
            raise RuntimeError(f"there are not {count} free ports from {FIRST_PORT} on")
        self._folder = tempfile.mkdtemp(prefix="dynakv-test-")
        self._local = LocalCluster(ports, self._folder, ["--durability", "none", *options])
        try:
            self._local.start()
            self._local.wait_whole()
        except BaseException:
            self._local.stop()
            raise

    @property
    def urls(self) -> list[str]:
        """Of all nodes."""
        return self._local.urls

    @property
    def admin_password(self) -> str:
        """The administrator's."""
        return load_or_create(self._local.key_file)[0].admin_password()

    def client(self, user: str = "test", secret: str = "", *, nodes: Sequence[int] = ()) -> Client:
        """A client that is logged in; ``admin`` is the administrator. Who gives no secret has one by the name.

        :param nodes: the only ones that it asks; all without them.
        """
        client = Client.connect([self._local.node(number).url for number in nodes] or self.urls)
        if user == "admin":
            client.login_admin(self.admin_password)
        else:
            client.login(user, secret or f"{user} of a test")
        return client

    def kill(self, number: int) -> None:
        """End a node as a power cut would: ``kill -9``."""
        self._local.node(number).kill()

    def freeze(self, number: int) -> None:
        """Have a node do nothing at all, until it is thawed."""
        self._local.node(number).freeze()

    def thaw(self, number: int) -> None:
        """Have it go on."""
        self._local.node(number).thaw()

    def restart(self, number: int) -> None:
        """Start a node anew, with what it had on its disk, and wait until it has all that it missed."""
        self._local.restart(number)

    def partition(self, one: Sequence[int], other: Sequence[int]) -> None:
        """Have nothing pass between two sides of the cluster, gossip (UDP) and links (TCP), until `heal`.

        Clients go on to reach all nodes. Needs no root: the nodes themselves refuse to send. Open links are broken off,
        where a network that is cut would say nothing; for that silence, freeze a node.
        """
        self._local.partition(one, other)

    def heal(self) -> None:
        """Have everything pass again, and wait until all nodes that are not killed or frozen reach each other.

        :raises NotStarted: they do not, in time.
        """
        self._local.heal()
        self._local.wait_ready()

    def log(self, number: int) -> str:
        """What a node has logged."""
        with open(self._local.node(number).log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def close(self) -> None:
        """Stop all, and remove what they had."""
        self._local.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


class Node(Cluster):
    """A cluster of one."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        super().__init__(1, options)

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return self.urls[0]
