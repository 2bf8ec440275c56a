"""Mutual TLS between nodes, with certificates that they issue themselves from the cluster key.

The key of the certificate authority is derived from the cluster key, so every node can issue its own certificate and
check everybody else's, and nothing is typed by hand. Certificates are valid for all dates: a clock may be wrong.
"""

from __future__ import annotations

import datetime
from contextlib import suppress
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from dynatwist.storage.keyring import ClusterKeys

from .certified import Certified

_ALWAYS_FROM = datetime.datetime(1970, 1, 1)
_ALWAYS_TO = datetime.datetime(9999, 12, 31, 23, 59, 59)


_TITLE = "dynakv cluster "


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class TlsConnections:
    """Makes OpenSSL's side of each TLS connection, for Twisted.

    :param context: the settings of connections that are made from now on.
    """

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def use(self, context: SSL.Context) -> None:
        """Connections that are made from now on have these settings; those that stand keep theirs."""
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """For a connection that the other side opened."""
        return SSL.Connection(self._context)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """For a connection that this side opened."""
        return SSL.Connection(self._context)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: str, issuer: str, public: Ed25519PublicKey, signer: Ed25519PrivateKey, serial: int, is_authority: bool
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(_ALWAYS_FROM)
        .not_valid_after(_ALWAYS_TO)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .sign(signer, None)
    )


def peer_context(keys: ClusterKeys, node_id: bytes) -> SSL.Context:
    """The TLS settings of a node's peer links, for both directions.

    It shows a certificate by the secret in use, and believes those by any of the secrets.
    """
    authorities = [Ed25519PrivateKey.from_private_bytes(key) for key in keys.derive_all(b"peer authority")]
    titles = [_TITLE + name for name in keys.names()]
    trusted = [
        _certificate(title, title, authority.public_key(), authority, 1, True)
        for title, authority in zip(titles, authorities, strict=True)
    ]
    own = Ed25519PrivateKey.generate()
    serial = x509.random_serial_number()
    certificate = _certificate(node_id.hex(), titles[0], own.public_key(), authorities[0], serial, False)
    return _mutual(certificate, own, trusted)


def _mutual(certificate: x509.Certificate, key: Ed25519PrivateKey, trusted: list[x509.Certificate]) -> SSL.Context:
    """TLS 1.3, with certificates on both sides, checked at each handshake: no session is ever resumed."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # a link that is silent costs 32 KiB less
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.check_privatekey()
    store = context.get_cert_store()
    assert store is not None
    for authority in trusted:
        store.add_cert(crypto.X509.from_cryptography(authority))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def certified_by(transport: Any) -> Certified:
    """What a secured connection's certificates say. A member may issue itself one that no node would."""
    handle = transport.getHandle()
    node_id, secrets = b"", frozenset[str]()
    with suppress(ValueError):
        shown = handle.get_peer_certificate(as_cryptography=True)
        with suppress(ValueError):
            node_id = bytes.fromhex(_common_name(shown.subject)) if shown is not None else b""
        both = shown, handle.get_certificate(as_cryptography=True)
        secrets = frozenset(_common_name(one.issuer).removeprefix(_TITLE) for one in both if one is not None)
    return Certified(node_id, secrets)


def is_foreign_key(reason: Failure) -> bool:
    """Whether a connection ended because the two ends have different cluster keys."""
    return reason.check(SSL.Error) is not None and any(
        word in repr(reason.value) for word in ("certificate", "unknown ca", "signature", "decrypt error")
    )
