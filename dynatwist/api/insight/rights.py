"""What somebody may do in a table, and why: asked of what decides about requests, so that both say the same."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from dynatwist.auth.reasons import Reason
from dynatwist.auth.services import NAME_PREFIX
from dynatwist.auth.tokens import Identity, Role
from dynatwist.errors import ApiError
from dynatwist.model.access import NOTHING, Granted, Scope

from ..context import Context
from ..limits import check_key, check_table, check_user
from ..openapi.described import Described, Who
from ..openapi.parameters import KEY, TABLE
from ..request import Answer, Request, json_answer
from ..shapes.insight import Because, PrefixRights, Rights, ScopeName

_SCOPES: dict[Scope, ScopeName] = {Scope.NONE: "none", Scope.OWN: "own", Scope.ANY: "any"}


class RightsRoutes:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @Described(
        who=Who.ADMIN,
        parameters=(TABLE, KEY),
        gives={200: Rights},
        refuses=("no_such_user", "no_such_token", "ambiguous"),
    )
    def show(self, request: Request, principal: str) -> Answer:
        """Show what a user, or `service:NAME`, may do in a table or with a key, and which rules say so."""
        context = self._context
        context.require_ready()
        context.require_admin(request)
        table = check_table(request.query.get("table", ""), context.limits)
        identity = self._identity(principal)
        access = context.rights.of(identity, table)
        reasons = list(context.rights.reasons(identity, table))
        shown: dict[str, Granted] = dict(access.granted)
        key = request.query.get("key")
        if key is not None:
            check_key(key, context.limits)
            prefix = access.prefix_of(key)
            shown = {prefix: access.at(key)} if prefix is not None else {}
        prefixes = [_shown(prefix, granted, reasons) for prefix, granted in sorted(shown.items())]
        most = list(shown.values()) or [NOTHING]
        answer: Rights = {
            "user": identity.name,
            "table": table,
            "groups": sorted(context.groups.of(identity)) if identity.role is Role.USER else [],
            "is_admin": context.rights.is_admin(identity),
            "has_rules": context.coordinator.tables.settings(table).access is not None,
            "read": _SCOPES[max(one.read for one in most)],
            "write": _SCOPES[max(map(_write, most))],
            "because": list(chain.from_iterable(one["because"] for one in prefixes)),
            "prefixes": prefixes,
        }
        return json_answer(200, answer)

    def _identity(self, name: str) -> Identity:
        users, services = self._context.users, self._context.services
        if not name.startswith(NAME_PREFIX):
            user = users.named(check_user(name))
            if user is None:
                raise ApiError(404, "no_such_user", f"there is no user {name!r}")
            return user
        found = services.named(name.removeprefix(NAME_PREFIX))
        if not found:
            raise ApiError(404, "no_such_token", f"there is no service token {name.removeprefix(NAME_PREFIX)!r}")
        if len(found) > 1:
            ids = ", ".join(NAME_PREFIX + one.uid.rpartition("#")[2] for one in found)
            raise ApiError(400, "ambiguous", f"{len(found)} service tokens have this name; ask for one of {ids}")
        return found[0]


def _shown(prefix: str, granted: Granted, reasons: Iterable[Reason]) -> PrefixRights:
    may = granted.may
    return {
        "prefix": prefix,
        "read": _SCOPES[granted.read],
        "write": _SCOPES[_write(granted)],
        "create": may.create,
        "update": _SCOPES[may.update],
        "delete": _SCOPES[may.delete],
        "because": [_because(one) for one in reasons if _is_about(one, prefix)],
    }


def _is_about(reason: Reason, prefix: str) -> bool:
    """Grants of shorter prefixes add to those of longer ones; of rules only the one of the prefix itself counts."""
    return prefix.startswith(reason.prefix) if reason.principal == "grant" else prefix == reason.prefix


def _write(granted: Granted) -> Scope:
    """The most that somebody may write: what may only be made is the writer's own."""
    may = granted.may
    return max(may.update, may.delete, Scope.OWN if may.create else Scope.NONE)


def _because(reason: Reason) -> Because:
    if not reason.right:
        gives = "everything"
    elif reason.scope is Scope.NONE:
        gives = f"no {reason.right}: the rule means an earlier user of this name"
    else:
        gives = reason.right if reason.right == "create" else f"{reason.right} {_SCOPES[reason.scope]}"
    return {"rule": reason.principal, "prefix": reason.prefix, "gives": gives}
