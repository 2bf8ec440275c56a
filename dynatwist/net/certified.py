"""What the two certificates of a connection between nodes say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Certified:
    """See the module.

    :ivar node_id: that the peer's names; empty when it names none, and no node has that.
    :ivar secrets: the names of the cluster's secrets that both are by; none when one of them cannot be read.
    """

    node_id: bytes
    secrets: frozenset[str]
