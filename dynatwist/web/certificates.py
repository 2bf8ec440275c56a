"""The certificates of the client port: the node's own, and the authorities whose certificates of clients are believed.

They are read again when a file has changed, and on SIGHUP. Connections that are made from then on go by what was read;
those that stand keep theirs. Files that do not fit together are left alone, and what was read before stays in use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.logger import Logger

from dynatwist.api.request import Certificate
from dynatwist.config.node import NodeConfig
from dynatwist.errors import StartError
from dynatwist.net.tls import TlsConnections
from dynatwist.runtime import Clock, Timer, cancel

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey
LOOK_S = 10.0
"""Between looks at the files: a few system calls. Certificates are renewed days before they end, and whoever cannot
wait sends SIGHUP."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the files are, all PEM.

    :ivar certificate: the node's, and those of the authorities between it and the one that clients trust.
    :ivar key: its private key.
    :ivar client_ca: of the authorities whose certificates name users; ``None`` where clients are asked for none.
    :ivar is_required: whether a client without such a certificate is refused.
    """

    certificate: str
    key: str
    client_ca: str | None = None
    is_required: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """All of them."""
        return (self.certificate, self.key, *((self.client_ca,) if self.client_ca is not None else ()))


def files_of(config: NodeConfig) -> TlsFiles | None:
    """What a node was started with; ``None`` for a node without TLS."""
    if config.tls_cert is None or config.tls_key is None:
        return None
    return TlsFiles(config.tls_cert, config.tls_key, config.tls_client_ca, config.tls_client_cert_required)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read.

    :ivar ends: when the node's certificate does.
    """

    context: SSL.Context
    ends: datetime


def load(files: TlsFiles) -> Loaded:
    """Read the files.

    :raises StartError: when one of them cannot be read, or they do not fit together.
    """
    chain = _certificates(files.certificate, "--tls-cert")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    key = _private_key(files.key)
    try:
        context.use_certificate(chain[0])
        for between in chain[1:]:
            context.add_extra_chain_cert(between)
        context.use_privatekey(key)
        context.check_privatekey()
    except SSL.Error:
        raise StartError(f"{files.certificate}, {files.key}: no certificate and key that belong together") from None
    if files.client_ca is not None:
        _ask_clients(context, files.client_ca, files.is_required)
    return Loaded(context, chain[0].not_valid_after_utc)


def _ask_clients(context: SSL.Context, path: str, is_required: bool) -> None:
    """Ask clients for a certificate. No session is ever resumed: it would outlive an authority that is believed no
    more."""
    store = context.get_cert_store()
    assert store is not None
    for authority in _certificates(path, "--tls-client-ca"):
        store.add_cert(crypto.X509.from_cryptography(authority))
    context.load_client_ca(path.encode())
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if is_required else 0))


def _read(path: str, option: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise StartError(f"{option} {path}: {error.strerror or error}") from None


def _private_key(path: str) -> PrivateKey:
    try:
        key = load_pem_private_key(_read(path, "--tls-key"), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise StartError(f"--tls-key {path}: no private key in PEM without a password") from None
    if not isinstance(key, PrivateKey):
        raise StartError(f"--tls-key {path}: a key of a sort that signs nothing; make one by RSA, ECDSA or EdDSA")
    return key


def _certificates(path: str, option: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path, option))
    except ValueError:
        raise StartError(f"{option} {path}: no certificate in PEM") from None


class Certificates:
    """See the module.

    :param files: where they are.
    :param clock: for looking at them.
    :param renewed: told when the certificate that is used from now on ends.
    :raises StartError: when they cannot be used.
    :ivar connections: makes connections by what was read last.
    """

    log = Logger()

    def __init__(self, files: TlsFiles, clock: Clock, renewed: Callable[[datetime], None]) -> None:
        self._files = files
        self._renewed = renewed
        self._seen = self._state()
        loaded = load(files)
        self.connections = TlsConnections(loaded.context)
        self._clock = clock
        self._timer: Timer | None = None
        renewed(loaded.ends)

    def start(self) -> None:
        """Look at the files now and then."""
        self._timer = self._clock.callLater(LOOK_S, self._look_again)

    def stop(self) -> None:
        """Look no more."""
        cancel(self._timer)

    def _look_again(self) -> None:
        self.look()
        self.start()

    def look(self) -> None:
        """Read the files if one of them has changed."""
        if self._state() != self._seen:
            self.reload()

    def reload(self) -> None:
        """Read the files; where they cannot be used, what was read before stays in use."""
        self._seen = self._state()
        try:
            loaded = load(self._files)
        except StartError as error:
            self.log.error("the certificate for clients stays as it was: {reason}", reason=str(error))
            return
        self.connections.use(loaded.context)
        self.log.info(
            "new connections of clients get the certificate that ends {ends}", ends=f"{loaded.ends:%F %T} UTC"
        )
        self._renewed(loaded.ends)

    def _state(self) -> tuple[object, ...]:
        """What tells a file from the one that was there before."""
        return tuple(map(_state_of, self._files.paths))


def _state_of(path: str) -> object:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def shown_by(connection: SSL.Connection) -> Certificate | None:
    """The certificate that a client has shown, once its connection is made; ``None`` for none, or one that names
    nobody.

    Its user is the one common name of its subject. OpenSSL has checked who issued it, for what, and its dates.
    """
    try:
        shown = connection.get_peer_certificate(as_cryptography=True)
        names = shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME) if shown is not None else []
        if shown is None or len(names) != 1:
            return None
        return Certificate(str(names[0].value), int(shown.not_valid_after_utc.replace(tzinfo=UTC).timestamp()))
    except ValueError:  # what no library can read is nobody's
        return None
