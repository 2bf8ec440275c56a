"""The one place that decides who may do what. Every way in asks here: routes, lane, batches, listings, listeners.

A table's rules are compiled for a caller once, and again when the table's settings, the caller's groups, or the
service token change; each request then looks one prefix up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from dynatwist.model.access import (
    ALL,
    ANONYMOUS,
    ANY_TOKEN,
    CALLER,
    GROUP,
    NOTHING,
    OWNER,
    PUBLIC,
    RIGHTS,
    USER,
    USUAL,
    Granted,
    May,
    Rule,
    Scope,
)
from dynatwist.model.record import Key
from dynatwist.requests.tables import Settings, Tables

from .groups import ADMINS, Groups
from .reasons import Reason, of_grants, of_rules
from .services import Grant, Services
from .tokens import Identity, Role

MOST_COMPILED = 20_000
"""Pairs of caller and table: some ten megabytes where tables have few rules. Beyond it, all are compiled anew."""


class Access:
    """What one caller may do in one table.

    :param granted: by prefix.
    """

    __slots__ = ("_by_prefix", "_everywhere", "_lengths", "reads_nothing")

    def __init__(self, granted: dict[str, Granted]) -> None:
        self._by_prefix = granted
        self._lengths = sorted({len(prefix) for prefix in granted}, reverse=True)
        self._everywhere = granted.get("") if len(granted) == 1 else None
        self.reads_nothing = all(one.read is Scope.NONE for one in granted.values())

    def at(self, key: str) -> Granted:
        """What is granted for a key: what the rule with the longest matching prefix says, alone."""
        if self._everywhere is not None:
            return self._everywhere
        by_prefix = self._by_prefix
        for length in self._lengths:
            granted = by_prefix.get(key[:length])
            if granted is not None:
                return granted
        return NOTHING

    @property
    def granted(self) -> Mapping[str, Granted]:
        """What is granted, by prefix."""
        return self._by_prefix

    def prefix_of(self, key: str) -> str | None:
        """Which prefix decides about a key; ``None`` for none."""
        return next((key[:length] for length in self._lengths if key[:length] in self._by_prefix), None)


EVERYTHING = Access({"": ALL})


class Rights:
    """See the module.

    :param anonymous_read: whether anybody may read tables that have no rules of their own.
    """

    def __init__(self, tables: Tables, groups: Groups, services: Services, *, anonymous_read: bool) -> None:
        self._tables = tables
        self._groups = groups
        self._services = services
        self._anonymous_read = anonymous_read
        self._compiled: dict[tuple[str, str], tuple[object, object, Access]] = {}
        self._found: dict[tuple[str, str], Access] = {}
        self._version = 0

    @property
    def version(self) -> int:
        """Another number when anything has changed that rights depend on."""
        return self._tables.version

    def is_admin(self, identity: Identity | None) -> bool:
        """Whether somebody is an administrator: by the password, or as a member of the group ``admins``."""
        if identity is None:
            return False
        return identity.has_admin_role or (identity.role is Role.USER and ADMINS in self._groups.of(identity))

    def at(self, identity: Identity | None, key: Key) -> Granted:
        """What somebody may do with a key."""
        return self.of(identity, key[0]).at(key[1])

    def of(self, identity: Identity | None, table: str) -> Access:
        """What somebody may do in a table."""
        version = self._tables.version
        if version != self._version:
            self._version = version
            self._found.clear()
        uid = identity.uid if identity is not None else ""
        access = self._found.get((uid, table))
        if access is None:
            access = self._found[uid, table] = self._find(identity, uid, table)
        return access

    def reasons(self, identity: Identity, table: str) -> Iterator[Reason]:
        """Why somebody may do what in a table."""
        if identity.has_admin_role:
            yield Reason("administrator", "", "", Scope.ANY)
        elif self.is_admin(identity):
            yield Reason(GROUP + ADMINS, "", "", Scope.ANY)
        elif identity.role is Role.SERVICE:
            yield from of_grants(self._services.grants(identity), table)
        else:
            is_meant = self._is_caller(identity, self._tables.settings(table))
            rules = in_force(self._rules(table), identity).items()
            yield from of_rules(rules, identity, lambda principals: _scope(principals, identity, is_meant))

    def _find(self, identity: Identity | None, uid: str, table: str) -> Access:
        """The same, when something of the system's has changed; mostly nothing that matters here."""
        if self.is_admin(identity):
            return EVERYTHING
        kept = self._tables.kept(table)
        if identity is not None and identity.role is Role.SERVICE:
            depends: object = self._services.kept(identity)
        else:
            depends = self._groups.of(identity) if identity is not None else None
        compiled = self._compiled.get((uid, table))
        if compiled is not None and compiled[0] is kept and compiled[1] is depends:
            return compiled[2]
        if len(self._compiled) >= MOST_COMPILED:
            self._compiled.clear()
            self._found.clear()
        access = self._compile(identity, table)
        self._compiled[uid, table] = kept, depends, access
        return access

    def _compile(self, identity: Identity | None, table: str) -> Access:
        if identity is not None and identity.role is Role.SERVICE:
            return granted_to_service(self._services.grants(identity), table)
        return compiled_for(self._rules(table), identity, self._is_caller(identity, self._tables.settings(table)))

    def _rules(self, table: str) -> tuple[Rule, ...]:
        access = self._tables.settings(table).access
        return access if access is not None else (PUBLIC if self._anonymous_read else USUAL,)

    def _is_caller(self, identity: Identity | None, settings: Settings) -> Callable[[str], bool]:
        """Tells of ``user:`` and ``group:`` whether the caller is meant."""
        groups = self._groups.of(identity) if identity is not None else frozenset()

        def is_meant(principal: str) -> bool:
            if identity is None:
                return False
            if principal.startswith(USER):
                name = principal.removeprefix(USER)
                return name == identity.name and settings.bound.get(name, identity.uid) == identity.uid
            return principal.startswith(GROUP) and principal.removeprefix(GROUP) in groups

        return is_meant


