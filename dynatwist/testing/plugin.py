"""The plugin of pytest; installed with the package, it is there without being named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .nodes import Cluster, Node


@pytest.fixture(scope="session")
def dynakv_node() -> Iterator[Node]:
    """A node for all tests of a run. Let each test have tables of its own; leave the node as it is."""
    from .nodes import Node

    node = Node()
    yield node
    node.close()


@pytest.fixture
def dynakv_cluster() -> Iterator[Callable[..., Cluster]]:
    """Starts clusters, for one test: ``cluster = dynakv_cluster(3)``; it may do to them what it likes."""
    from .nodes import Cluster

    made: list[Cluster] = []

    def start(count: int = 3, *options: str) -> Cluster:
        made.append(Cluster(count, options))
        return made[-1]

    yield start
    for cluster in made:
        cluster.close()
