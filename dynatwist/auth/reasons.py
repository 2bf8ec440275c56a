"""Why somebody may do something: which principals of which rules, or which grants, give which right. For people.

`dynatwist.auth.rights` decides; what is told here is what it asks of each rule, one principal at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dynatwist.model.access import RIGHTS, USER, Rule, Scope

from .services import Grant
from .tokens import Identity


@dataclass(frozen=True, slots=True)
class Reason:
    """See the module.

    :ivar principal: of a rule; or what else gives a right.
    :ivar prefix: of the keys that it is about, the caller's name put in.
    :ivar right: of `RIGHTS`; empty for all of them.
    :ivar scope: whose records; `Scope.NONE` where somebody might think that it gives something.
    """

    principal: str
    prefix: str
    right: str
    scope: Scope


def of_rules(
    in_force: Iterable[tuple[str, Rule]],
    identity: Identity | None,
    scope_of: Callable[[tuple[str, ...]], Scope],
) -> Iterator[Reason]:
    """Of each principal, what it gives to somebody.

    :param in_force: rules by prefix.
    :param scope_of: what some principals give.
    """
    mine = USER + identity.name if identity is not None else ""
    for prefix, rule in in_force:
        for right in RIGHTS:
            for principal in getattr(rule, right):
                scope = scope_of((principal,))
                if scope is not Scope.NONE or principal == mine:
                    yield Reason(principal, prefix, right, scope)


def of_grants(grants: Iterable[Grant], table: str) -> Iterator[Reason]:
    """Of each grant of a service token, what it gives."""
    for grant in grants:
        if grant.table == table:
            for right in grant.rights:
                yield Reason("grant", grant.prefix, right, Scope.ANY)
