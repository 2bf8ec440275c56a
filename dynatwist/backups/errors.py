"""What is wrong with a backup."""

from __future__ import annotations

from dynatwist.errors import DynakvError


class BackupError(DynakvError):
    """A file that is no backup, is damaged, or is sealed with another key."""
