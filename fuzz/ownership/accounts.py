"""Rules about accounts, tokens and time."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from .model import ADMIN, EXPIRED_S, Account, Model, Token, text_of


class Accounts(Model):
    """See the module."""

    @rule(who=st.integers(0, 2), is_right=st.sampled_from((True, True, True, False)))
    def enter(self, who: int, is_right: bool) -> None:
        """Register, or log in, with the right secret or a wrong one."""
        name = self._name(who)
        account = self.accounts.get(name)
        secret = account.secret if account is not None and is_right else f"a long secret {next(self.serials)}"
        until_ms = self._until_ms()
        status, answer = self.routes.ask("POST", "auth", name, body={"secret": secret})
        if status == 429:
            return
        expected = 201 if account is None else 200 if is_right else 401
        self._is(status, expected, f"{name} enters")
        if account is None:
            account = self.accounts[name] = Account(name, secret)
        if status != 401:
            self.tokens.append(Token(answer["token"], account, until_ms))

    @rule(by=st.integers(0, 50), who=st.integers(0, 2), how=st.sampled_from(("token", "secret", "wrong", "nothing")))
    def delete_account(self, by: int, who: int, how: str) -> None:
        """With a token, anybody's; or with a secret."""
        self._end_account(("DELETE", "auth", self._name(who)), by, who, how, self._deleted)

    @rule(by=st.integers(0, 50), who=st.integers(0, 2), how=st.sampled_from(("token", "secret", "wrong", "nothing")))
    def logout(self, by: int, who: int, how: str) -> None:
        """The same."""
        self._end_account(("POST", "auth", self._name(who), "logout"), by, who, how, self._end_tokens)

    def _deleted(self, account: Account) -> None:
        account.is_there = False
        del self.accounts[account.name]
        self._end_tokens(account)

    def _end_account(self, path: tuple[str, ...], by: int, who: int, how: str, then: Any) -> None:
        account = self.accounts.get(self._name(who))
        token = self._token(by) if how == "token" else None
        secret = {"secret": account.secret if account is not None else "nothing", "wrong": "wrong secret"}.get(how)
        status, _ = self.routes.ask(
            *path, token=text_of(token), body={"old_secret": secret} if secret is not None else None
        )
        if status == 429:
            return
        if token is not None:
            may = token.account is ADMIN or token.account.name == self._name(who)
            expected = 401 if not self._counts(token) else 403 if not may else 200 if account is not None else 404
        elif how == "nothing":
            expected = 401
        else:
            expected = 404 if account is None else 200 if how == "secret" else 401
        self._is(status, expected, f"{path} with {how}")
        if status == 200 and account is not None:
            then(account)

    @rule(who=st.integers(0, 2))
    def somebody_else_gets_the_name(self, who: int) -> None:
        """At once: what the former one had may still be on its way."""
        if self._name(who) in self.accounts:
            self.delete_account(by=0, who=who, how="secret")
            self.enter(who=who, is_right=True)

    @rule(by=st.integers(0, 50), who=st.integers(0, 2), is_right=st.booleans(), has_token=st.booleans())
    def change_secret(self, by: int, who: int, is_right: bool, has_token: bool) -> None:
        """It asks for the old one, token or not."""
        name = self._name(who)
        account = self.accounts.get(name)
        token = self._token(by) if has_token else None
        secret, old = f"a long secret {next(self.serials)}", account.secret if account and is_right else "wrong secret"
        until_ms = self._until_ms()
        status, answer = self.routes.ask(
            "PUT", "auth", name, "secret", token=text_of(token), body={"secret": secret, "old_secret": old}
        )
        if status == 429:
            return
        expected = 404 if account is None else 200 if is_right else 401
        if token is not None:
            if not self._counts(token):
                expected = 401
            elif token.account is ADMIN:
                expected = 200 if account is not None else 404
            elif token.account.name != name:
                expected = 403
        self._is(status, expected, f"{name}'s secret is changed")
        if status == 200 and account is not None:
            account.secret = secret
            self._end_tokens(account)
            self.tokens.append(Token(answer["token"], account, until_ms))

    @rule(by=st.integers(0, 50), who=st.integers(0, 2), what=st.sampled_from(("create", "delete", "logout", "list")))
    def administer(self, by: int, who: int, what: str) -> None:
        """The administrator's routes, with whatever token."""
        name, token = self._name(who), self._token(by)
        account = self.accounts.get(name)
        secret = f"a long secret {next(self.serials)}"
        method, path, expected = {
            "create": ("PUT", ("admin", "users", name), 201 if account is None else 409),
            "delete": ("DELETE", ("admin", "users", name), 200 if account is not None else 404),
            "logout": ("POST", ("admin", "users", name, "logout"), 200 if account is not None else 404),
            "list": ("GET", ("admin", "users"), 200),
        }[what]
        body = {"secret": secret} if what == "create" else None
        status, _ = self.routes.ask(method, *path, token=token.text, body=body)
        if token.account is not ADMIN:
            expected = 403 if self._counts(token) else 401
        elif not self._counts(token):
            expected = 401
        self._is(status, expected, f"{what} {name}")
        if status == 201:
            self.accounts[name] = Account(name, secret)
        elif status == 200 and account is not None and what == "delete":
            self._deleted(account)
        elif status == 200 and account is not None and what == "logout":
            self._end_tokens(account)

    @rule()
    def admin_logs_in(self) -> None:
        """Its former token may have expired."""
        self.admin = Token(
            self.core.users.admin_login(self.core.users.admin_passwords[0], "x"), ADMIN, self._until_ms()
        )
        self.tokens.append(self.admin)

    @precondition(lambda self: not any(row.ends_s < float("inf") for row in self.rows.values()))
    @rule(seconds=st.sampled_from((3, 40, 90)))
    def time_passes_on_the_wall(self, seconds: int) -> None:
        """Tokens expire by it."""
        self.nodes.node.skew_ms += seconds * 1000
        self.is_steady = False
        self._counted_all()

    @rule(seconds=st.sampled_from((0.3, 1.2)))
    def time_passes(self, seconds: float) -> None:
        """A moment in which whoever is connected and has to go is gone."""
        self._counted_all()
        self.nodes.run(seconds)
        self._look_at_connected()

    @precondition(lambda self: any(row.ends_s < float("inf") for row in self.rows.values()))
    @rule()
    def records_end(self) -> None:
        """All that were written for a while."""
        self._counted_all()
        self.nodes.run(EXPIRED_S)
        self.rows = {name: row for name, row in self.rows.items() if row.ends_s == float("inf")}
        self._look_at_connected()

    def _counted_all(self) -> None:
        """Note whose time is over now."""
        for token in self.tokens:
            self._counted_lately(token)
