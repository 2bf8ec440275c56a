"""Mutual TLS between nodes, with certificates that they issue themselves from the cluster key.

The key of the certificate authority is derived from the cluster key, so every node can issue its own certificate and
check everybody else's, and nothing is typed by hand. Certificates are valid for all dates: a clock may be wrong.
"""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet.ssl import CertificateOptions, TLSVersion

from dynatwist.storage.keyring import ClusterKeys

_ALWAYS_FROM = datetime.datetime(1970, 1, 1)
_ALWAYS_TO = datetime.datetime(9999, 12, 31, 23, 59, 59)


_TITLE = "dynakv cluster "


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: str, issuer: str, public: Any, signer: Ed25519PrivateKey, serial: int, is_authority: bool
) -> Any:
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


def peer_context(keys: ClusterKeys, node_id: bytes) -> CertificateOptions:
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
    return CertificateOptions(
        privateKey=crypto.PKey.from_cryptography_key(own),
        certificate=crypto.X509.from_cryptography(certificate),
        verify=True,
        caCerts=[crypto.X509.from_cryptography(one) for one in trusted],
        requireCertificate=True,
        raiseMinimumTo=TLSVersion.TLSv1_3,
    )


def peer_node_id(transport: Any) -> bytes:
    """The node id in a connected peer's certificate; empty when it names none, and no node has that."""
    certificate = transport.getPeerCertificate()
    if certificate is None:
        return b""
    try:
        return bytes.fromhex(certificate.get_subject().CN)
    except (ValueError, TypeError):
        return b""


def secrets_of(transport: Any) -> frozenset[str]:
    """The names of the cluster's secrets that a connection's two certificates are by."""
    shown = (transport.getPeerCertificate(), transport.getHandle().get_certificate())
    return frozenset(str(one.get_issuer().CN).removeprefix(_TITLE) for one in shown if one is not None)


def is_foreign_key(reason: Any) -> bool:
    """Whether a connection ended because the two ends have different cluster keys."""
    return reason.check(SSL.Error) is not None and any(
        word in repr(reason.value) for word in ("certificate", "unknown ca", "signature", "decrypt error")
    )
