"""Three machines for a page of the docs: folders and addresses of their own, and, on request, networks of their own.

The lines of the page are run as they are, but for its addresses and paths. By default the machines are addresses of the
loopback, which every Linux has. With ``DYNAKV_TEST_NAMESPACES=1``, as root, each is a network namespace, joined to the
others by a bridge: then what is cut off is cut off for the kernel, too.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BIN = Path(sys.executable).parent
PLACES = ("/etc/dynakv", "/var/lib/dynakv", "/var/log", "/run")
LINE = re.compile(r"(kv[1-9*])\$ (.*)")
SCP = """#!/bin/bash
# scp kvN:FILE ... FOLDER, on machine $MACHINE: settings are told the folders of the machine that they come to.
to=${{@: -1}}
for from in "${{@:1:$#-1}}"; do
    path=${{from#kv?:}}
    path={root}/m${{from:2:1}}${{path#{root}/m?}}
    cp "$path" "$to"
    case $path in *.toml) sed -i "s#{root}/m[0-9]#{root}/m$MACHINE#" "$to/${{path##*/}}" ;; esac
done
"""


class Hosts:
    """See the module.

    :param root: the machines' file systems are folders in it.
    """

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self.names = [f"kv{number}" for number in range(1, count + 1)]
        self.has_namespaces = os.environ.get("DYNAKV_TEST_NAMESPACES") == "1"
        self._cwd: dict[str, Path] = {}
        self.prefix = "10.77.0." if self.has_namespaces else f"127.77.{os.getpid() % 250 + 1}."
        for name in self.names:
            for place in (*PLACES, "/home"):
                (self.folder(name) / place[1:]).mkdir(parents=True)
        (root / "bin").mkdir()
        scp = root / "bin" / "scp"
        scp.write_text(SCP.format(root=root))
        scp.chmod(0o755)
        if self.has_namespaces:
            self._join()

    def run(self, name: str, line: str, limit_s: float = 90.0) -> str:
        """Run a line of a page on a machine; answers what it printed.

        :raises AssertionError: when it fails.
        """
        folder = self.folder(name)
        words = ["bash", "-o", "pipefail", "-c", self._here(name, line)]
        if self.has_namespaces:
            words = ["ip", "netns", "exec", self._namespace(name), *words]
        own = {key: text for key, text in os.environ.items() if not key.startswith(("DYNAKV_", "XDG_"))}
        path = f"{self.root / 'bin'}:{BIN}:{os.environ['PATH']}"
        env = {**own, "HOME": str(folder / "home"), "PATH": path, "MACHINE": name[2:]}
        cwd = self._cwd.get(name, folder)
        done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=limit_s)
        assert done.returncode == 0, (name, line, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout

    def type(self, page: str) -> Iterator[tuple[str, str, str, str]]:
        """Run all lines of a page; gives machine, line, what the page shows and what was printed, each time."""
        blocks = re.findall(r"::\n\n((?:    .*\n|\n)+)", page)
        for block in blocks:
            lines = [line[4:] for line in block.splitlines()]
            for index, line in enumerate(lines):
                found = LINE.fullmatch(line)
                if found is None:
                    continue
                shown = []
                for after in lines[index + 1 :]:
                    if LINE.fullmatch(after) or not after:
                        break
                    shown.append(after)
                for name in self.names if found[1] == "kv*" else [found[1]]:
                    if found[2].startswith("cd "):
                        self._cwd[name] = self.folder(name) / found[2][3:].lstrip("/")
                        continue
                    yield name, found[2], "\n".join(shown), self.run(name, found[2])

    def folder(self, name: str) -> Path:
        """The root of a machine's files."""
        return self.root / f"m{name[2:]}"

    def written(self, name: str, place: str, text: str) -> None:
        """A file of the page, on a machine."""
        (self.folder(name) / place.lstrip("/")).write_text(self._here(name, text))

    def _here(self, name: str, text: str) -> str:
        for place in PLACES:
            text = re.sub(rf"(?<![\w/]){place}\b", f"{self.folder(name)}{place}", text)
        return text.replace("10.0.0.", self.prefix)

    def _namespace(self, name: str) -> str:
        return f"dynakv-{os.getpid()}-{name}"

    def _join(self) -> None:
        bridge = f"kvbr{os.getpid() % 10000}"
        commands = [f"ip link add {bridge} type bridge", f"ip link set {bridge} up"]
        for number, name in enumerate(self.names, 1):
            space, here, there = (
                self._namespace(name),
                f"kv{os.getpid() % 10000}a{number}",
                f"kv{os.getpid() % 10000}b{number}",
            )
            commands += [
                f"ip netns add {space}",
                f"ip link add {here} type veth peer name {there}",
                f"ip link set {here} master {bridge} up",
                f"ip link set {there} netns {space}",
                f"ip -n {space} addr add {self.prefix}{number}/24 dev {there}",
                f"ip -n {space} link set {there} up",
                f"ip -n {space} link set lo up",
            ]
        for command in commands:
            subprocess.run(command.split(), check=True)
        self._bridge = bridge

    def close(self) -> None:
        """Stop what runs, and take the machines apart."""
        for name in self.names:
            for pidfile in (self.folder(name) / "run").glob("*.pid"):
                with contextlib.suppress(OSError, ValueError):
                    os.kill(int(pidfile.read_text()), 9)
        if self.has_namespaces:
            for name in self.names:
                subprocess.run(["ip", "netns", "del", self._namespace(name)], check=False)
            subprocess.run(["ip", "link", "del", self._bridge], check=False)
