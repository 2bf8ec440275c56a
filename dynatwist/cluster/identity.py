"""This node's memory of itself, changed by verbs: what a verb has changed is on the disk when it returns.

It happens rarely, and what follows depends on it, so the reactor waits for the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dynatwist.model.registry import Registry
from dynatwist.replication.paxos import Vote
from dynatwist.storage.identity import Identity, IdentityFile
from dynatwist.storage.keyring import ClusterKeys

Start = tuple[int, bytes]
"""A process start of a node: how many it was, and its epoch."""


class DurableIdentity:
    """See the module.

    :param mark_ms: the wall reading that this node believes; kept whenever something is.
    :param fatal: told that the identity cannot be written; the node cannot go on.
    """

    def __init__(
        self, identity: Identity, file: IdentityFile, mark_ms: Callable[[], int], fatal: Callable[[str], None]
    ) -> None:
        self._identity = identity
        self._file = file
        self._mark_ms = mark_ms
        self._fatal = fatal

    @property
    def node_id(self) -> bytes:
        """See `Identity`; for the life of the data folder."""
        return self._identity.node_id

    @property
    def epoch(self) -> bytes:
        """See `Identity`; new at every process start."""
        return self._identity.epoch

    @property
    def starts(self) -> int:
        """Process starts so far, this one included."""
        return self._identity.starts

    @property
    def registry(self) -> Registry | None:
        """The newest registry known; ``None`` before the node is in a cluster."""
        return self._identity.registry

    @property
    def logs_registry(self) -> bool:
        """Whether the log says which registry the replicas go by."""
        return self._identity.logs_registry

    def adopt(self, registry: Registry, met: Mapping[bytes, Start]) -> None:
        """Go by another registry, and forget votes on versions that are decided.

        :param met: the starts of new members that are linked.
        """
        identity = self._identity
        identity.registry = registry
        identity.registry_votes = {
            version: vote for version, vote in identity.registry_votes.items() if version > registry.version
        }
        for node, start in met.items():
            if start[0] > self.start_of(node)[0]:
                identity.peer_starts[node] = start
        self._save()

    def vote_on(self, version: int) -> Vote | None:
        """What this node has promised and accepted for a version of the registry."""
        return self._identity.registry_votes.get(version)

    def vote(self, version: int, vote: Vote) -> None:
        """Promise or accept, before anybody is told."""
        self._identity.registry_votes[version] = vote
        self._save()

    def start_of(self, node: bytes) -> Start:
        """The latest start that was met of a member; (0, b"") when none was."""
        return self._identity.peer_starts.get(node, (0, b""))

    def meet(self, node: bytes, start: Start) -> None:
        """A member has started again."""
        self._identity.peer_starts[node] = start
        self._save()

    def start_behind(self, starts: int) -> None:
        """Others have met that start of this node, so that this one counts as a later one."""
        self._identity.starts = starts + 1
        self._save()

    def raise_incarnation(self, incarnation: int) -> None:
        """This node has refuted what others said of it."""
        self._identity.incarnation = incarnation
        self._save()

    def log_names_registry(self) -> None:
        """From now on the log of this data folder says which registry its replicas go by."""
        self._identity.logs_registry = True
        self._save()

    # Data keys; see `dynatwist.storage.renewal`

    @property
    def data_keys(self) -> tuple[bytes, ...]:
        """See `Identity`."""
        return self._identity.data_keys

    @property
    def retiring(self) -> tuple[str, ...]:
        """See `Identity`."""
        return self._identity.retiring

    def renew_data_key(self, data_key: bytes, keys: ClusterKeys, retiring: tuple[str, ...]) -> None:
        """Have another data key, sealed by the storage secret that is in use by now.

        :param retiring: names of storage secrets to be erased once nobody needs them.
        """
        self._identity.renew_data_key(data_key)
        self._identity.retiring = retiring
        self._file.go_by(keys)
        self._save()

    def forget_old_data_keys(self, retiring: tuple[str, ...]) -> None:
        """No file needs them any more.

        :param retiring: see `renew_data_key`; what is left of them.
        """
        self._identity.old_data_keys, self._identity.retiring = (), retiring
        self._save()

    def _save(self) -> None:
        self._identity.wall_ms = self._mark_ms()
        try:
            self._file.save(self._identity)
        except OSError as error:
            self._fatal(f"the identity files cannot be written: {error}")
