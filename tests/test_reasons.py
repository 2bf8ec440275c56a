"""Why somebody may do something: what is named gives what is granted, and nothing that is named gives more."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.auth import rights
from dynatwist.auth.reasons import of_grants, of_rules
from dynatwist.auth.services import Grant
from dynatwist.auth.tokens import Identity, Role
from dynatwist.model.access import RIGHTS, Rule, Scope

PREFIXES = st.sampled_from(["", "a", "a/", "{user}/", "ann/", "b"])
PRINCIPALS = st.lists(
    st.sampled_from(["owner", "*", "anonymous", "user:ann", "user:ben", "group:g", "group:h"]), max_size=3, unique=True
).map(tuple)
RULES = st.lists(st.builds(Rule, PREFIXES, PRINCIPALS, PRINCIPALS, PRINCIPALS, PRINCIPALS), max_size=4)
ANN = Identity("ann", "ann#1", Role.USER, 0, 0)
GRANTS = st.lists(
    st.builds(Grant, st.sampled_from("tu"), PREFIXES, st.lists(st.sampled_from(RIGHTS), unique=True).map(tuple)),
    max_size=4,
)


def right_of(granted, right):
    if right == "read":
        return granted.read
    given = getattr(granted.may, right)
    return (Scope.ANY if given else Scope.NONE) if right == "create" else given


@settings(max_examples=50)
@given(RULES, st.sampled_from([ANN, None]), st.sampled_from([{"user:ann", "group:g"}, {"group:g"}, set()]))
def test_of_rules_the_greatest_reason_is_what_is_granted(rules, identity, meant):
    """Also where ``user:ann`` means an earlier ann: then that is told, and gives nothing."""
    access = rights.compiled_for(rules, identity, meant.__contains__)
    in_force = rights.in_force(rules, identity).items()
    reasons = list(of_rules(in_force, identity, lambda those: rights._scope(those, identity, meant.__contains__)))
    for prefix, granted in access.granted.items():
        for right in RIGHTS:
            told = [one.scope for one in reasons if (one.prefix, one.right) == (prefix, right)]
            found = max(told, default=Scope.NONE)
            assert right_of(granted, right) == (found if right != "create" else Scope.ANY if found else Scope.NONE)
    assert {one.prefix for one in reasons} <= access.granted.keys()
    assert {one.principal for one in reasons if one.scope is Scope.NONE} <= {"user:ann"}


@given(RULES, st.text("ab/n", max_size=5))
def test_the_prefix_that_is_named_is_the_one_that_decides(rules, key):
    access = rights.compiled_for(rules, ANN, {"user:ann"}.__contains__)
    prefix = access.prefix_of(key)
    assert access.at(key) == (access.granted[prefix] if prefix is not None else rights.NOTHING)


@given(GRANTS)
def test_of_grants_those_of_shorter_prefixes_add_up(grants):
    access = rights.granted_to_service(grants, "t")
    reasons = list(of_grants(grants, "t"))
    for prefix, granted in access.granted.items():
        for right in RIGHTS:
            is_given = any(one.right == right and prefix.startswith(one.prefix) for one in reasons)
            assert right_of(granted, right) == (Scope.ANY if is_given else Scope.NONE)
