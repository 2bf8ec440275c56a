"""What the parts of a node count, by names of `dynatwist.figures`."""

from __future__ import annotations

from dynatwist.agreement.voting import Voting
from dynatwist.audit_log import AuditLog
from dynatwist.auth.tickets import Tickets
from dynatwist.cluster.peers import Peers
from dynatwist.metrics import Durations, Metrics, Values
from dynatwist.net.gossip import GossipPort
from dynatwist.repair.repair import Repair
from dynatwist.scheduled.rounds import ScheduledBackups
from dynatwist.storage.room import DiskRoom
from dynatwist.storage.snapshot import ColdSaver
from dynatwist.storage.wal import Wal
from dynatwist.tracing.tracer import Tracer


def metrics_of(version: str, log_groups: Durations, rounds: Durations, lag: Durations) -> Metrics:
    """What tells Prometheus, with the histograms that parts of the node fill."""
    metrics = Metrics(version)
    metrics.tell_durations("log_group_seconds", "From a group of the log to its fsync", log_groups)
    metrics.tell_durations("anti_entropy_round_seconds", "Comparison with another owner", rounds)
    metrics.tell_durations("replication_lag_seconds", "Age of writes when another owner sends them here", lag)
    return metrics


def counters_of(
    *,
    repair: Repair,
    room: DiskRoom,
    wal: Wal,
    saver: ColdSaver,
    peers: Peers,
    gossip: GossipPort,
    audit_log: AuditLog,
    tickets: Tickets,
    voting: Voting,
    backups: ScheduledBackups | None,
    tracer: Tracer,
) -> dict[str, Values]:
    """By name, as of now."""
    links, doors = peers.links, peers.links.doors
    return {
        "anti_entropy_rounds": repair.rounds,
        "partitions_to_hand_off": len(repair.surplus()),
        "disk_free_bytes": room.free_bytes,
        "disk_reserve_bytes": room.reserve_bytes,
        "disk_is_low": int(room.is_low),
        "log_is_stuck": int(bool(wal.stuck)),
        "log_since_save_bytes": saver.log_bytes,
        "log_groups": wal.segments.groups,
        "log_written_bytes": wal.segments.bytes_written,
        "log_waiting_bytes": wal.gathered_bytes,
        "cold_saves": saver.saves,
        "cold_save_failures": saver.failures,
        "peer_links": len(links.linked()),
        "peer_links_limit": doors.limits.links,
        "peer_handshakes": len(doors),
        "peer_handshakes_limit": doors.limits.handshakes,
        "peer_handshakes_per_address_limit": doors.limits.handshakes_per_address,
        "peer_handshakes_dropped": doors.dropped,
        "peer_connections_refused": doors.refused,
        "peer_calls_refused": peers.switchboard.refused,
        "peer_dials_put_off": links.dialler.dials.put_off,
        "gossip_packets_sent": gossip.packets_sent,
        "gossip_packets_received": gossip.packets_received,
        "gossip_packets_dropped": gossip.codec.dropped,
        "gossip_packets_ignored": gossip.codec.ignored,
        "gossip_packets_unsent": gossip.packets_unsent,
        "audit_lines_dropped": audit_log.lines_dropped,
        "tickets_not_remembered": tickets.not_remembered,
        "spans_dropped": tracer.dropped,
        "registers_not_known_to_be_chosen": voting.unlearnt,
        **(_of_backups(backups) if backups is not None else {}),
    }


def _of_backups(backups: ScheduledBackups) -> dict[str, Values]:
    return {
        "backups_made": backups.made,
        "backups_failed": backups.failed,
        "backup_is_failing": int(backups.is_failing),
        "backup_last_made_timestamp_seconds": backups.last_s,
    }
