"""The cluster's secrets, and how they change while nodes run.

A new cluster secret is *installed* (all nodes accept it), then *used* (they seal and sign with it), then all others are
*retired*. At each step every node accepts what any other may send, so nothing is lost on the way.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b

from dynatwist.calls import call_each

from .seal import derive_key

TOKEN = b"token"
SECRET_BYTES = 32
MAX_SECRETS = 16
"""Of one kind: a rotation needs two, and what was begun and not ended leaves one more. Each costs every gossip packet
that does not open by the ones before it."""
MAX_TOKEN_KEYS = 64
"""Of retired secrets whose tokens are still good: each is tried for each token that nobody signed."""
LATEST_S = 1 << 40
"""A time that no clock and no lifetime reaches; what is beyond is no time."""
_NAME = re.compile(r"[0-9a-f]{8}")


class NoSuchKeys(Exception):
    """Keys, or a step to change them, that no node can go by; they are not kept."""


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    """The secrets of a cluster, at least one of each; the first one is in use, the others are only accepted.

    The representation shows none of them.

    :ivar token_keys: of retired cluster secrets, with the time in seconds since 1970 until which their tokens are good.
    """

    cluster: tuple[bytes, ...]
    storage: tuple[bytes, ...]
    token_keys: tuple[tuple[bytes, int], ...] = ()

    def derive(self, purpose: bytes) -> bytes:
        """The key for one purpose, from the cluster secret in use."""
        return derive_key(self.cluster[0], b"", purpose)

    def derive_all(self, purpose: bytes) -> tuple[bytes, ...]:
        """The same, followed by those of the other cluster secrets."""
        return tuple(derive_key(secret, b"", purpose) for secret in self.cluster)

    def admin_passwords(self) -> tuple[str, ...]:
        """The administrator's password where none was configured, followed by those of secrets not in use."""
        return tuple(base64.b32encode(key[:15]).decode().lower() for key in self.derive_all(b"admin password"))

    def admin_password(self) -> str:
        """The administrator's password where none was configured."""
        return self.admin_passwords()[0]

    def names(self) -> tuple[str, ...]:
        """What the cluster secrets are called among people; nothing can be told of a secret by its name."""
        return tuple(map(name_of, self.cluster))

    def checked(self) -> ClusterKeys:
        """These keys, if a key file may have them: what is written here, `dynatwist.storage.keyfile` reads.

        :raises NoSuchKeys: when it may not.
        """
        for kind, secrets in (("cluster", self.cluster), ("storage", self.storage)):
            if not 1 <= len(secrets) <= MAX_SECRETS:
                raise NoSuchKeys(f"there may be 1 to {MAX_SECRETS} {kind} secrets; retire those that are not in use")
            if any(len(secret) != SECRET_BYTES for secret in secrets):
                raise NoSuchKeys(f"a {kind} secret has to have {SECRET_BYTES} bytes")
        if len(self.token_keys) > MAX_TOKEN_KEYS:
            raise NoSuchKeys(f"tokens of {MAX_TOKEN_KEYS} retired secrets are good; retire with --logout")
        for key, until_s in self.token_keys:
            if len(key) != SECRET_BYTES or not 0 <= until_s <= LATEST_S:
                raise NoSuchKeys("a key of retired tokens has to have 32 bytes and a time")
        return self

    # Rotation: each answers other keys, and changes nothing when repeated

    def installed(self, secret: bytes) -> ClusterKeys:
        """With one more cluster secret, which is not in use.

        :raises NoSuchKeys: when it is none.
        """
        return self if secret in self.cluster else replace(self, cluster=(*self.cluster, secret)).checked()

    def used(self, name: str) -> ClusterKeys:
        """With this cluster secret in use, if it is there.

        :raises NoSuchKeys: when it is no name.
        """
        _check_name(name)
        return replace(self, cluster=tuple(sorted(self.cluster, key=lambda secret: name_of(secret) != name)))

    def retired(self, name: str, now_s: int, tokens_s: int) -> ClusterKeys:
        """With this cluster secret alone, if it is there.

        :param tokens_s: for how long tokens that users have from other secrets, retired now or before, stay good; 0 if
            these are to be refused at once.
        :raises NoSuchKeys: when these are no name and no times.
        """
        _check_name(name)
        if not (0 <= now_s <= LATEST_S and 0 <= tokens_s <= LATEST_S - now_s):
            raise NoSuchKeys("that is no time, in seconds since 1970, and no lifetime of tokens")
        if name not in self.names():
            return self
        gone = [secret for secret in self.cluster if name_of(secret) != name]
        kept = {key: until_s for key, until_s in self.token_keys if now_s < until_s <= now_s + tokens_s}
        if tokens_s:
            kept |= {derive_key(secret, b"", TOKEN): now_s + tokens_s for secret in gone}
        left = tuple(secret for secret in self.cluster if secret not in gone)
        return replace(self, cluster=left, token_keys=tuple(kept.items())).checked()

    # The storage secret of this key file

    def with_storage(self, secret: bytes, known: frozenset[bytes]) -> ClusterKeys:
        """With another storage secret in use, unless the one in use is another than those that somebody knows already:
        then whoever keeps the file has put that there.

        :raises NoSuchKeys: when there are too many.
        """
        if self.storage[0] not in known:
            return self
        return replace(self, storage=(secret, *self.storage)).checked()

    def with_needed_storage(self, secret: bytes) -> ClusterKeys:
        """With this storage secret, in use or not."""
        return self if secret in self.storage else replace(self, storage=(*self.storage, secret)).checked()

    def without_storage(self, names: frozenset[str]) -> ClusterKeys:
        """Without these storage secrets; the one in use stays."""
        used, *others = self.storage
        return replace(self, storage=(used, *(one for one in others if name_of(one) not in names)))

    def __repr__(self) -> str:
        return "ClusterKeys(...)"


