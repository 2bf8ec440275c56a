"""What backups read and bring back, and storage secrets."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta


class BackedUpTable(TypedDict):
    """A table of a backup.

    :ivar keys_about: how many keys it has, by what one node knows.
    """

    name: str
    consistency: str
    keys_about: Annotated[int, Meta(ge=0)]


class BackedUpTables(TypedDict):
    """Some tables.

    :ivar next_after: what to ask for next; `null` on the last page, which has the system's.
    :ivar missing: partitions of which no majority of the owners was asked.
    :ivar clock: on the first page, what a backup that begins now is sure to hold: ask for what has changed since by it;
        `null` where that is not known.
    """

    tables: list[BackedUpTable]
    next_after: str | None
    missing: list[int]
    clock: str | None


class BackedUp(TypedDict):
    """A record with all that bringing it back needs.

    :ivar expires_at: in milliseconds since 1970; 0 for never.
    """

    key: str
    value: Any
    owner: str
    expires_at: int
    version: int
    written_at: int


class BackedUpRecords(TypedDict):
    """Some records, in order of keys."""

    records: list[BackedUp]
    next_after: str | None
    missing: list[int]


class ChangesSince(TypedDict):
    """Which changes of a table are asked for.

    :ivar since: the `clock` of the backup that they are to go on from.
    :ivar prefix: only of keys that begin with this.
    :ivar after: `next_after` of the page before.
    """

    since: str
    prefix: NotRequired[str]
    after: NotRequired[str]


class BackedUpChanges(TypedDict):
    """Some changes, in order of keys.

    :ivar gone: keys that have no record any more.
    """

    records: list[BackedUp]
    gone: list[str]
    next_after: str | None


class ToBringBack(TypedDict):
    """A record of a backup.

    :ivar expires_at: in milliseconds since 1970; 0 for never.
    """

    key: str
    value: Any
    owner: str
    expires_at: NotRequired[int]


class BringBack(TypedDict):
    """Records to be brought back, up to 256.

    :ivar overwrite: whether what is there is written over.
    :ivar dry: whether nothing is written, and only said what would be.
    """

    records: list[ToBringBack]
    overwrite: NotRequired[bool]
    dry: NotRequired[bool]


class NotBroughtBack(TypedDict):
    """Why one was not."""

    error: str
    code: str


class BroughtBack(TypedDict):
    """What became of each, in the same order."""

    outcomes: list[Literal["written", "kept", "expired", "taken"] | NotBroughtBack]


class StorageSecrets(TypedDict):
    """The storage secrets of a node, by name.

    :ivar files: how many files need which data key, by sort of file.
    """

    node: str
    uses: str
    accepts: list[str]
    to_erase: list[str]
    under_way: bool
    data_keys: list[str]
    files: dict[str, dict[str, int]]


class StorageSecret(TypedDict):
    """The one in use now."""

    status: str
    key: str
