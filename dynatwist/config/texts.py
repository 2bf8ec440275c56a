"""What texts say: each function reads one kind of setting, or says in a few words what it expected."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from dynatwist.api.source import Network
from dynatwist.errors import ConfigError
from dynatwist.storage.durability import Durability

Address = tuple[str, int]
"""Host and port."""
_ORIGIN = re.compile(r"(https?)://([a-z0-9_](?:[a-z0-9._-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?")
"""Names that are not ASCII are written as browsers send them, ``xn--...``."""


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ConfigError(f"expected a whole number from {low} to {high}") from None
        if not low <= value <= high:
            raise ConfigError(f"expected a whole number from {low} to {high}")
        return value

    return read


port = whole(1, 65535)
count = whole(1, 1 << 30)
some_bytes = whole(1 << 16, 1 << 50)
connections = whole(1, 65536)


def seconds(low: float) -> Callable[[str], float]:
    """Seconds, at least so many."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not low <= value <= 1e9:
            raise ConfigError(f"expected seconds, at least {low:g}")
        return value

    return read


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(low_s: float) -> Callable[[str], float]:
    """Seconds, at least so many; or a number with s, m, h or d behind it."""

    def read(text: str) -> float:
        unit = _UNITS.get(text[-1:].lower())
        try:
            value = float(text[:-1]) * unit if unit is not None else float(text)
        except ValueError:
            value = -1.0
        if not low_s <= value <= 1e9:
            raise ConfigError(f"expected seconds, at least {low_s:g}, or a number with s, m, h or d, such as 12h")
        return value

    return read


def ip(text: str) -> str:
    """An IP address; ``localhost`` is one, too."""
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigError("expected an IP address, such as 127.0.0.1 or 0.0.0.0") from None


def host(text: str) -> str:
    """A host name, or an address."""
    if not text or any(char.isspace() or char == "/" for char in text) or len(text) > 253:
        raise ConfigError("expected a host name or address")
    return "127.0.0.1" if text == "localhost" else text


def address(text: str) -> Address:
    """``HOST:PORT``."""
    name, colon, number = text.rpartition(":")
    if not colon or not name:
        raise ConfigError("expected HOST:PORT, such as 127.0.0.1:6661")
    return host(name.strip("[]")), port(number)


def zone(text: str) -> str:
    """A name for people."""
    if len(text.encode()) > 64 or not text.isprintable():
        raise ConfigError("expected a name of at most 64 bytes")
    return text


def durability(text: str) -> Durability:
    """One of `Durability`."""
    try:
        return Durability(text)
    except ValueError:
        raise ConfigError("expected fsync, interval or none") from None


def switch(text: str) -> bool:
    """Yes or no."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ConfigError("expected true or false")


def registration(text: str) -> bool:
    """Whether anybody may register."""
    if text not in ("open", "closed"):
        raise ConfigError("expected open or closed")
    return text == "open"


def client_cert(text: str) -> bool:
    """Whether clients have to show a certificate."""
    if text not in ("optional", "required"):
        raise ConfigError("expected optional or required")
    return text == "required"


def origin(text: str) -> str:
    """Where pages come from, as browsers say it: in small letters, without the port that goes without saying."""
    found = _ORIGIN.fullmatch(text.lower())
    if found is None or not 0 < int(found[3] or 1) < 1 << 16:
        raise ConfigError("expected an origin, such as https://app.example.org, without a path, '*' or 'null'")
    scheme, host, number = found.groups()
    is_usual = number is None or int(number) == {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{host}" if is_usual else f"{scheme}://{host}:{int(number)}"


def network(text: str) -> Network:
    """An address or a network."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ConfigError("expected an address or a network, such as 10.0.0.7 or 10.0.0.0/8") from None


def url(text: str) -> str:
    """Where something is asked by HTTP."""
    parts = urlsplit(text)
    try:
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number
        is_one = False
    if not is_one or any(char.isspace() for char in text):
        raise ConfigError("expected a URL, such as http://127.0.0.1:4318")
    return text


def share(text: str) -> float:
    """A part of a whole."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError("expected a share from 0 to 1, such as 0.01")
    return value


def path(text: str) -> str:
    """A path."""
    if not text or "\0" in text:
        raise ConfigError("expected a path")
    return text


def password(text: str) -> str:
    """A password that is not too short."""
    if len(text) < 8:
        raise ConfigError("must have at least 8 characters")
    return text


def one_of(*words: str) -> Callable[[str], str]:
    """One of some words."""

    def read(text: str) -> str:
        if text not in words:
            raise ConfigError(f"expected {', '.join(words[:-1])} or {words[-1]}")
        return text

    return read
