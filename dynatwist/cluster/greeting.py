"""Whether a node that says who it is may stay: the rules for a greeting on a peer link."""

from __future__ import annotations

from dynatwist.model.registry import Member
from dynatwist.net.messages import WIRE_VERSION, Hello

from .ownership import Ownership


def refusal_of(hello: Hello, me: Member, ownership: Ownership) -> str | None:
    """Why a peer is refused, in a line for people on either side; ``None`` when it may stay."""
    member = hello.member
    if hello.version != WIRE_VERSION:
        return f"wire version {hello.version}; {me.address} speaks {WIRE_VERSION}"
    if not member.is_sound:
        return "that can be no node: its id, address or port"
    if not hello.knows_zones and ownership.registry is not None and ownership.registry.zoned:
        return f"{member.address} runs a release that knows no zones, and the members go by theirs: upgrade it"
    removed = f"{member.address} was removed from the cluster: wipe its data folder to join again"
    theirs, registry = hello.registry, ownership.registry
    if member.node_id in ownership.struck_out and (theirs is None or theirs.find(member.node_id)):
        return removed
    if registry is None or not hello.cluster_id:
        return None
    if hello.cluster_id != registry.cluster_id:
        return (
            f"{member.address} belongs to cluster {hello.cluster_id.hex()[:8]}, {me.address} to "
            f"{registry.cluster_id.hex()[:8]}: wipe the data folder of the one that is to change"
        )
    is_ahead = theirs is not None and theirs.version > registry.version
    if theirs is not None and not is_ahead and theirs.find(member.node_id) and not registry.find(member.node_id):
        return removed
    return None
