"""What somebody may see of what a hub announces."""

from __future__ import annotations

from typing import Protocol

from dynatwist.model.record import Key, Record


class Sight(Protocol):
    """See the module; one object for all subscriptions of a user, so that an event asks once."""

    @property
    def version(self) -> int:
        """Another number when something may be seen otherwise than before."""

    def sees(self, key: Key, record: Record) -> bool:
        """Whether a record may be seen."""


class Everything:
    """Of whoever may see all there is."""

    @property
    def version(self) -> int:
        """See `Sight`."""
        return 0

    def sees(self, key: Key, record: Record) -> bool:
        """See `Sight`."""
        return True


EVERYTHING = Everything()
