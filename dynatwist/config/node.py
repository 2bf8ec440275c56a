"""The settings of one node as the rest of it sees them: values, what follows from them, whether they fit together."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from dynatwist.api.limits import Limits
from dynatwist.api.source import Network
from dynatwist.errors import ConfigError
from dynatwist.net.doors import DoorLimits
from dynatwist.storage.durability import Durability

from .texts import Address


@dataclass(frozen=True)
class NodeConfig:
    """The settings of one node; see ``docs/operating.rst`` for what each is for.

    :ivar port: HTTP on TCP, gossip on UDP.
    :ivar interface: address bound.
    :ivar advertise: where peers reach this node; ``None`` for `interface`.
    :ivar peer_port: node-to-node TCP; ``None`` for `port` + 10,000.
    :ivar join: seed nodes.
    :ivar zone: where the node runs; see `dynatwist.model.ring`.
    :ivar tls_client_ca: authorities whose certificates name users.
    :ivar tls_client_cert_required: whether clients without one are refused.
    :ivar lone_after_s: seconds after which a restarted node serves alone.
    :ivar snapshot_interval_s: seconds between cold saves.
    :ivar registration: whether anybody may register; else only the administrator makes users.
    :ivar cors_origins: pages from there may use the node.
    :ivar host_names: that browsers may use for the node, beside its addresses and `advertise`.
    :ivar trusted_proxies: which say for whom they ask.
    :ivar password_file: the configuration file, where the administrator's password is in it.
    :ivar token_lifetime_s: how long a token is good.
    :ivar tombstone_grace_s: how long a tombstone is kept at least.
    :ivar disk_reserve_bytes: free bytes below which writes that add are refused; ``None`` for what suits the disk.
    :ivar log_format: ``text`` or ``json``.
    :ivar log_level: the least that is logged.
    :ivar audit_log: file of the audit log.
    :ivar audit_bytes: beyond which a new one is begun.
    :ivar otel_endpoint: collector of traces; ``None`` for no traces.
    :ivar otel_sample: which share of the traces that begin here is sent.
    :ivar backup_folder: for backups that the node makes by itself; ``None`` for none.
    :ivar backup_every_s: how often.
    :ivar backup_keep: how many are kept.
    :ivar backup_full_each: each so many-th is a full one, those between are increments.
    :ivar backup_key: the file with which they are sealed.
    :ivar max_peer_handshakes: connections on the peer port that have not finished TLS and said who they are.
    :ivar max_peer_handshakes_per_address: of them, from one address.
    :ivar max_peer_links: connections between this node and others.
    :ivar argon2: (passes, KiB) of the password hash.
    """

    port: int = 6660
    interface: str = "127.0.0.1"
    advertise: str | None = None
    peer_port: int | None = None
    join: tuple[Address, ...] = ()
    zone: str = ""
    data_dir: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    tls_client_cert_required: bool = False
    key_file: str | None = None
    replicas: int = 3
    lone_after_s: float = 3.0
    durability: Durability = Durability.FSYNC
    snapshot_interval_s: float = 30.0
    private_status: bool = False
    anonymous_read: bool = False
    registration: bool = True
    cors_origins: tuple[str, ...] = ()
    host_names: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    klein_only: bool = False
    admin_password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    token_lifetime_s: int = 24 * 3600
    tombstone_grace_s: float = 3600.0
    argon2: tuple[int, int] = (2, 19456)
    disk_reserve_bytes: int | None = None
    log_format: str = "text"
    log_level: str = "info"
    audit_log: str | None = None
    audit_bytes: int = 64 << 20
    otel_endpoint: str | None = None
    otel_sample: float = 1.0
    backup_folder: str | None = None
    backup_every_s: float = 24 * 3600.0
    backup_keep: int = 7
    backup_full_each: int = 1
    backup_key: str | None = None
    max_peer_handshakes: int = DoorLimits().handshakes
    max_peer_handshakes_per_address: int = DoorLimits().handshakes_per_address
    max_peer_links: int = DoorLimits().links
    limits: Limits = field(default_factory=Limits)

    @property
    def host(self) -> str:
        """Where peers reach this node."""
        return self.advertise or self.interface

    @property
    def url(self) -> str:
        """Where clients reach this node."""
        scheme = "http" if self.tls_cert is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def names(self) -> tuple[str, ...]:
        """The host names that browsers may use for this node."""
        return (*self.host_names, self.host, socket.gethostname())

    @property
    def actual_peer_port(self) -> int:
        """Node-to-node TCP."""
        return self.port + 10_000 if self.peer_port is None else self.peer_port

    @property
    def doors(self) -> DoorLimits:
        """The bounds on connections between nodes."""
        return DoorLimits(self.max_peer_handshakes, self.max_peer_handshakes_per_address, self.max_peer_links)

    @property
    def actual_data_dir(self) -> str:
        """Everything the node keeps."""
        path = self.data_dir or os.path.join(
            os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "dynakv", str(self.port)
        )
        return os.path.abspath(os.path.expanduser(path))

    @property
    def actual_key_file(self) -> str:
        """The cluster's secrets."""
        path = self.key_file or os.path.join(
            os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "dynakv", "cluster.key"
        )
        return os.path.abspath(os.path.expanduser(path))

    def checked(self) -> NodeConfig:
        """This configuration, if its parts fit together.

        :raises ConfigError: when they do not.
        """
        for fault in self.faults():
            raise ConfigError(fault)
        return self

    def faults(self) -> Iterator[str]:
        """A line for each thing in which its parts do not fit together."""
        if self.actual_peer_port > 65535:
            yield f"--port {self.port}: the peer port would exceed 65535; give one with --peer-port"
        if self.actual_peer_port == self.port:
            yield f"--peer-port {self.port}: must differ from --port"
        if ipaddress.ip_address(self.interface).is_unspecified and self.advertise is None:
            yield f"--interface {self.interface}: say with --advertise where peers reach this node"
        if (self.tls_cert is None) != (self.tls_key is None):
            yield "--tls-cert and --tls-key: give both or neither"
        if self.tls_client_ca is not None and self.tls_cert is None:
            yield "--tls-client-ca: clients show certificates by TLS only; give --tls-cert and --tls-key too"
        if self.tls_client_cert_required and self.tls_client_ca is None:
            yield "--tls-client-cert required: say with --tls-client-ca whose certificates are believed"
        if (self.backup_folder is None) != (self.backup_key is None):
            yield "--backup-folder and --backup-key: give both or neither; dynakv backup --help says what a key is"
        files = (self.tls_cert, self.tls_key, self.tls_client_ca)
        for option, path in zip(("--tls-cert", "--tls-key", "--tls-client-ca"), files, strict=True):
            if path is not None and not os.access(path, os.R_OK):
                yield f"{option} {path}: no such file, or not readable"
