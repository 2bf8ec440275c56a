"""Who is let in, of the peers that have said who they are.

A *guest* is a peer that has the cluster key and is no member: one that wants to join, or was struck out. There are only
so many, and the oldest one goes.
"""

from __future__ import annotations

from collections.abc import Mapping

from dynatwist.sometimes import sometimes

from .above import Members
from .link import PeerLink
from .lives import Lives
from .messages import Hello

MAX_GUESTS = 64
"""Links of nodes that are no members, in a cluster that was founded: more do not join at once."""


class Admission:
    """See the module.

    :param node_id: of this node.
    :param lives: which processes of each node were met.
    """

    def __init__(self, node_id: bytes, members: Members, lives: Lives) -> None:
        self._node_id = node_id
        self._members = members
        self._lives = lives

    def refusal(self, link: PeerLink, hello: Hello) -> str | None:
        """Why a peer is refused whoever else is linked, or ``None``."""
        node = hello.member.node_id
        if link.certified is not None and link.certified.node_id != node:
            return "the certificate names another node"
        if node == self._node_id:
            return "that is this node's own id: was its data folder copied?"
        return self._lives.refusal(hello) or self._members.judge(hello)

    def make_room(self, node: bytes, links: Mapping[bytes, PeerLink], most: int) -> str | None:
        """Have a guest go where there is no room for one more peer; why there is none, or ``None``.

        :param most: how many links there may be.
        """
        if node in links:
            return None
        guests = [link for link in links.values() if not link.is_served] if self._members.is_founded else []
        is_full = len(links) >= most
        if is_full and not guests:
            return f"this node has {len(links)} links, which is its --max-peer-links"
        if is_full or (len(guests) >= MAX_GUESTS and not self._members.is_served(node)):
            sometimes("a guest has to go, since there are too many")
            min(guests, key=lambda link: link.began_s).abort()
        return None
