"""Since when this node uses its cluster secret, as far as it knows.

Members agree on each step of a replacement, and on when: that is what counts. Once the next replacement has begun, they
remember that one alone; then it is what this process has seen itself, to the second.
"""

from __future__ import annotations

import msgspec

from dynatwist.agreement.rotation import TURN
from dynatwist.storage.store import Store

from ..context import Context


class _Step(msgspec.Struct):
    """The last step of a rotation, and the secret that it was about."""

    step: str
    name: str


class InUse:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._name = ""
        self._seen_ms = 0

    def look(self) -> None:
        """A second has passed, or about that."""
        name = self._context.secrets()[0]
        if self._name not in ("", name):
            self._seen_ms = self._context.cluster.runtime.wall_ms()
        self._name = name

    def since_ms(self) -> int:
        """By the wall clock; 0 where it was in use already when this process began."""
        return agreed_ms(self._context.cluster.store, self._context.secrets()[0]) or self._seen_ms


def agreed_ms(store: Store, name: str) -> int:
    """When the members agreed to use a secret; 0 where that is not the last thing that they agreed on."""
    record = store.held(TURN)
    if record is None or record.value is None:
        return 0
    said = msgspec.json.decode(record.value, type=_Step)
    return record.stamp.ms if said.name == name and said.step != "install" else 0
