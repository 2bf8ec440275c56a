"""Mistakes in who may do what, in a table whose rules change."""

from __future__ import annotations

import msgspec

from dynatwist.api import live, record_door
from dynatwist.auth import rights
from dynatwist.auth.rights import Access, Rights
from dynatwist.model.access import Scope


def _regranted(patch, change):
    """What the rules with a prefix grant is changed, as it is compiled for a caller."""
    compiled_for = rights.compiled_for

    def compiled(*args):
        access = compiled_for(*args)
        return Access({prefix: change(granted) for prefix, granted in access._by_prefix.items()})

    patch.setattr(rights, "compiled_for", compiled)


def _with_may(granted, **fields):
    return msgspec.structs.replace(granted, may=msgspec.structs.replace(granted.may, **fields))


def rules_compiled_once(patch):
    """What was compiled for a caller is kept when the rules change."""
    find = Rights._find

    def lasting(self, identity, uid, table):
        compiled = self._compiled.get((uid, table))
        return compiled[2] if compiled is not None else find(self, identity, uid, table)

    patch.setattr(Rights, "_find", lasting)


def the_rule_with_the_shortest_prefix_counts(patch):
    """Of several rules that match, the most general one counts."""

    def at(self, key):
        found = (self._by_prefix.get(key[:length]) for length in reversed(self._lengths))
        return next((granted for granted in found if granted is not None), rights.NOTHING)

    patch.setattr(Access, "at", at)


def everybody_is_meant_by_the_callers_prefix(patch):
    """``{user}`` in a prefix stands for one and the same name, whoever calls."""
    prefix_for = rights.prefix_for
    patch.setattr(rights, "prefix_for", lambda prefix, who: prefix_for(prefix.replace("{user}", "alice"), who))


def a_listener_sees_what_it_saw_before(patch):
    """What a listener may see is found out when it listens first, and stays."""
    sees, known = live._Sight.sees, {}

    def lasting(self, key, record):
        place = self._context, self._identity, key, record.owner
        if place not in known:
            known[place] = sees(self, key, record)
        return known[place]

    patch.setattr(live._Sight, "sees", lasting)


def whoever_may_create_may_write_over(patch):
    """A right to create counts for what is there already."""
    _regranted(patch, lambda one: _with_may(one, update=Scope.ANY) if one.may.create else one)


def nobody_but_an_owner_deletes(patch):
    """A right to delete others' records is not known."""
    _regranted(patch, lambda one: _with_may(one, delete=min(one.may.delete, Scope.OWN)))


def an_owner_reads_whatever_the_rules_say(patch):
    """A record's owner is let in without a look at the rules."""
    _regranted(patch, lambda one: msgspec.structs.replace(one, read=max(one.read, Scope.OWN)))


def a_patch_shows_what_may_not_be_read(patch):
    """Whoever may change a record is shown it."""
    patch.setattr(record_door, "_without_value", lambda result: result)
