"""Users, groups, service tokens."""

from typing import Annotated, Literal, TypedDict

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dynatwist.auth.groups import MAX_MEMBERS
from dynatwist.auth.users import MIN_SECRET_CHARS

from ..limits import MAX_SECRET_BYTES, MAX_TTL_S
from .names import Right, TableName, UserName

Secret = Annotated[str, Meta(min_length=1, max_length=MAX_SECRET_BYTES)]
NewSecret = Annotated[str, Meta(min_length=MIN_SECRET_CHARS, max_length=MAX_SECRET_BYTES)]
MAX_GRANTS = 100


class Entering(msgspec.Struct):
    """Who comes.

    :ivar new: whether the name is to be registered, and not be there yet; or to be there. Left out, both do.
    """

    secret: NewSecret
    new: bool | UnsetType | None = UNSET


class NewSecretOf(msgspec.Struct):
    """Another secret.

    :ivar old_secret: the one so far; an administrator needs none.
    :ivar old: the same, under its short name.
    """

    secret: NewSecret
    old_secret: Secret | UnsetType = UNSET
    old: Secret | UnsetType = UNSET


class OldSecret(msgspec.Struct):
    """The secret, for whoever has no token."""

    old_secret: Secret | UnsetType = UNSET
    old: Secret | UnsetType = UNSET


class Password(msgspec.Struct):
    """The administrator's password."""

    password: Secret


class GivenSecret(msgspec.Struct):
    """A new user's secret."""

    secret: NewSecret


class Entered(TypedDict):
    """A token, and whether the user is new.

    :ivar token: for `Authorization: Bearer TOKEN`.
    """

    status: Literal["created", "ok", "changed"]
    token: str


class Account(TypedDict):
    """A user.

    :ivar groups: those that the user is in.
    :ivar is_admin: whether the user is an administrator, as a member of ``admins``.
    """

    name: str
    groups: list[str]
    is_admin: bool


class Ticket(TypedDict):
    """A ticket for one subscription or websocket, at any node.

    :ivar expires_in: seconds.
    """

    ticket: str
    expires_in: int


class Done(TypedDict):
    """What was done."""

    status: Literal["deleted", "logged out"]


class Created(TypedDict):
    """A user that was made."""

    status: Literal["created"]
    name: str


class User(TypedDict):
    """A user."""

    name: str


class Users(TypedDict):
    """Some users in order.

    :ivar next_after: what to ask for next; `null` on the last page.
    """

    users: list[User]
    next_after: str | None


class Members(msgspec.Struct, forbid_unknown_fields=True):
    """All members of a group."""

    members: Annotated[
        list[UserName],
        Meta(max_length=MAX_MEMBERS, examples=[["alice", "bob"]]),
    ]


class Group(TypedDict):
    """A group."""

    group: str
    members: list[str]


class Groups(TypedDict):
    """Some groups in order.

    :ivar next_after: what to ask for next; `null` on the last page.
    """

    groups: list[Group]
    next_after: str | None


class Granted(msgspec.Struct, forbid_unknown_fields=True):
    """What a service token may do under one prefix of one table; `write` stands for create, update and delete."""

    table: TableName
    rights: list[Right]
    prefix: str = ""


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """A service token.

    :ivar lifetime: seconds; `null` for one that ends only when it is ended.
    """

    name: UserName
    access: Annotated[list[Granted], Meta(max_length=MAX_GRANTS)]
    lifetime: Annotated[int, Meta(ge=1, le=MAX_TTL_S)] | None = None


class Grant(TypedDict):
    """What a service token may do under one prefix of one table."""

    table: str
    prefix: str
    rights: list[str]


class Service(TypedDict):
    """A service token, without what is secret of it.

    :ivar created: in milliseconds since 1970, as all times.
    :ivar last_used: to the minute; `null` for never.
    """

    id: str
    name: str
    access: list[Grant]
    created: int
    expires_at: int | None
    last_used: int | None


class Services(TypedDict):
    """Some service tokens in order.

    :ivar next_after: what to ask for next; `null` on the last page.
    """

    tokens: list[Service]
    next_after: str | None


class NewToken(TypedDict):
    """A service token, which nobody is shown again."""

    id: str
    name: str
    token: str
