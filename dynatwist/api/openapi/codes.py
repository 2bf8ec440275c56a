"""The codes of refusals, and what each says to whoever wrote the program. Errors' texts say it of the case at hand."""

from __future__ import annotations

from typing import Any

from .described import Described, Who
from .parameters import Parameter

CODES: dict[int, dict[str, str]] = {
    400: {
        "ambiguous": "Several service tokens have this name; name one by its id.",
        "bad_after": "`after` is no id of a conflict, or no number.",
        "bad_clock": "`since` is no clock of a backup.",
        "bad_causal_token": "`X-Causal-Token` is not what this store gave.",
        "bad_condition": "`If-None-Match` of a write takes only `*`, and `If-Match` an ETag.",
        "bad_expires_at": "The end of a record is no time.",
        "bad_ephemeral": "An ephemeral record cannot be had like that.",
        "bad_group": "The group's name is too long, or has control characters.",
        "bad_handshake": "The opening of a websocket is incomplete.",
        "bad_id": "The id is none of a conflict.",
        "bad_idempotency_key": "`Idempotency-Key` is empty or too long.",
        "bad_initial": "`initial` is `true` or `false`.",
        "bad_key": "The key is too long, or has control characters.",
        "bad_level": "`r` or `w` is no level.",
        "bad_limit": "`limit` is out of bounds.",
        "bad_owner": "The owner of a record can be none.",
        "bad_partial": "`partial` is `true` or `false`.",
        "bad_path": "The path is no percent-encoded UTF-8.",
        "bad_prefix": "The prefix is longer than any key.",
        "bad_query": "The query is no percent-encoded UTF-8.",
        "bad_request": "This is no well-formed HTTP/1.1.",
        "bad_setting": "The value of a setting is none.",
        "bad_span": "`span` is none of those there are.",
        "bad_table": "The table's name is too long, or has control characters.",
        "bad_ttl": "`ttl` is out of bounds, or missing.",
        "bad_user": "The user's name is too long, or has control characters.",
        "bad_wait": "`wait` is out of bounds.",
        "malformed": "The body, or a frame, has not the form that is asked for.",
        "malformed_json": "The body is no JSON; the text says where it ends to be.",
        "no_etag": "`If-Match` has to name an ETag.",
        "no_setting": "Nothing was named that is to be set.",
        "not_an_object": "The body, or a value, has to be a JSON object.",
        "old_secret_missing": "A secret is changed by whoever knows the one so far.",
        "reserved_table": "The first words of paths are no table names.",
        "too_deep": "The JSON is nested too deeply.",
        "unknown_field": "There is no such setting.",
        "unknown_op": "There is no such operation on a websocket.",
        "unknown_parameter": "The path takes no such parameter; the text names those that it takes.",
        "unknown_principal": "There is no such principal.",
        "unknown_right": "There is no such right.",
        "weak_secret": "The secret is too short.",
    },
    401: {
        "bad_ticket": "The ticket is not valid, used or expired.",
        "bad_token": "The token is not valid, or not any more: log in again.",
        "no_token": "A token is missing.",
        "wrong_password": "The administrator's password is another one.",
        "wrong_secret": "The user's secret is another one.",
    },
    403: {
        "admin_only": "Only an administrator may do this.",
        "forbidden": "The rules do not give you this right.",
        "foreign_origin": "A page of another origin sent this, and `--cors-origin` does not name it.",
        "registration_closed": "Only administrators make users here.",
        "reserved_name": "The name is reserved; choose another.",
        "system_table": "The table is the system's.",
    },
    404: {
        "no_such_group": "There is no such group.",
        "no_such_member": "There is no such member.",
        "no_such_subscription": "There is no such subscription on this socket.",
        "no_such_token": "There is no service token of that id.",
        "no_such_user": "There is no such user.",
        "not_found": "There is no such record, conflict or path.",
        "not_registered": "The name is not registered, and was not to be.",
    },
    405: {"method_not_allowed": "The path takes other methods; `Allow` names them."},
    408: {"too_slow": "Head or body did not come in time."},
    409: {
        "ambiguous_member": "Several members have this address; the text names their ids.",
        "another_user": "The socket is another user's.",
        "changed_meanwhile": "Somebody else changes the settings: look, and try again.",
        "deletes_forgotten": "Something may have been deleted since of which no member knows: make a full backup.",
        "conflict": "Somebody else has changed the record meanwhile: read it, and try again.",
        "id_in_use": "A subscription with this id exists on this socket.",
        "last_member": "The last member stays.",
        "lock_ended": "The lock was had under this name, and has ended since.",
        "not_now": "It cannot be done now; the text says why, and what to do.",
        "locked": "The lock is held; `holder` says by whom.",
        "not_all_members": "A member did not take the step; the text says which.",
        "not_empty": "Records are in the table: how it is kept is set while it is empty.",
        "not_strong": "The table is not strong, so there are no locks in it.",
        "user_exists": "The name is registered already.",
    },
    412: {"precondition_failed": "The condition does not hold."},
    413: {"too_large": "The body or value is longer than this route takes."},
    415: {"unsupported_encoding": "Send the body without `Content-Encoding`."},
    421: {"wrong_host": "The node does not go by this name: `--host-name`."},
    422: {"idempotency_mismatch": "Another write was made under this `Idempotency-Key`."},
    426: {"upgrade_required": "This path speaks websocket."},
    429: {
        "slow_down": "Too many failed logins, or tries by strangers.",
        "too_many": "The user or the address has its share; the text names the limit.",
        "too_many_tickets": "The user has as many tickets as there may be.",
    },
    431: {"head_too_large": "The head of the request is too long."},
    500: {"internal": "A fault of the node's, which its log describes."},
    503: {
        "full": "All of something is spent; the text names the limit.",
        "no_majority": "A majority of the members cannot be reached.",
        "overloaded": "The owners have too much to do; nothing was done.",
        "removed": "This node was removed from its cluster.",
        "starting": "This node has not met enough of its cluster yet; nothing was done.",
        "unavailable": "Not enough owners can be reached; nothing was done.",
        "uncertain": "It may have been done, or may be yet.",
        "upgrading": "A member runs an older release.",
    },
    507: {
        "disk": "The disk is full, or fails.",
        "full": "The node's memory limit is reached, or its disk full.",
        "memory_full": "The node's memory limit is reached.",
    },
}
STATUS_OF = {code: status for status, codes in reversed(CODES.items()) for code in codes}
"""Of a code that goes with two, the first one; the other is written with its status, as in ``507 full``."""

