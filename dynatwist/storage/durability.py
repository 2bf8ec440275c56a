"""When a write is acknowledged, and when the log syncs it."""

from __future__ import annotations

from enum import Enum


class Durability(Enum):
    """When a write is acknowledged, and synced."""

    FSYNC = "fsync"
    """After fdatasync of its group."""
    INTERVAL = "interval"
    """After write(2); synced every second."""
    NONE = "none"
    """After write(2); synced by the operating system, and at a clean stop."""
