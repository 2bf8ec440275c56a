"""What a node tells Prometheus besides its histograms: each figure's name, kind, unit and meaning, in one place.

Names are those of Prometheus' conventions: base units, ``_total`` behind whatever only grows, and a label where
several figures of one sort have a name each. `docs/monitoring.rst` shows this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a figure moves."""

    COUNTER = "counter"
    """It only grows while the process lives; its name ends with ``_total``."""
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    :ivar name: without ``dynakv_``, and without ``_total``.
    :ivar label: of its values, if it has several; empty if it has one.
    """

    name: str
    kind: Kind
    text: str
    label: str = ""

    @property
    def full_name(self) -> str:
        """As Prometheus stores it."""
        return f"dynakv_{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"


def _counter(name: str, text: str, label: str = "") -> Figure:
    return Figure(name, Kind.COUNTER, text, label)


def _gauge(name: str, text: str, label: str = "") -> Figure:
    return Figure(name, Kind.GAUGE, text, label)


FIGURES = (
    # Data
    _gauge("keys", "Live keys held here"),
    _gauge("tables", "Tables with live keys held here"),
    _gauge("store_bytes", "Memory of records held here, by account"),
    _gauge("store_limit_bytes", "Memory for records (--max-memory); writes that add get 507 beyond"),
    _counter("conflicts", "Concurrent writes of one key that were merged"),
    _gauge("conflicts_kept", "Losers of such writes that may be looked at"),
    _gauge("conflicts_kept_bytes", "Memory of those"),
    _counter("conflicts_dropped", "Losers that were not kept, for want of room"),
    _gauge("tombstones", "Deleted and expired keys that are remembered still"),
    # Replicas
    _gauge("hints", "Keys that an absent owner has missed, and is told when it is back"),
    _counter("hints_dropped", "Hints given up for want of room; rounds find what they were for"),
    _gauge("partitions_not_whole", "Partitions of which this node does not hold all, and fetches the rest"),
    _gauge("partitions_lacking_owners", "Partitions owned here of which some owner cannot be reached"),
    _gauge("partitions_without_majority", "Partitions owned here of which no majority of owners can be reached"),
    _gauge("partitions_to_hand_off", "Partitions held here and not owned any more, of which owners may lack something"),
    _counter("anti_entropy_rounds", "Comparisons with other owners"),
    _counter("anti_entropy_alarms", "Comparisons that found what must not be: a defect, or somebody's doing"),
    _gauge("registers_not_known_to_be_chosen", "Agreed writes accepted here of which nothing more was heard yet"),
    _gauge("yields", "Whether other owners go first: 1 since the log is slow here, 2 since there is no room"),
    # Log and disk
    _counter("log_groups", "Groups of entries written to the log, each with one fsync"),
    _counter("log_written_bytes", "Bytes written to the log"),
    _gauge("log_waiting_bytes", "Bytes that wait for the group under way"),
    _gauge("log_is_stuck", "Whether the disk takes nothing"),
    _gauge("log_since_save_bytes", "Log that a start would have to read, since the last cold save"),
    _counter("cold_saves", "Cold saves made"),
    _counter("cold_save_failures", "Cold saves that the disk did not take"),
    _gauge("disk_free_bytes", "Free on the disk of the data folder"),
    _gauge("disk_reserve_bytes", "Below so much (--disk-reserve) writes that add get 507"),
    _gauge("disk_is_low", "Whether less than the reserve is free"),
    # Members
    _gauge("members", "Members, by what this node believes of them", "state"),
    _gauge("members_registered", "Members by the registry"),
    _gauge("members_unreachable", "Of those, how many cannot be asked by this node"),
    _gauge("registry_version", "Changes of members so far"),
    _gauge("registry_is_changing", "Whether members change now, and data move"),
    _gauge("is_ready", "Whether this node serves clients"),
    _gauge("clock_is_refused", "Whether writes are refused since this node's clock is off"),
    _gauge("gossip_awareness", "Lifeguard's score: 0 where this node is healthy itself"),
    _counter("gossip_suspected", "Times that this node suspected others"),
    _counter("gossip_refutations", "Times that this node was suspected, and said it lives"),
    _gauge("gossip_news", "News of members that wait to be passed on"),
    _gauge("gossip_round_trip_seconds", "Usual round trip of a probe"),
    _counter("gossip_packets_sent", "Packets sent"),
    _counter("gossip_packets_unsent", "Packets that the network did not take"),
    _counter("gossip_packets_received", "Packets received and believed"),
    _counter("gossip_packets_dropped", "Packets that were not sealed by a member for this node"),
    _counter("gossip_packets_ignored", "Packets of an earlier process, or older than half a second"),
    # Between nodes
    _gauge("peer_links", "Connections with other nodes"),
    _gauge("peer_links_limit", "Bound on those (--max-peer-links)"),
    _gauge("peer_handshakes", "Connections on the peer port that have not greeted yet"),
    _gauge("peer_handshakes_limit", "Bound on those (--max-peer-handshakes)"),
    _gauge("peer_handshakes_per_address_limit", "Bound on those of one address"),
    _counter("peer_handshakes_dropped", "Of those, given up to make room"),
    _counter("peer_connections_refused", "Connections on the peer port that were refused"),
    _counter("peer_calls_refused", "Messages of nodes that are no members"),
    _counter("peer_dials_put_off", "Dials put off since too many failed"),
    # Clients
    _gauge("sse_connections", "Event streams open"),
    _gauge("websocket_connections", "Websockets open"),
    _gauge("subscriptions", "Subscriptions of event streams and websockets"),
    _gauge("budget_spent", "What clients have of a bounded thing", "budget"),
    _gauge("budget_limit", "How much of it there is", "budget"),
    _gauge("budget_share_limit", "How much of it one client may have", "budget"),
    _counter("budget_refused", "Requests for more of it that were refused", "budget"),
    _counter("tickets_not_remembered", "One-time tickets refused for want of room to remember them"),
    _counter("audit_lines_dropped", "Lines that the audit log's disk did not take"),
    _counter("spans_dropped", "Spans of traces that no collector took, or for which there was no room"),
    # Certificates and backups
    _gauge("tls_certificate_end_timestamp_seconds", "When the certificate that clients are shown ends"),
    _counter("backups_made", "Scheduled backups made"),
    _counter("backups_failed", "Scheduled backups that failed"),
    _gauge("backup_is_failing", "Whether the last one failed"),
    _gauge("backup_last_made_timestamp_seconds", "When the last one was made"),
)
"""All of them, in the order in which people read them."""

BY_NAME = {figure.name: figure for figure in FIGURES}