ALWAYS = (
    "bad_request", "foreign_origin", "too_slow", "too_large", "unsupported_encoding", "wrong_host", "head_too_large",
    "internal", "full", "too_many", "bad_query", "unknown_parameter",
)  # fmt: skip
"""Whatever is asked for."""
OF_WHO = {
    Who.ANYBODY: (),
    Who.STATUS: ("no_token", "bad_token", "admin_only", "starting"),
    Who.READER: ("no_token", "bad_token", "starting", "removed"),
    Who.LISTENER: ("no_token", "bad_token", "bad_ticket", "starting", "removed", "unavailable"),
    Who.ACCOUNT: ("no_token", "bad_token", "wrong_secret", "forbidden", "slow_down", "starting", "removed"),
    Who.USER: ("no_token", "bad_token", "starting", "removed"),
    Who.ADMIN: ("no_token", "bad_token", "admin_only", "starting", "removed"),
}
OF_A_BODY = ("malformed_json", "malformed", "not_an_object", "too_deep")
READING = ("unavailable", "uncertain", "overloaded")
"""Asking the owners."""
WRITING = ("forbidden", "malformed", "conflict", *READING, "507 full")
AGREEING = ("no_majority", "uncertain", "unavailable", "upgrading", "overloaded", "memory_full")
"""A change of what all members agree on."""


def refusals(said: Described, path: tuple[Parameter, ...], beside: tuple[Parameter, ...]) -> dict[int, list[str]]:
    """The codes that an operation may be refused with, by status.

    :param path: what its path names.
    :param beside: what its query and head name.
    """
    codes = {*ALWAYS, *OF_WHO[said.who], *said.refuses, *(OF_A_BODY if said.takes is not None else ())}
    for parameter in (*path, *beside):
        codes |= set(parameter.refuses)
    if path:
        codes.add("bad_path")
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes):
        status, _, name = code.rpartition(" ")
        by_status.setdefault(int(status or STATUS_OF[name]), []).append(name)
    return dict(sorted(by_status.items()))


def all_codes() -> dict[str, Any]:
    """The schema of a code: one of these, and what each says."""
    said = sorted({(code, text) for codes in CODES.values() for code, text in codes.items()})
    return {"type": "string", "anyOf": [{"const": code, "description": text} for code, text in said]}
