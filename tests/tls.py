"""Authorities and certificates for tests, as files."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files."""

    cert: Path
    key: Path

    @property
    def paths(self) -> tuple[str, str]:
        return str(self.cert), str(self.key)


class Authority:
    """Issues certificates into a folder; its own is ``NAME.pem``."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.path = folder / f"{name}.pem"
        basics = x509.BasicConstraints(ca=True, path_length=None)
        made = self._builder(self._name, self._key, LIFE).add_extension(basics, critical=True)
        self.path.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, life: datetime.timedelta):
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + life)
        )  # fmt: skip

    def server(self, stem: str, life: datetime.timedelta = LIFE) -> Pair:
        """For this machine."""
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
        return self._issue(stem, ["localhost"], life, names)

    def client(self, *names: str, life: datetime.timedelta = LIFE, stem: str = "") -> Pair:
        """For a user, by the common names."""
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return self._issue(stem or f"user-{'-'.join(names)}", list(names), life, usage)

    def _issue(self, stem: str, names: list[str], life: datetime.timedelta, extension: x509.ExtensionType) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
        made = self._builder(subject, key, life).add_extension(extension, critical=False)
        pair = Pair(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        pair.cert.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        private = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
        pair.key.write_bytes(pem)
        pair.key.chmod(0o600)
        return pair
