"""Whose a token is, is kept by a node until something changes that it depends on; it never counts longer for that."""

from __future__ import annotations

import pytest

from dynatwist.auth.tokens import TokenKeys
from fuzz.world import Nodes


@pytest.fixture
def nodes():
    made = Nodes(1)
    yield made
    made.check()


@pytest.fixture
def token(nodes):
    """A token of a user whom the node has met with it."""
    made = nodes.result(nodes.core.users.register_or_login("alice", "a long secret", "x"))[1]
    assert nodes.core.users.whose(made).name == nodes.core.users.whose(made).name == "alice"
    return made


def test_not_behind_a_logout(nodes, token):
    nodes.result(nodes.core.users.logout("alice"))
    assert nodes.core.users.whose(token) is None


def test_not_behind_another_secret_whose_token_counts(nodes, token):
    new = nodes.result(nodes.core.users.change_secret("alice", "another long secret", "x"))
    assert nodes.core.users.whose(token) is None
    assert nodes.core.users.whose(new).name == "alice"


def test_not_of_a_user_who_is_deleted_or_registered_again(nodes, token):
    uid = nodes.core.users.whose(token).uid
    nodes.result(nodes.core.users.delete("alice"))
    assert nodes.core.users.whose(token) is None
    new = nodes.result(nodes.core.users.register_or_login("alice", "a long secret", "x"))[1]
    assert nodes.core.users.whose(token) is None
    assert nodes.core.users.whose(new).uid != uid


def test_not_by_other_keys(nodes, token):
    users = nodes.core.users
    users.go_by(TokenKeys((b"k" * 32,), ("m",)), users.admin_passwords)
    assert users.whose(token) is None


def test_nor_an_administrator_s(nodes):
    users = nodes.core.users
    admin = users.admin_login(users.admin_passwords[0], "x")
    assert users.whose(admin).has_admin_role
    users.go_by(TokenKeys((b"k" * 32,), ("m",)), ("another password",))
    assert users.whose(admin) is None


def test_not_when_its_time_is_over(nodes, token):
    users, node = nodes.core.users, nodes.node
    left_ms = 1000 * users.whose(token).expires_s - node.wall_ms()
    node.set_clock(left_ms - 1)
    assert users.whose(token).name == "alice"
    node.set_clock(left_ms)
    assert users.whose(token) is None


def test_what_was_never_one_is_nobody_s(nodes, token):
    for other in (token[:-2] + "xx", "", "dks_1_x", token.upper()):
        assert nodes.core.users.whose(other) is None
    assert nodes.core.users.whose(token).name == "alice"
