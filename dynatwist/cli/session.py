"""What the command remembers between two calls: the token, per address, mode 0600."""

from __future__ import annotations

import os

import msgspec

from dynatwist.errors import DynakvError


def _path() -> str:
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "dynakv", "tokens.json")


def load_token(url: str) -> str | None:
    """The token of the last login at an address."""
    try:
        with open(_path(), "rb") as file:
            tokens: dict[str, str] = msgspec.json.decode(file.read(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError):
        return None
    return tokens.get(url)


def save_token(url: str, token: str | None) -> None:
    """Remember a token, or forget it."""
    path = _path()
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        try:
            with open(path, "rb") as file:
                tokens = msgspec.json.decode(file.read(), type=dict[str, str])
        except (OSError, msgspec.MsgspecError):
            tokens = {}
        if token is None:
            tokens.pop(url, None)
        else:
            tokens[url] = token
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(tokens))
        os.replace(path + ".new", path)
    except OSError as error:
        raise DynakvError(f"cannot keep the token in {path}: {error.strerror}") from None
