"""Where settings come from: defaults < ``--config`` file (TOML) < ``DYNAKV_*`` environment < options.

Everything is checked before anything starts, and a fault is one line: what, where, what to do instead.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from dynatwist.api.limits import Limits
from dynatwist.errors import ConfigError

from .node import NodeConfig
from .settings import SETTINGS, Setting

OTHERS = {
    "DYNAKV_CONFIG",
    *(f"DYNAKV_{name}" for name in ("URL", "CONTEXT", "CACERT", "CLIENT_CERT", "CLIENT_KEY", "TOKEN", "SECRET")),
    *(f"DYNAKV_{name}" for name in ("FENCE", "TYPE", "TABLE", "KEY", "VALUE")),
}
"""What else is called so: the file with settings, what ``dynakv`` reads, and what it tells commands that it runs."""

_OF_KUBERNETES = re.compile(r"DYNAKV(_\w+)?_(SERVICE_(HOST|PORT)\w*|PORT(_\d+_(TCP|UDP)\w*)?)")
"""What Kubernetes tells each container of a service that is called dynakv, such as ``DYNAKV_PORT=tcp://10.0.0.1:6661``."""


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
    environment = {name: text for name, text in environment.items() if not _is_of_kubernetes(name, text)}
    _refuse_unknown(environment)
    for setting in SETTINGS:
        name = _variable(setting)
        if name in environment:
            given: Any = environment[name]
            if setting.is_list:
                given = [part.strip() for part in given.split(",") if part.strip()]
            values[setting.attribute] = _read(setting, given, name)
    return values


def _variable(setting: Setting) -> str:
    return "DYNAKV_" + setting.name.upper().replace("-", "_")


def _is_of_kubernetes(name: str, text: str) -> bool:
    return bool(_OF_KUBERNETES.fullmatch(name)) and (name != "DYNAKV_PORT" or text.startswith("tcp://"))


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """A name that is misspelt would leave its setting as it is, and nobody would notice."""
    known = {*map(_variable, SETTINGS), *OTHERS}
    for name in environment:
        if name.startswith("DYNAKV_") and name not in known:
            near = get_close_matches(name, known, 1)
            text = f"did you mean {near[0]}?" if near else "unset it; the settings are those of twistd dynakv --help"
            raise ConfigError(f"{name}: there is no such setting; {text}")


def told(options: Mapping[str, Any], environment: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Each setting that was given, what it is, and where it comes from: what ``--check-config`` prints.

    :raises ConfigError: one line.
    """
    path = options.get("config") or environment.get("DYNAKV_CONFIG")
    of_file = _from_file(str(path)) if path else {}
    of_environment = _from_environment(environment)
    found: list[tuple[str, str, str]] = []
    for setting in SETTINGS:
        given = options.get(setting.name)
        if given is not None and given != []:
            value, where = _read(setting, given, f"--{setting.name}"), f"--{setting.name}"
        elif setting.attribute in of_environment:
            value, where = of_environment[setting.attribute], _variable(setting)
        elif setting.attribute in of_file:
            value, where = of_file[setting.attribute], str(path)
        else:
            continue
        found.append((setting.name, _shown(setting, value), where))
    return found


def _shown(setting: Setting, value: Any) -> str:
    if setting.name == "admin-password":
        return "(hidden)"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(getattr(value, "value", value))
