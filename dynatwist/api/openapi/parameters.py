"""What requests name in path, query and head. What is read by a bound is described by the same bound."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from dynatwist.replication.conflicts import ID_BYTES
from dynatwist.replication.quorum import Level

from ..limits import MAX_IDEMPOTENCY_KEY_BYTES, MAX_TTL_S, MAX_USER_CHARS, RESERVED_TABLES, Limits
from ..request import REPRESENTATION, Request
from ..shapes.names import NO_RESERVED, NO_SYSTEM, PLAIN

_TAG = r'"[!#-~]*"'
CONFLICT = {"type": "string", "pattern": f"^[0-9a-fA-F]{{{2 * ID_BYTES}}}$"}


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a request may name.

    :ivar text: what it means.
    :ivar schema: of its value (JSON Schema 2020-12).
    :ivar like: what of paths has the same schema, and is refused for the same.
    :ivar refuses: codes of what is no such thing.
    """

    name: str
    text: str
    schema: dict[str, Any]
    place: Literal["path", "query", "header"] = "query"
    example: Any = None
    is_required: bool = False
    refuses: tuple[str, ...] = ()
    like: str = ""


class Whole(Parameter, frozen=True, kw_only=True):
    """A whole number in the query.

    :ivar default: counts where it is not there.
    """

    low: int
    high: int
    default: int

    def of(self, request: Request) -> int:
        """What a request says.

        :raises ApiError: 400 for what is no such number.
        """
        return request.integer(self.name, self.default, self.low, self.high)


def whole(name: str, text: str, *, low: int, high: int, default: int, is_required: bool = False) -> Whole:
    """A whole number in the query; `default` is shown where it is within the bounds."""
    shown = {"default": default} if low <= default <= high and not is_required else {}
    schema = {"type": "integer", "minimum": low, "maximum": high, **shown}
    return Whole(
        name=name, text=text, schema=schema, refuses=(f"bad_{name}",), low=low, high=high, default=default,
        is_required=is_required,
    )  # fmt: skip


def _text(name: str, text: str, *, example: str | None = None, **schema: Any) -> Parameter:
    return Parameter(name=name, text=text, schema={"type": "string", **schema}, example=example)


def _header(name: str, text: str, *refuses: str, example: str | None = None, **schema: Any) -> Parameter:
    return Parameter(
        name=name, text=text, schema={"type": "string", **schema}, place="header", example=example, refuses=refuses
    )


def _level(name: str, text: str) -> Parameter:
    levels = {"type": "string", "enum": [level.value for level in Level], "default": Level.QUORUM.value}
    return Parameter(name=name, text=text, schema=levels, refuses=("bad_level",))


