"""Rules about records, by every route."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from .model import ADMIN, KEYS, TTL_S, Model, Row, Token, text_of


class Records(Model):
    """See the module."""

    @rule(
        by=st.integers(-1, 50), table=st.integers(0, 1), key=st.sampled_from(KEYS), in_lane=st.booleans(),
        how=st.sampled_from(("PUT", "PUT", "PATCH", "DELETE", "GET", "GET")), over=st.booleans(),
        is_brief=st.sampled_from((False, False, False, True)),
    )  # fmt: skip
    def one_key(self, by: int, table: int, key: str, in_lane: bool, how: str, over: bool, is_brief: bool) -> None:
        """By its own route, or the administrator's; by somebody or nobody."""
        name, token = self._table(table), self._token(by) if by >= 0 else None
        path = ("admin", "table", name, "key", key) if over and how != "PATCH" else (name, "key", key)
        row, serial = self._row(name, key), next(self.serials)
        is_brief = is_brief and self.is_steady and how == "PUT"
        query = {"ttl": str(TTL_S)} if is_brief else {}
        body = {"n": serial} if how in ("PUT", "PATCH") else None
        status, answer = self.routes.ask(
            how, *path, token=text_of(token), body=body, query=query, in_lane=in_lane and path[0] == name
        )
        if path[0] == "admin" and self._counts(token) and token is not None and token.account is not ADMIN:
            expected = 403
        else:
            expected = self._expected(how, token, row, 201 if path[0] == name else 200)
        self._is(status, expected, f"{how} {path}")
        if status < 300:
            self._happened(how, token, (name, key), row, serial, is_brief, answer)

    def _expected(self, how: str, token: Token | None, row: Row | None, put_status: int) -> int:
        if not self._counts(token):
            return 401
        assert token is not None
        if row is None:
            return put_status if how == "PUT" else 404
        if token.account is not ADMIN and row.owner is not token.account:
            return 403
        return put_status if how == "PUT" else 200

    def _happened(
        self,
        how: str,
        token: Token | None,
        name: tuple[str, str],
        row: Row | None,
        serial: int,
        brief: bool,
        answer: Any,
    ) -> None:
        assert token is not None
        if how == "GET":
            assert row is not None
            self._is_row(answer, row)
            return
        if how == "DELETE":
            del self.rows[name]
            self._tell(name, row.owner if row else ADMIN, None)
            return
        owner = row.owner if row is not None else token.account
        ends_s = row.ends_s if row is not None and how == "PATCH" else float("inf")
        if brief:
            ends_s = self.nodes.world.now_s + TTL_S
        self.rows[name] = Row(owner, serial, ends_s)
        self.owner_of[serial] = owner
        self.owners_ever.setdefault(name, set()).add(owner)
        if answer is not None:
            self._is_row(answer, self.rows[name])
        self._tell(name, owner, serial)

    def _is_row(self, record: Any, row: Row) -> None:
        self._is((record["value"], record["owner"]), ({"n": row.serial}, row.owner.name), "a record")

    @rule(by=st.integers(-1, 50), table=st.integers(0, 1), how=st.sampled_from(("keys", "many", "store", "admin")))
    def many_keys(self, by: int, table: int, how: str) -> None:
        """What somebody may not read does not exist for its lists."""
        name, token = self._table(table), self._token(by) if by >= 0 else None
        text = text_of(token)
        rows = {key: row for key in KEYS if (row := self._row(name, key)) is not None}
        if self._counts(token) and token is not None and token.account is not ADMIN:
            rows = {key: row for key, row in rows.items() if row.owner is token.account}
        if how == "keys":
            status, answer = self.routes.ask("GET", name, "keys", token=text)
        elif how == "many":
            status, answer = self.routes.ask("POST", name, "keys", token=text, body={"keys": list(KEYS)})
        elif how == "store":
            status, answer = self.routes.ask("GET", name, "store", token=text)
        else:
            status, answer = self.routes.ask("GET", "admin", "table", name, "keys", token=text)
        expected = 200 if self._counts(token) else 401
        if how == "admin" and expected == 200 and token is not None and token.account is not ADMIN:
            expected = 403
        self._is(status, expected, f"{how} of {name}")
        if status != 200:
            return
        if how in ("keys", "admin"):
            self._is(answer if how == "keys" else answer["keys"], sorted(rows), f"{how} of {name}")
        else:
            self._is({key: one["value"]["n"] for key, one in answer.items()},
                     {key: row.serial for key, row in rows.items()}, f"{how} of {name}")  # fmt: skip

    @rule(
        by=st.integers(-1, 50),
        table=st.integers(0, 1),
        ops=st.lists(st.tuples(st.booleans(), st.sampled_from(KEYS)), max_size=3, unique_by=lambda op: op[1]),
    )
    def batch(self, by: int, table: int, ops: list[tuple[bool, str]]) -> None:
        """An outcome each."""
        name, token = self._table(table), self._token(by) if by >= 0 else None
        plan = [("PUT" if is_put else "DELETE", key, self._row(name, key), next(self.serials)) for is_put, key in ops]
        body = {
            "ops": [
                {"op": how.lower(), "key": key, **({"value": {"n": serial}} if how == "PUT" else {})}
                for how, key, _, serial in plan
            ]
        }
        status, answer = self.routes.ask("POST", name, "batch", token=text_of(token), body=body)
        self._is(status, 200 if self._counts(token) else 401, "a batch")
        if status != 200:
            return
        assert token is not None
        happened = []
        for (how, key, row, serial), outcome in zip(plan, answer["results"], strict=True):
            self._is(outcome["status"], self._expected(how, token, row, 201), f"{how} {key} in a batch")
            if outcome["status"] < 300:
                happened.append((how, key, row, serial))
                self.owner_of[serial] = row.owner if row is not None else token.account
        for how, key, row, serial in happened:
            self._happened(how, token, (name, key), row, serial, False, None)
