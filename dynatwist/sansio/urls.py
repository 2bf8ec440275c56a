"""URLs of nodes, as people give them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

EXAMPLE = "such as http://127.0.0.1:6661"


def checked(urls: str | Iterable[str]) -> list[str]:
    """The URLs of some nodes; one alone may be given as it is, and without ``http://``.

    :raises TypeError: something else was given.
    :raises ValueError: none, or one that is no URL of a node.
    """
    if not isinstance(urls, str) and not isinstance(urls, Iterable):
        raise TypeError(f"urls: expected the URLs of some nodes, {EXAMPLE}, and not {type(urls).__name__}")
    found = [_checked(url) for url in ([urls] if isinstance(urls, str) else urls)]
    if not found:
        raise ValueError(f"urls: give at least one, {EXAMPLE}")
    return found


def _checked(url: str) -> str:
    if not isinstance(url, str):
        raise TypeError(f"urls: {url!r} is no text; give a URL, {EXAMPLE}")
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        is_fit = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_fit = False
    if not is_fit or parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise ValueError(f"urls: {url!r} is no URL of a node; give its scheme, host and port, {EXAMPLE}")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"urls: {url!r}: a node speaks http or https, and not {parts.scheme}")
    return f"{parts.scheme}://{parts.netloc}"
