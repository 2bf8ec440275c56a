"""The table of settings, from which the options, the file and the environment are all read: one row for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import texts


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    :ivar name: as an option, without the dashes.
    :ivar attribute: of `NodeConfig`, or of `Limits` when it begins with ``limits.``.
    :ivar is_option: whether it can be given on the command line (a password must not).
    """

    name: str
    attribute: str
    read: Callable[[str], Any]
    help: str
    is_switch: bool = False
    is_list: bool = False
    is_option: bool = True


SETTINGS = (
    Setting("port", "port", texts.port, "HTTP on TCP, gossip on UDP"),
    Setting("interface", "interface", texts.ip, "address bound"),
    Setting("advertise", "advertise", texts.host, "where peers reach this node"),
    Setting("peer-port", "peer_port", texts.port, "node-to-node TCP (default: port + 10000)"),
    Setting("join", "join", texts.address, "HOST:PORT of a seed node; repeatable", is_list=True),
    Setting("zone", "zone", texts.zone, "where the node runs, such as a rack: copies lie in different ones"),
    Setting("data-dir", "data_dir", texts.path, "everything the node keeps"),
    Setting("tls-cert", "tls_cert", texts.path, "certificate chain (PEM) for HTTPS and wss"),
    Setting("tls-key", "tls_key", texts.path, "its private key (PEM)"),
    Setting("tls-client-ca", "tls_client_ca", texts.path, "authorities (PEM) whose certificates name users"),
    Setting(
        "tls-client-cert",
        "tls_client_cert_required",
        texts.client_cert,
        "optional or required: certificates of clients",
    ),
    Setting("key-file", "key_file", texts.path, "the cluster's secrets"),
    Setting("replicas", "replicas", texts.whole(1, 9), "N, copies of each key"),
    Setting("lone-after", "lone_after_s", texts.seconds(0), "seconds after which a restarted node serves alone"),
    Setting("durability", "durability", texts.durability, "fsync, interval or none"),
    Setting("snapshot-interval", "snapshot_interval_s", texts.seconds(0.1), "seconds between cold saves"),
    Setting("private-status", "private_status", texts.switch, "status only for the administrator", is_switch=True),
    Setting("anonymous-read", "anonymous_read", texts.switch, "reading without a token", is_switch=True),
    Setting("registration", "registration", texts.registration, "open or closed: who may register"),
    Setting(
        "cors-origin", "cors_origins", texts.origin, "origin whose pages may use the node; repeatable", is_list=True
    ),
    Setting("host-name", "host_names", texts.host, "name that browsers may use for the node; repeatable", is_list=True),
    Setting(
        "trusted-proxy",
        "trusted_proxies",
        texts.network,
        "address or network of proxies whose X-Forwarded-For counts",
        is_list=True,
    ),
    Setting(
        "klein-only", "klein_only", texts.switch, "all requests through Klein, none in the fast lane", is_switch=True
    ),
    Setting("token-lifetime", "token_lifetime_s", texts.whole(1, 10**9), "seconds a token is good"),
    Setting("tombstone-grace", "tombstone_grace_s", texts.seconds(0), "seconds a tombstone is kept at least"),
    Setting("max-value", "limits.value_bytes", texts.whole(1, 16 << 20), "bytes of a value"),
    Setting("max-key", "limits.key_bytes", texts.whole(1, 8192), "bytes of a key"),
    Setting("max-table", "limits.table_bytes", texts.whole(1, 1024), "bytes of a table name"),
    Setting("max-depth", "limits.json_depth", texts.whole(1, 500), "nesting of JSON"),
    Setting("max-header", "limits.header_bytes", texts.whole(1024, 1 << 20), "bytes of a head"),
    Setting("max-memory", "limits.store_bytes", texts.whole(1 << 20, 1 << 50), "bytes of records"),
    Setting("max-connections", "limits.connections", texts.count, "connections of clients (default: by descriptors)"),
    Setting(
        "max-address-connections", "limits.address_connections", texts.count, "of one address (default: half of all)"
    ),
    Setting("max-user-connections", "limits.user_connections", texts.count, "of one user (default: half of all)"),
    Setting("max-logins", "limits.logins", texts.count, "logins at work or waiting"),
    Setting("max-address-logins", "limits.address_logins", texts.count, "of one address"),
    Setting("max-registrations", "limits.registrations", texts.count, "registrations at work or waiting"),
    Setting("max-address-registrations", "limits.address_registrations", texts.count, "of one address"),
    Setting(
        "max-receiving", "limits.receiving_bytes", texts.some_bytes, "bytes of bodies under way; a quarter for a user"
    ),
    Setting(
        "max-unread", "limits.unread_bytes", texts.some_bytes, "bytes of answers not read yet; a quarter for a user"
    ),
    Setting("max-subscriptions", "limits.subscriptions", texts.count, "subscriptions in all"),
    Setting("max-user-subscriptions", "limits.user_subscriptions", texts.count, "subscriptions of one user"),
    Setting("max-streams", "limits.streams", texts.count, "event streams, websockets and long answers in all"),
    Setting("max-user-streams", "limits.user_streams", texts.count, "of one user"),
    Setting("head-timeout", "limits.head_s", texts.seconds(0.1), "seconds for the head of a request"),
    Setting("body-timeout", "limits.body_s", texts.seconds(0.1), "seconds for its body"),
    Setting("idle-timeout", "limits.idle_s", texts.seconds(0.1), "seconds for a connection on which nothing is asked"),
    Setting("unread-timeout", "limits.unread_s", texts.seconds(0.1), "seconds for a client that reads no answer"),
    Setting("disk-reserve", "disk_reserve_bytes", texts.whole(0, 1 << 50), "bytes left on the disk"),
    Setting("log-format", "log_format", texts.one_of("text", "json"), "text or json, an object a line"),
    Setting("log-level", "log_level", texts.one_of("debug", "info", "warn", "error"), "what is logged, from there on"),
    Setting(
        "audit-log", "audit_log", texts.path, "file for one JSON line for each login, refusal and administrator's act"
    ),
    Setting(
        "audit-bytes", "audit_bytes", texts.some_bytes, "bytes after which a new audit log is begun; five are kept"
    ),
    Setting("otel-endpoint", "otel_endpoint", texts.url, "collector that is sent traces, by OTLP over HTTP"),
    Setting(
        "otel-sample", "otel_sample", texts.share, "share of the traces that begin here which is sent (default: 1)"
    ),
    Setting("backup-folder", "backup_folder", texts.path, "folder for backups that the node makes by itself"),
    Setting("backup-every", "backup_every_s", texts.duration(1), "how often: seconds, or such as 30m, 12h, 1d"),
    Setting("backup-keep", "backup_keep", texts.whole(1, 10_000), "how many of them are kept"),
    Setting(
        "backup-full-each", "backup_full_each", texts.whole(1, 1000), "each so many-th is full, others are increments"
    ),
    Setting("backup-key", "backup_key", texts.path, "file of 32 random bytes or more, with which they are sealed"),
    Setting(
        "max-peer-handshakes", "max_peer_handshakes", texts.connections, "connections of nodes that are unknown yet"
    ),
    Setting("max-peer-handshakes-per-address", "max_peer_handshakes_per_address", texts.connections, "of one address"),
    Setting("max-peer-links", "max_peer_links", texts.connections, "connections between this node and others"),
    Setting("admin-password", "admin_password", texts.password, "the administrator's password", is_option=False),
)
