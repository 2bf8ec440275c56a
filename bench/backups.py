"""What a backup costs clients: ``python -m bench.backups``. Loads with and without backups beside them, in turns.

Three nodes; backups are made one after another by the command, of the node that the clients ask, on the same machine:
what the command takes of the processors counts, too. The ratio of each pair of runs is shown, and the median of all.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
from pathlib import Path

from .servers import DynaTwist

DYNAKV = str(Path(sys.executable).with_name("dynakv"))
KEYS, SECONDS, CONNECTIONS = 20_000, 5, 32


class Backups(threading.Thread):
    """Backups without end.

    :ivar made: how many are whole.
    """

    def __init__(self, server: DynaTwist) -> None:
        super().__init__(daemon=True)
        self._folder = server.cluster.folder
        key = self._folder / "backup.key"
        key.write_bytes(b"k" * 32)
        key.chmod(0o600)
        self._words = [DYNAKV, "backup", str(self._folder / "bench.backup"), "--backup-key", str(key)]
        mine = {"DYNAKV_URL": server.url, "DYNAKV_TOKEN": server.cluster.admin_token(), "HOME": str(self._folder)}
        self._env = {**os.environ, **mine}
        self.made = 0
        self._is_over = False
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Until `stop`."""
        while not self._is_over:
            self._process = subprocess.Popen(self._words, env=self._env, stdout=subprocess.DEVNULL)
            self.made += self._process.wait() == 0

    def stop(self) -> None:
        """The one under way is given up."""
        self._is_over = True
        if self._process is not None:
            self._process.kill()
        self.join()


def main(rounds: int) -> None:
    """Measure, and print."""
    server = DynaTwist()
    try:
        server.fill(KEYS)
        for work in ("PUT", "GET"):
            ratios = []
            for _ in range(rounds):
                alone = server.run(work, SECONDS, CONNECTIONS, KEYS).rate
                backups = Backups(server)
                backups.start()
                beside = server.run(work, SECONDS, CONNECTIONS, KEYS).rate
                backups.stop()
                ratios.append(beside / alone)
                load = os.getloadavg()[0]
                print(
                    f"{work}: {alone:.0f}/s alone, {beside:.0f}/s beside backups ({backups.made} whole): "
                    f"{ratios[-1]:.2f}; load of the machine {load:.1f}",
                    flush=True,
                )
            print(f"{work}: median {statistics.median(ratios):.2f}", flush=True)
    finally:
        server.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
