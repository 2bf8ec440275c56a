"""What has become of the rows of an import."""

from __future__ import annotations

NAMED = 5
"""Refused rows that are told by name."""


class Tally:
    """Counts of rows so far.

    :ivar written: which nodes have taken.
    :ivar left: whose keys were there, and stay as they were.
    :ivar ended: whose time was over before they could be written.
    :ivar refused: which are no records, or which nodes do not take.
    :ivar first_refused: the first of those, by key, and why.
    """

    def __init__(self) -> None:
        self.written = 0
        self.left = 0
        self.ended = 0
        self.refused = 0
        self.first_refused: list[tuple[str, str]] = []

    @property
    def has_begun(self) -> bool:
        """Whether nodes have taken anything."""
        return bool(self.written or self.left)

    def writes(self, count: int) -> None:
        """So many more were written."""
        self.written += count

    def leaves(self, count: int) -> None:
        """So many more are left as they were."""
        self.left += count

    def ends(self, count: int) -> None:
        """So many more had ended."""
        self.ended += count

    def refuse(self, name: str, why: str) -> None:
        """One more is refused."""
        self.refused += 1
        if len(self.first_refused) < NAMED:
            self.first_refused.append((name, why))

    def said(self) -> str:
        """All of it in one line."""
        ended = f", {self.ended} had ended" if self.ended else ""
        return f"{self.written} written, {self.left} left as they were{ended}, {self.refused} refused"
