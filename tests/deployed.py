"""What the files in deploy/ say, read by Python: for tests that compare it with what a node knows."""

from __future__ import annotations

import json
import os
import shlex
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from dynatwist.config.node import NodeConfig
from dynatwist.tap import Options

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


def unit() -> dict[str, list[str]]:
    """The lines of the unit of systemd, by what is before the first ``=``."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (DEPLOY / "systemd" / "dynakv.service").read_text().splitlines():
        name, equals, text = line.partition("=")
        if equals and not line.startswith("#"):
            found[name].append(text)
    return found


def environment_file() -> dict[str, str]:
    """What the unit's environment file sets."""
    lines = (DEPLOY / "systemd" / "dynakv.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, with lines that go on put together."""
    text = (DEPLOY / "container" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


def instruction(name: str) -> str:
    """The last one of its kind: that of the image that is run."""
    return [text for kind, text in dockerfile() if kind == name][-1]


def entrypoint() -> list[str]:
    """What the image gives to ``twistd dynakv``."""
    return options(json.loads(instruction("ENTRYPOINT")))


def options(words: list[str] | str) -> list[str]:
    """Of a command line: what is behind ``dynakv``."""
    words = shlex.split(words) if isinstance(words, str) else words
    assert words[0].rpartition("/")[2] == "twistd"
    assert "--nodaemon" in words[: words.index("dynakv")]
    return words[words.index("dynakv") + 1 :]


def compose() -> Any:
    """The file of Docker Compose."""
    return yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())


def kubernetes() -> list[Any]:
    """The objects for Kubernetes."""
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / "dynakv.yaml").read_text()))


def of_kind(kind: str) -> dict[str, Any]:
    """Those of one kind, by name."""
    return {one["metadata"]["name"]: one for one in kubernetes() if one["kind"] == kind}


def pod_variables(name: str) -> dict[str, str]:
    """What a pod of the StatefulSet has in its environment."""
    found: dict[str, str] = {}
    for one in of_kind("StatefulSet")["dynakv"]["spec"]["template"]["spec"]["containers"][0]["env"]:
        text = one.get("value", name)
        found[one["name"]] = text.replace("$(POD_NAME)", name)
    return found


def config(words: list[str], environment: dict[str, str], monkeypatch: Any) -> NodeConfig:
    """What a node goes by that is given these options, and has only this environment."""
    for name in [name for name in os.environ if name.startswith("DYNAKV_")]:
        monkeypatch.delenv(name)
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    found = Options()
    found.parseOptions(words)
    return found.config
