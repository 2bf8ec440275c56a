"""Tables, members, secrets and figures of nodes."""

from typing import Annotated, Literal, TypedDict

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..limits import MAX_TTL_S
from .names import Reader, Writer


class Rule(TypedDict):
    """Who may do what under the keys with a prefix: `user:NAME`, `group:NAME`, `owner`, `*` (anybody with a token), and
    for reading `anonymous` (anybody).

    :ivar prefix: `{user}` in it stands for the caller's name.
    """

    prefix: str
    read: list[str]
    create: list[str]
    update: list[str]
    delete: list[str]


class SetRule(msgspec.Struct, forbid_unknown_fields=True):
    """A rule as it is set; what is left out is nobody's right.

    :ivar write: stands for create, update and delete.
    """

    prefix: str = ""
    read: list[Reader] = []
    create: list[Writer] = []
    update: list[Writer] = []
    delete: list[Writer] = []
    write: list[Writer] = []


class SetTable(msgspec.Struct, forbid_unknown_fields=True):
    """Settings of a table; what is left out stays as it is.

    :ivar default_ttl: seconds after which a put without `?ttl=` ends; 0 for never.
    :ivar max_value: bytes.
    :ivar table: the name, which is not looked at: so that what was shown can be sent back.
    """

    consistency: Literal["available", "strong"] | UnsetType = UNSET
    access: Annotated[list[SetRule], Meta(max_length=100)] | UnsetType = UNSET
    default_ttl: Annotated[int, Meta(ge=0, le=MAX_TTL_S)] | UnsetType = UNSET
    max_value: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    table: msgspec.Raw | UnsetType = UNSET


class Table(TypedDict):
    """Settings of a table.

    :ivar consistency: `closing` while members are being asked whether the table is empty.
    :ivar default_ttl: seconds; 0 for never.
    :ivar max_value: bytes.
    """

    table: str
    consistency: Literal["available", "closing", "strong"]
    access: list[Rule]
    default_ttl: int
    max_value: int


class TableCount(TypedDict):
    """A table, and about how many live keys it has."""

    name: str
    keys: int
    has_settings: bool


class Tables(TypedDict):
    """Some tables in order.

    :ivar next_after: what to ask for next; `null` on the last page.
    :ivar missing: addresses of members that were not heard, where tables may be theirs alone.
    """

    tables: list[TableCount]
    next_after: str | None
    missing: list[str]


class TableKeys(TypedDict):
    """Some keys of a table in order.

    :ivar next_after: what to ask for next; `null` on the last page.
    """

    table: str
    keys: list[str]
    next_after: str | None


class RegisteredMember(TypedDict):
    """A member, as the registry names it."""

    id: str
    address: str
    peer_port: int
    zone: str
    reachable: bool


class Registry(TypedDict, total=False):
    """Who is a member.

    :ivar version: of the registry; 0 where this node knows none.
    :ivar changing: whether members are joining or leaving.
    :ivar zoned: whether copies of a key lie in different zones.
    """

    version: Annotated[int, Meta(ge=0)]
    cluster: str
    replicas: int
    changing: bool
    zoned: bool
    members: list[RegisteredMember]
    leaving: list[RegisteredMember]


class Forgetting(TypedDict):
    """A member that is being struck out."""

    status: Literal["forgetting"]
    id: str
    address: str


class Saved(TypedDict):
    """A cold save is on the disk.

    :ivar saves: how many there were since the start.
    """

    status: Literal["saved"]
    saves: int


# Secrets of the cluster


class SecretNames(TypedDict):
    """By member, the names of the secrets that it accepts, the one in use first; `null` of a member that is away."""

    nodes: dict[str, tuple[str, ...] | None]


class Use(msgspec.Struct):
    """Which secret is to be used."""

    key: Annotated[str, Meta(min_length=1)]


class Retire(msgspec.Struct):
    """What becomes of tokens that older secrets have signed."""

    keep_tokens: bool = True


Status = Literal["installed", "in use", "retired all others", "rotated"]


class Step(TypedDict):
    """A step that all members have taken.

    :ivar key: the name of the secret that it was about.
    """

    status: Status
    key: str