R = _level("r", "How many owners a read has to reach.")
W = _level("w", "How many owners have to have the write durable before it is answered.")
TTL = whole("ttl", "Seconds after which it ends by itself.", low=1, high=MAX_TTL_S, default=0)
PREFIX = _text("prefix", "Only keys that begin with this.")
AFTER = _text("after", "Only what comes behind this: the last name of the page before, or `next_after`.")
DELIMITER = _text(
    "delimiter",
    "Ends the name of a folder, such as `/`. All keys that have it behind the prefix are shown as one name, which goes "
    "up to it; names of folders are those that end with it.",
    example="/",
)
FROM = _text("from", "A cursor, from where on to tell everything; the head's `Last-Event-ID` counts before it.")
TICKET = _text("ticket", "What `POST /auth/ticket` gave: for browsers, which cannot send a token here.")
TABLE = Parameter(name="table", text="Of which table.", schema={"type": "string"}, is_required=True, like="table")
KEY = Parameter(name="key", text="Of which key.", schema={"type": "string"}, like="key")
PARTIAL = Parameter(
    name="partial",
    text="Whether to give what there is where no majority of owners can be asked; `missing` names the partitions.",
    schema={"type": "boolean", "default": False},
    refuses=("bad_partial",),
)
INITIAL = Parameter(
    name="initial",
    text="Whether to tell first what there is; `event: synced` ends that.",
    schema={"type": "boolean", "default": False},
    refuses=("bad_initial",),
)
IF_MATCH = _header(
    "If-Match",
    "ETags, or `*`: written only where the record has one of them.",
    "bad_condition",
    "precondition_failed",
    example='"..."',
    pattern=rf"^(\*|{_TAG}(, *{_TAG})*)$",
)
IF_NONE_MATCH = _header(
    "If-None-Match", "`*`: written only where there is no record.", "bad_condition", "precondition_failed", enum=["*"]
)
UNLESS_SEEN = _header("If-None-Match", "An ETag: 304 without a body where the record still has it.", example='"..."')
CAUSAL = _header(
    "X-Causal-Token", "The last one that was answered: what it names is seen, at any node.", "bad_causal_token"
)
IDEMPOTENCY_KEY = _header(
    "Idempotency-Key",
    f"Names the write: for ten minutes the same one is made once. At most {MAX_IDEMPOTENCY_KEY_BYTES} bytes.",
    "bad_idempotency_key",
    "idempotency_mismatch",
    minLength=1,
    maxLength=MAX_IDEMPOTENCY_KEY_BYTES,
    example="0b5e0f9c-8f6d-4c55-b1a7-93a2a2d0f0f1",
)
PREFER = _header("Prefer", f"`{REPRESENTATION}`: a 412 shows the record that is held.", example=REPRESENTATION)
LAST_EVENT_ID = _header("Last-Event-ID", "The `id` of the last event that was heard: to go on behind it.")
ETAG_OF_LOCK = Parameter(
    name="If-Match",
    text="The ETag that taking or renewing the lock answered.",
    schema={"type": "string", "pattern": f"^{_TAG}$"},
    place="header",
    example='"..."',
    is_required=True,
    refuses=("no_etag", "precondition_failed"),
)


def segments(limits: Limits) -> dict[str, Parameter]:
    """What paths name, by the name of the handler's argument.

    :param limits: of the node.
    """
    names = {"type": "string", "minLength": 1, "pattern": PLAIN}
    table = {**names, "maxLength": limits.table_bytes, "pattern": NO_SYSTEM, "not": {"enum": sorted(RESERVED_TABLES)}}
    user = {**names, "maxLength": MAX_USER_CHARS, "pattern": NO_RESERVED, "not": {"enum": ["admin", "ticket"]}}
    return {
        "table": _segment(
            "table",
            f"A table, 1 to {limits.table_bytes} bytes of UTF-8 without control characters. Those that begin with `_`, "
            "and `auth`, are the system's; the first words of paths are no table names.",
            table,
            "users",
            "bad_table", "system_table", "reserved_table",
        ),
        "key": _segment(
            "key",
            f"A key, 1 to {limits.key_bytes} bytes of UTF-8 without control characters; `/` is written `%2F`.",
            {**names, "maxLength": limits.key_bytes},
            "profile",
            "bad_key",
        ),
        "user": _segment(
            "user",
            f"A user's name, 1 to {MAX_USER_CHARS} bytes of UTF-8. `admin`, `ticket`, and names with `#`, a leading "
            "`_` or `service:` are reserved.",
            user,
            "alice",
            "bad_user", "reserved_name",
        ),
        "principal": _segment(
            "principal",
            "A user's name; or `service:NAME`, of a service token, or `service:ID`.",
            {**names, "maxLength": MAX_USER_CHARS + len("service:")},
            "alice",
            "bad_user", "reserved_name",
        ),
        "group": _segment(
            "group", "A group's name.", {**names, "maxLength": MAX_USER_CHARS}, "editors", "bad_group"
        ),
        "member": _segment("member", "A member, as `HOST:PORT` or by its id.", names, "127.0.0.1:6662"),
        "token_id": _segment("token_id", "The id of a service token.", names, "17"),
        "conflict": _segment(
            "conflict", "The id of a conflict.", CONFLICT, "0001a20c5d" + "0" * (2 * ID_BYTES - 10), "bad_id"
        ),
        "file": _segment("file", "The name of a file.", names, "dashboard.css"),
    }  # fmt: skip


def _segment(name: str, text: str, schema: dict[str, Any], example: str, *refuses: str) -> Parameter:
    return Parameter(
        name=name, text=text, schema=schema, place="path", example=example, is_required=True, refuses=refuses
    )
