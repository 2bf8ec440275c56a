"""What is chosen before a command: which nodes, as whom, and how answers are shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chosen:
    """See the module.

    :ivar urls: of the nodes.
    :ivar ca: path of the certificates that are trusted.
    :ivar cert: paths of a certificate to show, and of its key.
    :ivar user: as whom; whoever logged in last where empty.
    :ivar token: instead of a login.
    :ivar output: ``json``, ``yaml``, ``table`` or ``raw``; empty for what a command shows by itself.
    :ivar timeout_s: of each request with all its tries.
    """

    urls: tuple[str, ...]
    ca: str | None = None
    cert: tuple[str, str] | None = None
    user: str = ""
    token: str = ""
    output: str = ""
    timeout_s: float = 30.0
