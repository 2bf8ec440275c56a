"""Some nodes on this machine that are one cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from .node import LocalNode

START_TIMEOUT_S = 20.0
"""Three nodes start in two seconds; a busy laptop takes longer."""
STOP_TIMEOUT_S = 10.0
"""A node gives itself five seconds to flush its log."""
LOOK_S = 0.05
"""Between two looks at a node that is to start: it takes a second or two, and a look takes a millisecond."""


class NotStarted(Exception):
    """A node ended, or did not serve in time; the text says which, and where its log is."""


class LocalCluster:
    """See the module; the nodes are numbered from 1.

    :param folder: where all is kept that they have.
    :param options: of ``twistd dynakv``, besides.
    """

    def __init__(self, ports: Sequence[int], folder: str, options: Sequence[str] = ()) -> None:
        self._folder = folder
        self.key_file = os.path.join(folder, "cluster.key")
        self._cuts: set[frozenset[int]] = set()
        self._nodes = [
            LocalNode(port, folder=folder, key_file=self.key_file, seeds=ports[:1], options=options) for port in ports
        ]

    @property
    def urls(self) -> list[str]:
        """Where clients reach them."""
        return [node.url for node in self._nodes]

    @property
    def ports(self) -> list[int]:
        """Theirs."""
        return [node.port for node in self._nodes]

    @property
    def nodes(self) -> list[LocalNode]:
        """All of them."""
        return list(self._nodes)

    def node(self, number: int) -> LocalNode:
        """One of them.

        :raises ValueError: there is none of that number.
        """
        if not 1 <= number <= len(self._nodes):
            raise ValueError(f"there is no node {number}; they are numbered from 1 to {len(self._nodes)}")
        return self._nodes[number - 1]

    def start(self) -> None:
        """Start all, the first one a moment before the others: it makes the key file."""
        for node in self._nodes:
            node.start()

    def restart(self, number: int) -> None:
        """Kill a node if it runs, start it, and wait as `wait_whole` does, or `wait_ready` behind a cut.

        :raises ValueError: there is none of that number.
        :raises NotStarted: it has ended, or it takes too long.
        """
        node = self.node(number)
        node.kill()
        node.start()
        if self._cuts:  # behind a cut it may lack what only the others have
            self.wait_ready()
        else:
            self.wait_whole()

    def partition(self, one: Sequence[int], other: Sequence[int]) -> None:
        """Have nothing pass between two sides, until `heal`: no packet of gossip and no link. Clients reach all nodes.

        Links that are open are broken off, where a network that is cut would say nothing.

        :raises ValueError: there is no node of such a number.
        :raises NotStarted: they go on to reach each other.
        """
        self._cuts |= {frozenset((self.node(a).port, self.node(b).port)) for a in one for b in other}
        self._cut()
        hearing = [node for node in self._nodes if node.is_running and not node.is_frozen]
        cut = {node: {one.port for one in self._nodes if self._is_cut(one, node)} for node in hearing}
        self._wait(lambda: not any(node.reached() & ports for node, ports in cut.items()), hearing, START_TIMEOUT_S)

    def heal(self) -> None:
        """Have everything pass again."""
        self._cuts.clear()
        self._cut()

    def _cut(self) -> None:
        for node in self._nodes:
            node.cut_off([one.port for one in self._nodes if self._is_cut(one, node)])

    def wait_ready(self, goes_on: Callable[[], bool] = lambda: True, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until all that run and are not frozen serve, and reach each other where nothing is cut.

        :param goes_on: asked again and again; once it says no, this returns.
        :raises NotStarted: one has ended, or it takes too long.
        """
        wanted = [node for node in self._nodes if node.is_running and not node.is_frozen]
        pairs = {node: {one.port for one in wanted if not self._is_cut(one, node)} for node in wanted}
        self._wait(
            lambda: not goes_on() or all(node.reached() >= ports for node, ports in pairs.items()), wanted, timeout_s
        )

    def _is_cut(self, one: LocalNode, other: LocalNode) -> bool:
        return frozenset((one.port, other.port)) in self._cuts

    def _wait(self, is_done: Callable[[], bool], wanted: Sequence[LocalNode], timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        while not is_done():
            dead = next((node for node in wanted if not node.is_running), None)
            if dead is not None:
                raise NotStarted(f"the node on port {dead.port} has ended; its log is {dead.log}")
            if time.monotonic() > until_s:
                raise NotStarted(f"the nodes are not ready after {timeout_s:g} s; see the logs in {self._folder}")
            time.sleep(LOOK_S)

    def wait_whole(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until all that run have what they are to have: from then on a test may kill any.

        :raises NotStarted: it takes too long.
        """
        self.wait_ready(timeout_s=timeout_s)
        until_s = time.monotonic() + timeout_s
        while not all(node.is_whole for node in self._nodes if node.is_running and not node.is_frozen):
            if time.monotonic() > until_s:
                raise NotStarted(f"the nodes are not whole after {timeout_s:g} s; see the logs in {self._folder}")
            time.sleep(LOOK_S)

    def stop(self) -> None:
        """End all in order."""
        for node in self._nodes:
            node.thaw()
        for node in self._nodes:
            node.stop(STOP_TIMEOUT_S)
