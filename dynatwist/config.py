"""Settings of a node: one table of them, from which the options, the file and the environment are all read.

Order: defaults < ``--config`` file (TOML) < ``DYNAKV_*`` environment < options. Everything is checked before anything
starts, and a fault is one line: what, where, what to do instead.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dynatwist.api.limits import Limits
from dynatwist.api.source import Network
from dynatwist.errors import ConfigError
from dynatwist.net.doors import DoorLimits
from dynatwist.storage.durability import Durability

Address = tuple[str, int]


@dataclass(frozen=True)
class NodeConfig:
    """The settings of one node; see ``docs/operating.rst`` for what each is for.

    :ivar port: HTTP on TCP, gossip on UDP.
    :ivar interface: address bound.
    :ivar advertise: where peers reach this node; ``None`` for `interface`.
    :ivar peer_port: node-to-node TCP; ``None`` for `port` + 10,000.
    :ivar join: seed nodes.
    :ivar zone: where the node runs, for people.
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
    :ivar audit_log: file of the audit log.
    :ivar audit_bytes: beyond which a new one is begun.
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
    audit_log: str | None = None
    audit_bytes: int = 64 << 20
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
        if self.actual_peer_port > 65535:
            raise ConfigError(f"--port {self.port}: the peer port would exceed 65535; give one with --peer-port")
        if self.actual_peer_port == self.port:
            raise ConfigError(f"--peer-port {self.port}: must differ from --port")
        if ipaddress.ip_address(self.interface).is_unspecified and self.advertise is None:
            raise ConfigError(f"--interface {self.interface}: say with --advertise where peers reach this node")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("--tls-cert and --tls-key: give both or neither")
        for option, path in (("--tls-cert", self.tls_cert), ("--tls-key", self.tls_key)):
            if path is not None and not os.access(path, os.R_OK):
                raise ConfigError(f"{option} {path}: no such file, or not readable")
        return self


def _port(text: str) -> int:
    return _integer(text, 1, 65535)


