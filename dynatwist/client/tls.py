"""Which certificates a client trusts, and which it shows."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

END = "-----END CERTIFICATE-----"


@implementer(IPolicyForHTTPS)
class Policy:
    """See the module.

    :param ca: path of the certificates that are trusted, PEM; the system's when not given.
    :param cert: paths of the certificate that is shown, and of its key, PEM.
    :raises OSError: a file cannot be read.
    :raises ValueError: a file holds no certificate.
    """

    def __init__(self, ca: str | None = None, cert: tuple[str, str] | None = None) -> None:
        self._trusted: Any = None if ca is None else trustRootFromCertificates(_certificates(ca))
        self._shown = None if cert is None else PrivateCertificate.loadPEM(_text(cert[0]) + _text(cert[1]))

    def options(self, host: str) -> IOpenSSLClientConnectionCreator:
        """For a connection to a host."""
        given = {} if self._trusted is None else {"trustRoot": self._trusted}
        options: IOpenSSLClientConnectionCreator = optionsForClientTLS(host, clientCertificate=self._shown, **given)
        return options

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """See `IPolicyForHTTPS`."""
        return self.options(hostname.decode("ascii"))


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def _certificates(path: str) -> list[Certificate]:
    found = [part + END for part in _text(path).split(END) if "-----BEGIN CERTIFICATE-----" in part]
    if not found:
        raise ValueError(f"{path}: there is no certificate in it; give a PEM file")
    return [Certificate.loadPEM(one.encode()) for one in found]
