"""Links that a retired secret has authenticated: each answers what it was asked, is replaced meanwhile, and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dynatwist.runtime import Runtime

from .link import PeerLink

RENEW_S = (0.1, 0.3)
"""When such a link is replaced: once the other end has retired the secret too."""
RETIRE_S = 0.8
"""How long such a link goes on: what was asked on it is answered meanwhile, on both ends."""


class Retiring:
    """See the module.

    :param renew: has a node dialled, if its link is still one of these.
    """

    def __init__(self, runtime: Runtime, renew: Callable[[bytes], None]) -> None:
        self._runtime = runtime
        self._renew = renew
        self._secrets: tuple[str, ...] | None = None
        self._ending: set[PeerLink] = set()

    def __contains__(self, link: PeerLink | None) -> bool:
        """Whether a link is about to end."""
        return link in self._ending

    def go_by(self, secrets: tuple[str, ...], links: Iterable[PeerLink]) -> None:
        """The names of the cluster's secrets from now on, and all links that there are."""
        self._secrets = secrets
        for link in [link for link in links if self.is_outdated(link)]:
            self.end(link)
            if link.peer is not None:
                wait_s = self._runtime.random.uniform(*RENEW_S)
                self._runtime.clock.callLater(wait_s, self._renew, link.peer.member.node_id)

    def is_outdated(self, link: PeerLink) -> bool:
        """Whether a secret that was retired has authenticated a link."""
        return self._secrets is not None and not link.secrets.issubset(self._secrets)

    def end(self, link: PeerLink) -> None:
        """Let a link answer what it was asked, and no more."""
        if link not in self._ending:
            self._ending.add(link)
            self._runtime.clock.callLater(RETIRE_S, link.abort)

    def gone(self, link: PeerLink) -> None:
        """A link has ended."""
        self._ending.discard(link)
