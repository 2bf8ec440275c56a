"""What event streams and websockets tell, and what a client sends on a websocket."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from .records import Record, Value

Id = int | str
Level = Literal["one", "quorum", "majority", "all"]


class Updated(TypedDict):
    """The data of an event: a record that was written.

    :ivar key: where more than one key is listened to.
    """

    Updated: Record
    key: NotRequired[str]


class DeletedKey(TypedDict):
    """The data of an event where more than one key is listened to: a record is gone. Of a single key it is
    `"Deleted"`, a string."""

    Deleted: Literal["deleted", "expired"]
    key: str


class WsAuth(TypedDict):
    """Says whose the socket is. A fresh token of the same user keeps it open for longer."""

    op: Literal["auth"]
    id: Id
    token: str


_From = TypedDict("_From", {"from": NotRequired[str]})


class WsSubscribe(_From):
    """Listens to a key, to the keys with a prefix, or to a table.

    :ivar id: events name it as `sub`.
    :ivar from: a cursor, behind which to go on.
    :ivar initial: whether to tell first what there is; `synced` ends that.
    """

    op: Literal["subscribe"]
    id: Id
    table: str
    key: NotRequired[str]
    prefix: NotRequired[str]
    initial: NotRequired[bool]


class WsUnsubscribe(TypedDict):
    """Listens no more; or, as `bookmark`, asks for the cursor of where a subscription is by now."""

    op: Literal["unsubscribe", "bookmark"]
    id: NotRequired[Id]
    sub: Id


class WsGet(TypedDict):
    """Reads a record."""

    op: Literal["get"]
    id: NotRequired[Id]
    table: str
    key: str
    r: NotRequired[Level]


class WsWrite(TypedDict):
    """Writes a record, or deletes it.

    :ivar value: of a put or patch.
    :ivar ttl: seconds.
    :ivar ephemeral: of a put: the record lives as long as the socket.
    """

    op: Literal["put", "patch", "delete"]
    id: NotRequired[Id]
    table: str
    key: str
    value: NotRequired[Value]
    w: NotRequired[Level]
    ttl: NotRequired[Annotated[int, Meta(ge=1)]]
    ephemeral: NotRequired[bool]
    idempotency_key: NotRequired[str]


class WsPing(TypedDict):
    """Asks for an answer."""

    op: Literal["ping"]
    id: NotRequired[Id]


class WsAnswer(TypedDict):
    """What a frame has come to.

    :ivar id: that of the frame.
    :ivar user: after `auth`.
    :ivar record: of `get`, `put` and `patch`.
    :ivar cursor: after `subscribe` and `bookmark`.
    """

    id: Any
    ok: Literal[True]
    user: NotRequired[str]
    record: NotRequired[Record]
    sub: NotRequired[Id]
    cursor: NotRequired[str | None]


class WsRefusal(TypedDict):
    """A frame that was refused; the socket stays."""

    id: Any
    error: str
    code: str


class WsEvent(TypedDict):
    """A record was written, has ended or was deleted.

    :ivar sub: the id of the subscribe.
    :ivar record: `null` where it is gone.
    :ivar cursor: for `from`; not with what is told first.
    """

    op: Literal["event"]
    sub: Id
    type: Literal["Updated", "Deleted"]
    table: str
    key: str
    record: Record | None
    cursor: NotRequired[str]
    initial: NotRequired[bool]
    reason: NotRequired[Literal["deleted", "expired"]]


class WsNotice(TypedDict):
    """`synced`: what there was is told. `lagged`: events were dropped, since the client was too slow; `reset`: what was
    missed is not known any more. After these two, read afresh."""

    op: Literal["synced", "lagged", "reset"]
    sub: Id
    cursor: str


SENT = (WsAuth, WsSubscribe, WsUnsubscribe, WsGet, WsWrite, WsPing)
HEARD = (WsAnswer, WsRefusal, WsEvent, WsNotice)