def compiled_for(rules: Iterable[Rule], identity: Identity | None, is_meant: Callable[[str], bool]) -> Access:
    """What rules grant to somebody, by prefix."""
    granted: dict[str, Granted] = {}
    for prefix, rule in in_force(rules, identity).items():
        scopes = {right: _scope(getattr(rule, right), identity, is_meant) for right in RIGHTS}
        may = May(scopes["create"] is not Scope.NONE, scopes["update"], scopes["delete"])
        granted[prefix] = Granted(scopes["read"], may)
    return Access(granted)


def in_force(rules: Iterable[Rule], identity: Identity | None) -> dict[str, Rule]:
    """The rules that count for somebody, by prefix. Where two rules have one prefix for a caller, the one without
    ``{user}`` counts, whichever comes first."""
    found: dict[str, Rule] = {}
    for rule in sorted(rules, key=lambda one: CALLER in one.prefix, reverse=True):
        prefix = prefix_for(rule.prefix, identity)
        if prefix is not None:
            found[prefix] = rule
    return found


def prefix_for(prefix: str, identity: Identity | None) -> str | None:
    """The prefix with the caller's name in it; ``None`` where that makes none.

    A name that has in it what stands behind ``{user}`` would reach into the keys of another: ``{user}/`` of ``ann/b``
    into those of ``ann``. Such a caller has no part in the rule.
    """
    before, _, behind = prefix.partition(CALLER)
    if before == prefix:
        return prefix
    if identity is None or identity.role is not Role.USER or (behind and behind[0] in identity.name):
        return None
    return before + identity.name + behind


def _scope(principals: tuple[str, ...], identity: Identity | None, is_meant: Callable[[str], bool]) -> Scope:
    if ANONYMOUS in principals:
        return Scope.ANY
    if identity is None:
        return Scope.NONE
    if ANY_TOKEN in principals or any(map(is_meant, principals)):
        return Scope.ANY
    return Scope.OWN if OWNER in principals else Scope.NONE


def granted_to_service(grants: Iterable[Grant], table: str) -> Access:
    """What a service token may do in a table: what it was made for, whosever the records are, and nothing else."""
    mine = [one for one in grants if one.table == table]
    granted: dict[str, Granted] = {}
    for prefix in {one.prefix for one in mine}:
        rights = {right for one in mine if prefix.startswith(one.prefix) for right in one.rights}
        scopes = {right: Scope.ANY if right in rights else Scope.NONE for right in ("read", "update", "delete")}
        granted[prefix] = Granted(scopes["read"], May("create" in rights, scopes["update"], scopes["delete"]))
    return Access(granted)
