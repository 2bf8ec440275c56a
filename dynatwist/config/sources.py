"""Where settings come from: defaults < ``--config`` file (TOML) < ``DYNAKV_*`` environment < options.

Everything is checked before anything starts, and a fault is one line: what, where, what to do instead.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from dynatwist import heart
from dynatwist.api.limits import Limits
from dynatwist.errors import ConfigError

from .node import NodeConfig
from .settings import SETTINGS, Setting

OTHERS = {
    "DYNAKV_CONFIG",
    heart.SWITCH,
    *(f"DYNAKV_{name}" for name in ("URL", "CONTEXT", "CACERT", "CLIENT_CERT", "CLIENT_KEY", "TOKEN", "SECRET")),
    *(f"DYNAKV_{name}" for name in ("BACKUP_PASSPHRASE", "FENCE", "TYPE", "TABLE", "KEY", "VALUE")),
}
"""What else is called so: the file with settings, the switch of the heart, what ``dynakv`` reads, and what it tells
commands that it runs."""

_OF_KUBERNETES = re.compile(r"DYNAKV(_\w+)?_(SERVICE_(HOST|PORT)\w*|PORT(_\d+_(TCP|UDP)\w*)?)")
"""What Kubernetes tells each container of a service that is called dynakv, such as ``DYNAKV_PORT=tcp://10.0.0.1:6661``."""


@dataclass(frozen=True, slots=True)
class Given:
    """A setting that was given.

    :ivar where: the option, the variable or the file that says so.
    """

    setting: Setting
    value: Any
    where: str


class Gathered:
    """What was given, of each setting where it counts; and a line for each fault, in what is overruled, too.

    :param options: by name without dashes, as text; lists for what repeats; only what was given.
    """

    def __init__(self, options: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.faults: list[str] = []
        self._given: dict[str, Given] = {}
        self._password_file: str | None = None
        self._file = str(options.get("config") or environment.get("DYNAKV_CONFIG") or "")
        if self._file:
            self._take_file()
            if "admin_password" in self._given:
                self._password_file = os.path.abspath(self._file)
        environment = {name: text for name, text in environment.items() if not _is_of_kubernetes(name, text)}
        self.faults += _unknown(environment)
        for setting in SETTINGS:
            name = _variable(setting)
            if name in environment:
                text: Any = environment[name]
                if setting.is_list:
                    text = [part.strip() for part in text.split(",") if part.strip()]
                self._take(setting, text, name, name)
        for setting in SETTINGS:
            option = options.get(setting.name)
            if option is not None and option != []:
                self._take(setting, option, f"--{setting.name}", f"--{setting.name}")

    def _take(self, setting: Setting, given: Any, where: str, shown: str) -> None:
        try:
            self._given[setting.attribute] = Given(setting, _read(setting, given, shown), where)
        except ConfigError as error:
            self.faults.append(str(error))

    def _take_file(self) -> None:
        path = self._file
        known = {setting.name: setting for setting in SETTINGS}
        try:
            content = _toml(path)
        except ConfigError as error:
            self.faults.append(str(error))
            return
        for name, given in content.items():
            setting = known.get(name.replace("_", "-"))
            if setting is None:
                self.faults.append(f"--config {path}: unknown setting '{name}'")
            elif isinstance(given, dict):
                self.faults.append(f"--config {path}, {name}: takes a value, not a table")
            else:
                self._take(setting, given, path, f"--config {path}, {name}")

    @property
    def config(self) -> NodeConfig:
        """What the node goes by, if there is no fault; whether its parts fit together is not looked at."""
        values = {attribute: given.value for attribute, given in self._given.items()}
        limits = {name[7:]: value for name, value in values.items() if name.startswith("limits.")}
        plain = {name: value for name, value in values.items() if not name.startswith("limits.")}
        return NodeConfig(**plain, password_file=self._password_file, limits=Limits(**limits))

    def told(self) -> Iterator[tuple[str, str, str]]:
        """Each setting that was given, what it is, and where it comes from: what ``--check-config`` prints."""
        for setting in SETTINGS:
            given = self._given.get(setting.attribute)
            if given is not None:
                yield setting.name, _shown(setting, given.value), given.where


def load(options: Mapping[str, Any], environment: Mapping[str, str]) -> NodeConfig:
    """The configuration from options, environment, file and defaults; see `Gathered`.

    :raises ConfigError: one line.
    """
    gathered = Gathered(options, environment)
    if gathered.faults:
        raise ConfigError(gathered.faults[0])
    return gathered.config.checked()


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


def _toml(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: not TOML: {error}") from None


def _variable(setting: Setting) -> str:
    return "DYNAKV_" + setting.name.upper().replace("-", "_")


def _is_of_kubernetes(name: str, text: str) -> bool:
    return bool(_OF_KUBERNETES.fullmatch(name)) and (name != "DYNAKV_PORT" or text.startswith("tcp://"))


def _unknown(environment: Mapping[str, str]) -> Iterator[str]:
    """A name that is misspelt would leave its setting as it is, and nobody would notice."""
    known = {*map(_variable, SETTINGS), *OTHERS}
    for name in environment:
        if name.startswith("DYNAKV_") and name not in known:
            near = get_close_matches(name, known, 1)
            text = f"did you mean {near[0]}?" if near else "unset it; the settings are those of twistd dynakv --help"
            yield f"{name}: there is no such setting; {text}"


def _shown(setting: Setting, value: Any) -> str:
    if setting.name == "admin-password":
        return "(hidden)"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(getattr(value, "value", value))
