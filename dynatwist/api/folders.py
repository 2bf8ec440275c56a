"""The keys of a table as folders: a listing that shows what is under a delimiter as one name, and reads no further.

Listings name keys in order of code points, so all keys of a folder follow each other. Once one of them was met, the
listing goes on behind the last key that the folder can have: a folder of a million keys costs as much as one of ten.
"""

from __future__ import annotations

from dynatwist.requests.listing import PAGE_KEYS

LAST_CHAR = "\U0010ffff"
"""No character comes behind it; it takes four bytes of UTF-8."""
FEWEST = 8
"""Keys of a page behind a folder that filled one: the next folder may be as large, and one of its keys is enough."""


class Folders:
    """What one listing shows.

    :param prefix: of all keys.
    :param delimiter: ends the name of a folder; empty where each key is shown by itself.
    :param key_bytes: of the longest key.
    :ivar at_once: how many keys the next page should have at most.
    """

    def __init__(self, prefix: str, delimiter: str, key_bytes: int) -> None:
        self._prefix = prefix
        self._delimiter = delimiter
        self._beyond = LAST_CHAR * (key_bytes // len(LAST_CHAR.encode()) + 1)
        self._last = ""
        self._found = 0
        self.at_once = PAGE_KEYS

    def start(self, after: str) -> str:
        """The key behind which to begin.

        :param after: the name behind which a client goes on; of a folder, nothing in it is shown again.
        """
        return self._end_of(after) if self._is_inside(after) else after

    def take(self, keys: list[str]) -> list[str]:
        """The names that the next keys add; those of folders end with the delimiter."""
        if not self._delimiter:
            return keys
        names = [name for name in dict.fromkeys(map(self._name_of, keys)) if name != self._last]
        self._last = names[-1] if names else self._last
        self._found = len(names)
        return names

    def behind(self, key: str) -> str:
        """The key behind which to go on, when a page ended with this one."""
        is_shown = self._is_inside(key) and self._name_of(key) == self._last
        self.at_once = min(PAGE_KEYS, FEWEST * max(1, self._found)) if is_shown else PAGE_KEYS
        return self._end_of(key) if is_shown else key

    def _is_inside(self, key: str) -> bool:
        return bool(self._delimiter) and key.startswith(self._prefix) and self._delimiter in key[len(self._prefix) :]

    def _name_of(self, key: str) -> str:
        if not self._is_inside(key):
            return key
        end = key.index(self._delimiter, len(self._prefix)) + len(self._delimiter)
        return key[:end]

    def _end_of(self, key: str) -> str:
        return self._name_of(key) + self._beyond