def _integer(text: str, low: int, high: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ConfigError(f"expected a whole number from {low} to {high}") from None
    if not low <= value <= high:
        raise ConfigError(f"expected a whole number from {low} to {high}")
    return value


def _count(text: str) -> int:
    return _integer(text, 1, 1 << 30)


def _bytes(text: str) -> int:
    return _integer(text, 1 << 16, 1 << 50)


def _connections(text: str) -> int:
    return _integer(text, 1, 65536)


def _seconds(low: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not low <= value <= 1e9:
            raise ConfigError(f"expected seconds, at least {low:g}")
        return value

    return read


def _ip(text: str) -> str:
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigError("expected an IP address, such as 127.0.0.1 or 0.0.0.0") from None


def _host(text: str) -> str:
    if not text or any(char.isspace() or char == "/" for char in text) or len(text) > 253:
        raise ConfigError("expected a host name or address")
    return "127.0.0.1" if text == "localhost" else text


def read_address(text: str) -> Address:
    """``HOST:PORT``."""
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ConfigError("expected HOST:PORT, such as 127.0.0.1:6661")
    return _host(host.strip("[]")), _port(port)


def _zone(text: str) -> str:
    if len(text.encode()) > 64 or not text.isprintable():
        raise ConfigError("expected a name of at most 64 bytes")
    return text


def _durability(text: str) -> Durability:
    try:
        return Durability(text)
    except ValueError:
        raise ConfigError("expected fsync, interval or none") from None


def _switch(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ConfigError("expected true or false")


def _registration(text: str) -> bool:
    if text not in ("open", "closed"):
        raise ConfigError("expected open or closed")
    return text == "open"


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or text != f"{parts.scheme}://{parts.netloc}":
        raise ConfigError("expected an origin, such as https://app.example.org")
    return text.lower()


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ConfigError("expected an address or a network, such as 10.0.0.7 or 10.0.0.0/8") from None


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise ConfigError("expected a path")
    return text


def _password(text: str) -> str:
    if len(text) < 8:
        raise ConfigError("must have at least 8 characters")
    return text


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
    Setting("port", "port", _port, "HTTP on TCP, gossip on UDP"),
    Setting("interface", "interface", _ip, "address bound"),
    Setting("advertise", "advertise", _host, "where peers reach this node"),
    Setting("peer-port", "peer_port", _port, "node-to-node TCP (default: port + 10000)"),
    Setting("join", "join", read_address, "HOST:PORT of a seed node; repeatable", is_list=True),
    Setting("zone", "zone", _zone, "where the node runs, such as a rack or a data centre; shown to people"),
    Setting("data-dir", "data_dir", _path, "everything the node keeps"),
    Setting("tls-cert", "tls_cert", _path, "certificate chain (PEM) for HTTPS and wss"),
    Setting("tls-key", "tls_key", _path, "its private key (PEM)"),
    Setting("key-file", "key_file", _path, "the cluster's secrets"),
    Setting("replicas", "replicas", lambda text: _integer(text, 1, 9), "N, copies of each key"),
    Setting("lone-after", "lone_after_s", _seconds(0), "seconds after which a restarted node serves alone"),
    Setting("durability", "durability", _durability, "fsync, interval or none"),
    Setting("snapshot-interval", "snapshot_interval_s", _seconds(0.1), "seconds between cold saves"),
    Setting("private-status", "private_status", _switch, "status only for the administrator", is_switch=True),
    Setting("anonymous-read", "anonymous_read", _switch, "reading without a token", is_switch=True),
    Setting("registration", "registration", _registration, "open or closed: who may register"),
    Setting("cors-origin", "cors_origins", _origin, "origin whose pages may use the node; repeatable", is_list=True),
    Setting("host-name", "host_names", _host, "name that browsers may use for the node; repeatable", is_list=True),
    Setting(
        "trusted-proxy",
        "trusted_proxies",
        _network,
        "address or network of proxies whose X-Forwarded-For counts",
        is_list=True,
    ),
    Setting("klein-only", "klein_only", _switch, "all requests through Klein, none in the fast lane", is_switch=True),
    Setting("token-lifetime", "token_lifetime_s", lambda text: _integer(text, 1, 10**9), "seconds a token is good"),
    Setting("tombstone-grace", "tombstone_grace_s", _seconds(0), "seconds a tombstone is kept at least"),
    Setting("max-value", "limits.value_bytes", lambda text: _integer(text, 1, 16 << 20), "bytes of a value"),
    Setting("max-key", "limits.key_bytes", lambda text: _integer(text, 1, 8192), "bytes of a key"),
    Setting("max-table", "limits.table_bytes", lambda text: _integer(text, 1, 1024), "bytes of a table name"),
    Setting("max-depth", "limits.json_depth", lambda text: _integer(text, 1, 500), "nesting of JSON"),
    Setting("max-header", "limits.header_bytes", lambda text: _integer(text, 1024, 1 << 20), "bytes of a head"),
    Setting("max-memory", "limits.store_bytes", lambda text: _integer(text, 1 << 20, 1 << 50), "bytes of records"),
    Setting("max-connections", "limits.connections", _count, "connections of clients (default: by descriptors)"),
    Setting("max-address-connections", "limits.address_connections", _count, "of one address (default: half of all)"),
    Setting("max-user-connections", "limits.user_connections", _count, "of one user (default: half of all)"),
    Setting("max-logins", "limits.logins", _count, "logins at work or waiting"),
    Setting("max-address-logins", "limits.address_logins", _count, "of one address"),
    Setting("max-registrations", "limits.registrations", _count, "registrations at work or waiting"),
    Setting("max-address-registrations", "limits.address_registrations", _count, "of one address"),
    Setting("max-receiving", "limits.receiving_bytes", _bytes, "bytes of bodies under way; a quarter for a user"),
    Setting("max-unread", "limits.unread_bytes", _bytes, "bytes of answers not read yet; a quarter for a user"),
    Setting("max-subscriptions", "limits.subscriptions", _count, "subscriptions in all"),
    Setting("max-user-subscriptions", "limits.user_subscriptions", _count, "subscriptions of one user"),
    Setting("max-streams", "limits.streams", _count, "event streams, websockets and long answers in all"),
    Setting("max-user-streams", "limits.user_streams", _count, "of one user"),
    Setting("head-timeout", "limits.head_s", _seconds(0.1), "seconds for the head of a request"),
    Setting("body-timeout", "limits.body_s", _seconds(0.1), "seconds for its body"),
    Setting("idle-timeout", "limits.idle_s", _seconds(0.1), "seconds for a connection on which nothing is asked"),
    Setting("unread-timeout", "limits.unread_s", _seconds(0.1), "seconds for a client that reads no answer"),
    Setting("disk-reserve", "disk_reserve_bytes", lambda text: _integer(text, 0, 1 << 50), "bytes left on the disk"),
    Setting("audit-log", "audit_log", _path, "file for one JSON line for each login, refusal and administrator's act"),
    Setting("audit-bytes", "audit_bytes", _bytes, "bytes after which a new audit log is begun; five are kept"),
    Setting("max-peer-handshakes", "max_peer_handshakes", _connections, "connections of nodes that are unknown yet"),
    Setting("max-peer-handshakes-per-address", "max_peer_handshakes_per_address", _connections, "of one address"),
    Setting("max-peer-links", "max_peer_links", _connections, "connections between this node and others"),
    Setting("admin-password", "admin_password", _password, "the administrator's password", is_option=False),
)


def load(options: Mapping[str, Any], environment: Mapping[str, str]) -> NodeConfig:
    """The configuration from options, environment, file and defaults.

    :param options: by name without dashes, as text; lists for what repeats; only what was given.
    :raises ConfigError: one line.
    """
    values: dict[str, Any] = {}
    path = options.get("config") or environment.get("DYNAKV_CONFIG")
    if path:
        values.update(_from_file(str(path)))
        if "admin_password" in values:
            values["password_file"] = os.path.abspath(str(path))
    values.update(_from_environment(environment))
    for setting in SETTINGS:
        given = options.get(setting.name)
        if given is not None and given != []:
            values[setting.attribute] = _read(setting, given, f"--{setting.name}")
    limits = {name[7:]: value for name, value in values.items() if name.startswith("limits.")}
    plain = {name: value for name, value in values.items() if not name.startswith("limits.")}
    return NodeConfig(**plain, limits=Limits(**limits)).checked()


def _read(setting: Setting, given: Any, where: str) -> Any:
    texts = given if isinstance(given, list | tuple) else [given]
    shown = "" if setting.name == "admin-password" else f" {given}" if not isinstance(given, list) else ""
    try:
        read = [setting.read(str(text).lower() if isinstance(text, bool) else str(text)) for text in texts]
    except ConfigError as error:
        raise ConfigError(f"{where}{shown}: {error}") from None
    if setting.is_list:
        return tuple(dict.fromkeys(read))
    if len(read) != 1:
        raise ConfigError(f"{where}: takes one value")
    return read[0]


def _from_file(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: not TOML: {error}") from None
    known = {setting.name: setting for setting in SETTINGS}
    values: dict[str, Any] = {}
    for name, given in content.items():
        setting = known.get(name.replace("_", "-"))
        if setting is None:
            raise ConfigError(f"--config {path}: unknown setting '{name}'")
        if isinstance(given, dict):
            raise ConfigError(f"--config {path}, {name}: takes a value, not a table")
        values[setting.attribute] = _read(setting, given, f"--config {path}, {name}")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        name = "DYNAKV_" + setting.name.upper().replace("-", "_")
        if name in environment:
            given: Any = environment[name]
            if setting.is_list:
                given = [part.strip() for part in given.split(",") if part.strip()]
            values[setting.attribute] = _read(setting, given, name)
    return values
