"""The nodes that gossip tells of, as this one sees them."""

from __future__ import annotations

from dynatwist.cluster.cluster import Cluster
from dynatwist.membership.members import Peer

from .shapes.status import NodeSeen


def nodes_of(cluster: Cluster) -> dict[str, NodeSeen]:
    """The members by address; of several ids under one address the one that is up."""
    swim = cluster.peers.swim
    found: dict[str, NodeSeen] = {}
    for peer in sorted(swim.roster.everybody() if swim is not None else [], key=lambda peer: not peer.is_up):
        found.setdefault(f"{peer.host}:{peer.port}", _node(cluster, peer))
    return found


def _node(cluster: Cluster, peer: Peer) -> NodeSeen:
    mine = peer.node == cluster.me.node_id
    rtt_ms = None if mine else cluster.links.rtt_ms(peer.node)
    status = cluster.peers.status_of(peer.node)
    registered = cluster.registry.find(peer.node) if cluster.registry is not None else None
    return {
        "status": peer.state.value,
        "accusers": sorted(accuser.hex() for accuser in peer.accusers),
        "version": peer.version,
        "zone": peer.zone or (registered.zone if registered is not None else ""),
        "probe_rtt_ms": round(1000 * peer.rtt_s, 2) if peer.rtt_s is not None else None,
        "id": peer.node.hex(),
        "incarnation": peer.incarnation,
        "peer_port": peer.peer_port,
        "self": mine,
        "registered": cluster.registry is not None and peer.node in cluster.registry.ids,
        "reachable": cluster.peers.is_reachable(peer.node),
        "ready": cluster.standing.is_ready if mine else bool(status is not None and status.ready),
        "rtt_ms": round(rtt_ms, 2) if rtt_ms is not None else None,
    }
