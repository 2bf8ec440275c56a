"""For tests of programs that use the store: real nodes, as fixtures of pytest."""

from .nodes import Cluster, Node

__all__ = ["Cluster", "Node"]
