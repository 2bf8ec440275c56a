"""Another storage secret, and with it another data key: what the folder holds is sealed anew while the node runs.

The order is what keeps the folder readable wherever a crash comes:

1. the new storage secret is in the key file, durably, beside the old one;
2. the identity has the new data key beside the old one, sealed by the new secret, durably;
3. segments, chunks and manifests that are begun from then on are sealed by the new key, and cold saves replace all
   others;
4. no file of the folder names an old key: the old secrets are erased from the key file, then the old keys from the
   identity.

Files name their keys from the second step on, until the next start after the fourth: see `dynatwist.storage.seal`.

A start finds old keys in the identity, and goes on with the third step. It finds another secret first in the key file
than the identity is sealed by, and begins with the second (`dynatwist.storage.opening`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dynatwist.errors import StartError
from dynatwist.sometimes import sometimes

from .files import FileSystem, Writer
from .keyring import SECRET_BYTES, ClusterKeys, Keyring, NoSuchKeys, name_of
from .needed import UNNAMED, keys_named
from .seal import key_name
from .segment_writer import SegmentWriter
from .snapshot import ColdSaver

RETRY_S = 60.0
"""After a save that failed, or where another data folder needs an old secret still: a disk is mended, and a node
started again, by people."""
SAVES = 4
"""In a row: the first one seals all anew, the next one has the log and the manifest go that it builds on; one may have
been under way before. Then something is in the way, and there is time."""


class RenewalRefused(Exception):
    """The storage secret cannot be changed now; nothing was changed."""


class Timer(Protocol):
    """What `Renewal` is given for a call to come."""

    def cancel(self) -> None:
        """Do not call after all."""

    def active(self) -> bool:
        """Whether the call is still to come."""


class Owner(Protocol):
    """Keeps the data keys: `dynatwist.cluster.identity.DurableIdentity`."""

    @property
    def data_keys(self) -> tuple[bytes, ...]:
        """The one in use, then those before."""

    @property
    def retiring(self) -> tuple[str, ...]:
        """Names of storage secrets to be erased."""

    def renew_data_key(self, data_key: bytes, keys: ClusterKeys, retiring: tuple[str, ...]) -> None:
        """Have another one, durably."""

    def forget_old_data_keys(self, retiring: tuple[str, ...]) -> None:
        """Have none but the one in use, durably."""


class Renewal:
    """See the module.

    :param owner: keeps the data keys.
    :param folder: the data folder.
    :param writer: the thread of the cold saves.
    :param later: runs a function after a number of seconds.
    """

    log = Logger()

    def __init__(
        self,
        *,
        owner: Owner,
        keyring: Keyring,
        segments: SegmentWriter,
        saver: ColdSaver,
        fs: FileSystem,
        folder: str,
        writer: Writer,
        randbytes: Callable[[int], bytes],
        later: Callable[[float, Callable[[], None]], Timer],
    ) -> None:
        self._owner = owner
        self._keyring = keyring
        self._segments = segments
        self._saver = saver
        self._fs, self._folder = fs, folder
        self._writer = writer
        self._randbytes = randbytes
        self._later = later
        self._saves_left = 0
        self._timer: Timer | None = None
        self._is_stopped = False

    @property
    def is_under_way(self) -> bool:
        """Whether some file may need an older data key than the one in use."""
        return len(self._owner.data_keys) > 1

    def start(self) -> None:
        """Go on with what a former process has begun, if it has."""
        if self.is_under_way:
            sometimes("a start goes on sealing a data folder anew")
            self._saver.use(self._owner.data_keys)
        self._begin()

    def stop(self) -> None:
        """Begin nothing more."""
        self._is_stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def renew(self) -> str:
        """Have another storage secret; what the folder holds is sealed anew from now on.

        :returns: the name of the secret.
        :raises RenewalRefused: when the one before is not done, or the key file cannot be changed.
        """
        if self.is_under_way:
            raise RenewalRefused("the data folder is being sealed anew already; wait until dynakv key status says so")
        before = self._keyring.keys.storage
        try:
            self._keyring.renew_storage(self._randbytes(SECRET_BYTES))
        except OSError as error:
            why = error.strerror or error
            raise RenewalRefused(f"the key file cannot be changed: {why}; put a new storage line first in it") from None
        except (NoSuchKeys, StartError) as error:
            raise RenewalRefused(str(error)) from None
        keys = self._keyring.keys
        retiring = tuple(dict.fromkeys((*map(name_of, before), *self._owner.retiring)))
        self._owner.renew_data_key(self._randbytes(SECRET_BYTES), keys, retiring)
        self._segments.use(self._owner.data_keys)
        self._saver.use(self._owner.data_keys)
        name = name_of(keys.storage[0])
        self.log.info("storage secret: uses {name}; the data folder is being sealed anew", name=name)
        self._begin()
        return name

    def files(self) -> Deferred[dict[str, Counter[str]]]:
        """How many files need which data key: counts by sort of file, by name of the key. A file that names none
        counts as the oldest one's.

        The Deferred fails with what the disk raised.
        """
        answered: Deferred[dict[str, Counter[str]]] = Deferred()
        found: dict[str, Counter[str]] = {}
        oldest = key_name(self._owner.data_keys[-1])

        def work() -> None:
            for (sort, key), count in keys_named(self._fs, self._folder).items():
                found.setdefault((key or oldest).hex(), Counter())[sort] += count

        def done(failure: BaseException | None) -> None:
            if failure is None:
                answered.callback(found)
            else:
                answered.errback(failure)

        self._writer.submit(work, done)
        return answered

    @property
    def data_keys(self) -> tuple[str, ...]:
        """Names of the data keys, the one in use first."""
        return tuple(key_name(key).hex() for key in self._owner.data_keys)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the storage secrets, the one in use first."""
        return tuple(map(name_of, self._keyring.keys.storage))

    @property
    def retiring(self) -> tuple[str, ...]:
        """Names of those to be erased from the key file."""
        return self._owner.retiring

    # Sealing anew, a save at a time

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._saves_left = SAVES
        self._go_on()

    def _go_on(self) -> None:
        if self._is_stopped:
            return
        if not self.is_under_way:
            self._retire()
        elif not self._saves_left:
            self._wait()
        else:
            self._saves_left -= 1
            self._saver.save().addCallbacks(lambda _: self._look(), lambda _: self._wait())

    def _wait(self) -> None:
        """Go on later."""
        if not self._is_stopped:
            self._timer = self._later(RETRY_S, self._again)

    def _again(self) -> None:
        self._timer = None
        self._begin()

    def _look(self) -> None:
        """A save is done: is there a file still that needs an old key?"""
        keys = self._owner.data_keys
        old = {UNNAMED, *map(key_name, keys[1:])}
        found: set[bytes] = set()

        def work() -> None:
            found.update(key for _, key in keys_named(self._fs, self._folder))

        def done(failure: BaseException | None) -> None:
            if keys != self._owner.data_keys:
                return  # another rotation has begun, and looks by itself
            if failure is not None:
                self._wait()
            elif old & found:
                self._go_on()
            else:
                self._retire()

        self._writer.submit(work, done)

    def _retire(self) -> None:
        """No file needs an old data key: erase the secrets, then the keys."""
        retiring = frozenset(self._owner.retiring)
        if self._is_stopped or not (retiring or self.is_under_way):
            return
        try:
            left = self._keyring.retire_storage(retiring) if retiring else retiring
        except (OSError, StartError):
            left = retiring
        if self.is_under_way:
            self.log.info("the data folder is sealed anew; no file of it needs an older key")
        if self.is_under_way or left != retiring:
            self._owner.forget_old_data_keys(tuple(sorted(left)))
        if left:
            sometimes("an old storage secret is kept, since another data folder needs it")
            self._wait()
