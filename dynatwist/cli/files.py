"""Small files of JSON that the command keeps: private, and never half written."""

from __future__ import annotations

import os
from typing import TypeVar

import msgspec

from dynatwist.errors import DynakvError

T = TypeVar("T")


def state_folder() -> str:
    """Where what comes and goes is kept."""
    return os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "dynakv")


def config_folder() -> str:
    """Where what people set is kept."""
    return os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "dynakv")


def load(path: str, kind: type[T]) -> T | None:
    """What a file holds; ``None`` where there is none, or it holds something else."""
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def save(path: str, value: object) -> None:
    """Have a file hold something, mode 0600.

    :raises DynakvError: it cannot be written.
    """
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(f"{path}.{os.getpid()}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(value)))
        os.replace(f"{path}.{os.getpid()}.new", path)
    except OSError as error:
        raise DynakvError(f"cannot write {path}: {error.strerror}") from None
