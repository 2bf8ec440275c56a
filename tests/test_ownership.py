"""Nobody reads, changes, lists or hears of another's record, and who registers a name anew owns nothing of before.

`fuzz.ownership` has the model; ``python -m fuzz ownership --minutes M`` goes on for longer.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace as change

from dynatwist.auth import rights
from dynatwist.auth.tokens import Tokens
from dynatwist.auth.users import Users
from dynatwist.model.access import Granted, Scope
from dynatwist.requests.coordinator import Coordinator
from fuzz.ownership import Ownership, check
from fuzz.target import Found
from fuzz.world import forget_logged

EXAMPLES = 100
STEPS = 50


@pytest.fixture(autouse=True)
def nothing_of_others():
    forget_logged()


def test_users_tokens_tables_and_routes_at_random():
    check(EXAMPLES, STEPS, seed=15)


class TestOneSocketAndTwoTokens:
    """Whoever has somebody's token for a while listens with it, then shows a token of their own on the same socket."""

    def stolen(self):
        story = Ownership()
        story.begin()
        story.enter(who=0, is_right=True)
        story.time_passes_on_the_wall(seconds=40)
        story.enter(who=1, is_right=True)
        story.connect()
        story.authenticate(on=0, by=1)
        story.listen(on=0, table=0, key=None, at=0)
        story.authenticate(on=0, by=2)
        return story

    def assert_over(self, story):
        story.time_passes(seconds=1.2)
        story.enter(who=0, is_right=True)
        story.one_key(by=3, table=0, key="k1", in_lane=False, how="PUT", over=False, is_brief=False)
        assert not story.sockets
        story.teardown()

    def test_it_ends_when_the_first_one_expires(self):
        story = self.stolen()
        story.time_passes_on_the_wall(seconds=90)
        self.assert_over(story)

    def test_it_ends_when_the_first_user_logs_out(self):
        story = self.stolen()
        story.logout(by=1, who=0, how="token")
        self.assert_over(story)


def everybody_reads(monkeypatch):
    compiled_for = rights.compiled_for

    def compiled(*given):
        access = compiled_for(*given)
        return rights.Access({"": Granted(Scope.ANY, access.at("").may)})

    monkeypatch.setattr(rights, "compiled_for", compiled)


def whoever_has_the_name_is_the_user(monkeypatch):
    monkeypatch.setattr(Users, "_new_uid", lambda self, name: name)


def old_tokens_go_on(monkeypatch):
    monkeypatch.setattr(Users, "is_current", lambda self, identity: self._find(identity.name) is not None)


def tokens_do_not_expire(monkeypatch):
    original = Tokens._encode

    def encode(self, name, uid, generation, role, until_s, **more):
        return original(self, name, uid, generation, role, until_s + 10_000, **more)

    monkeypatch.setattr(Tokens, "_encode", encode)


def everybody_writes(monkeypatch):
    original = Coordinator.submit
    monkeypatch.setattr(
        Coordinator, "submit", lambda self, operation, done: original(self, change(operation, any_owner=True), done)
    )


def listeners_stay(monkeypatch):
    monkeypatch.setattr(Users, "still_counts", lambda self, identity: True)


PLANTED = (
    everybody_reads,
    everybody_writes,
    whoever_has_the_name_is_the_user,
    old_tokens_go_on,
    tokens_do_not_expire,
    listeners_stay,
)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_the_model_notices(plant, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(Found):
        check(3 * EXAMPLES, STEPS, seed=1, shrinks=False)