Change = Callable[[ClusterKeys], ClusterKeys]


def name_of(secret: bytes) -> str:
    """Eight hexadecimal digits that stand for a secret."""
    return blake2b(secret, digest_size=4, person=b"dynakv key name").hexdigest()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise NoSuchKeys("the name of a secret has eight hexadecimal digits")


class Keyring:
    """The secrets that a running node goes by.

    :param keys: those at the start.
    :param keep: makes a change durable, and answers what is kept now, which may have more; may raise `OSError`, and
        then nothing changes. Nor does it after `NoSuchKeys`, which each step raises that is none.
    :param needed_by_others: of some storage secrets, the names of those that other data folders need that share the
        file.
    :ivar keys: those now.
    :ivar on_change: called after each change.
    """

    def __init__(
        self,
        keys: ClusterKeys,
        keep: Callable[[Change], ClusterKeys | None] = lambda change: None,
        needed_by_others: Callable[[tuple[bytes, ...]], frozenset[str]] = lambda secrets: frozenset(),
    ) -> None:
        self.keys = keys
        self._keep = keep
        self._needed_by_others = needed_by_others
        self.on_change: list[Callable[[ClusterKeys], None]] = []

    def change(self, change: Change) -> None:
        """Go by other keys from now on; to change nothing is harmless."""
        changed = change(self.keys)
        self._keep(change)
        if changed != self.keys:
            self.keys = changed
            call_each(self.on_change, changed)

    def renew_storage(self, secret: bytes) -> None:
        """Use another storage secret, durably: the one that somebody has put first in the key file, else this one.

        Those before are accepted as well, until `retire_storage`. Nobody is told: nothing but the data folder depends
        on it.

        :raises OSError: when the key file cannot be changed.
        :raises NoSuchKeys: when there are too many.
        """
        mine = self.keys
        known = frozenset(mine.storage)
        kept = self._keep(lambda keys: keys.with_storage(secret, known))
        used = kept.storage[0] if kept is not None else secret
        self.keys = replace(mine, storage=(used, *mine.storage))

    def retire_storage(self, names: frozenset[str]) -> frozenset[str]:
        """Erase storage secrets, but for the one in use and those that other data folders need.

        :returns: the names of the latter.
        :raises OSError: when the key file cannot be changed.
        """
        needed: frozenset[str] = frozenset()

        def erase(keys: ClusterKeys) -> ClusterKeys:
            nonlocal needed
            needed = self._needed_by_others(keys.storage) & names
            return keys.without_storage(names - needed)

        self._keep(erase)
        self.keys = self.keys.without_storage(names - needed)
        return needed & frozenset(map(name_of, self.keys.storage))
