"""Which nodes that a change strikes out will not give what they hold any more: they are gone, or do nothing.

A change of members waits until the nodes that stay have what the others hold. It must not wait for ever: not for a node
that is dead, nor for a node that somebody has captured, who would keep it in the cluster by doing nothing.

Looks and rounds are counted, not seconds: a process that slept must not take its own absence for the other's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

LOST_AFTER_LOOKS = 10
"""A node that is not reached at so many looks in a row, a second apart, is gone. A connection that hangs is given up
after five seconds and dialled anew within two."""
SILENT_ROUNDS = 5
"""So many rounds in a row that a node fails though its link is there: it does not give what it holds. A round that ends
by its timeout of ten seconds counts for two: three of them are enough, and one is not, for it may have been this
process that slept."""
LEAST_S = 0.5
"""Between two failures that count: rounds that are refused at once begin one behind the other."""


class Losses:
    """See the module; of one node's view.

    :param lost_after_looks: see `LOST_AFTER_LOOKS`.
    """

    def __init__(self, lost_after_looks: int = LOST_AFTER_LOOKS) -> None:
        self._lost_after_looks = lost_after_looks
        self._struck_out: frozenset[bytes] = frozenset()
        self._unreached: dict[bytes, int] = {}
        self._failed: dict[bytes, tuple[int, float]] = {}

    def strike_out(self, nodes: frozenset[bytes]) -> None:
        """The nodes that the change under way strikes out; all others are never lost."""
        self._struck_out = nodes
        self._unreached = {node: count for node, count in self._unreached.items() if node in nodes}
        self._failed = {node: failed for node, failed in self._failed.items() if node in nodes}

    def look(self, is_reachable: Callable[[bytes], bool]) -> None:
        """To be called once a second."""
        away = [node for node in self._struck_out if not is_reachable(node)]
        self._unreached = {node: self._unreached.get(node, 0) + 1 for node in away}

    def complete(self, node: bytes) -> None:
        """A round with a node was completed: it gives what it holds."""
        self._failed.pop(node, None)

    def fail(self, node: bytes, now_s: float, timed_out: bool) -> None:
        """A round with a node failed."""
        if node not in self._struck_out:
            return
        count, at_s = self._failed.get(node, (0, 0.0))
        if not count or now_s - at_s >= LEAST_S:
            self._failed[node] = count + (2 if timed_out else 1), now_s

    def is_lost(self, node: bytes) -> bool:
        """Whether nobody need wait for a node any longer."""
        failed, _ = self._failed.get(node, (0, 0.0))
        return self._unreached.get(node, 0) > self._lost_after_looks or failed >= SILENT_ROUNDS

    def among(self, nodes: Collection[bytes]) -> list[bytes]:
        """Those of some nodes that are lost."""
        return [node for node in nodes if self.is_lost(node)]
