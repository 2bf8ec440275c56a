"""Reading etcd by its gRPC gateway, and Consul by its HTTP API."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from dynatwist.importing import consul, etcd
from dynatwist.importing.rows import Item, SourceError

from .sources import Source, now_ms

TIMEOUT_S = 30.0
"""Of one request: Consul tells all that it has in one answer."""
PAGE = 100
"""Keys of etcd in one answer: at most some hundred megabytes, as etcd takes values of 1.5 MiB; usually far less."""


class _Http:
    """Requests to one server; what goes wrong is a `SourceError`."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
            host = parts.hostname or ""
            self.url = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
            self._client = httpx.Client(base_url=self.url, timeout=TIMEOUT_S)
        except (ValueError, httpx.InvalidURL) as error:
            raise SourceError(f"this is no URL: {error}") from None
        if not host:
            raise SourceError("there is no host in the URL; write http://HOST:PORT")
        self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> httpx.Response:
        try:
            return self._client.request(method, path, json=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise SourceError(f"{self.url} does not answer: {str(error) or type(error).__name__}") from None

    def refusal(self, answer: httpx.Response) -> SourceError:
        said = " ".join(answer.text.split())[:200]
        return SourceError(f"{self.url} answers {answer.status_code}: {said}")


class EtcdGateway(Source):
    """All pages are of one revision, so what is read is one state of the store."""

    def __init__(self, url: str) -> None:
        self._http = _Http(url)
        self._headers: dict[str, str] = {}
        self._ends_ms: dict[int, int] = {}
        self._first: etcd.Page | None = None

    def items(self) -> Iterator[Item]:
        """See `Source`."""
        page = self._begun()
        revision = page.revision
        while True:
            for lease in {one.lease for one in page.entries if one.lease}:
                self._learn_end(lease)
            yield from etcd.rows_of(page, self._ends_ms)
            if not page.next_key:
                return
            page = self._page(page.next_key, revision)

    def count(self) -> int | None:
        """See `Source`."""
        return self._begun().count

    def _begun(self) -> etcd.Page:
        if self._first is None:
            self._log_in()
            self._first = self._page(b"", 0)
        return self._first

    def _log_in(self) -> None:
        name, _, password = os.environ.get("ETCDCTL_USER", "").partition(":")
        name, password = self._http.user or name, self._http.password or password
        if name:
            answer = self._asked("/v3/auth/authenticate", {"name": name, "password": password})
            self._headers = {"Authorization": etcd.token_of(answer.content)}

    def _page(self, begin: bytes, revision: int) -> etcd.Page:
        return etcd.page_of(self._asked("/v3/kv/range", etcd.range_request(begin, revision, PAGE)).content)

    def _learn_end(self, lease: int) -> None:
        if lease not in self._ends_ms:
            left_s = etcd.seconds_left(self._asked("/v3/lease/timetolive", {"ID": lease}).content)
            self._ends_ms[lease] = now_ms() + left_s * 1000

    def _asked(self, path: str, body: dict[str, object]) -> httpx.Response:
        answer = self._http.ask("POST", path, body, self._headers)
        if answer.status_code != 200:
            if "compacted" in answer.text:
                raise SourceError("etcd has compacted the revision that was read; run the import again")
            raise self._http.refusal(answer)
        return answer


class ConsulApi(Source):
    """Consul answers with all of its keys at once."""

    def __init__(self, url: str) -> None:
        self._http = _Http(url)

    def items(self) -> Iterator[Item]:
        """See `Source`."""
        token = os.environ.get("CONSUL_HTTP_TOKEN")
        answer = self._http.ask("GET", "/v1/kv/?recurse", headers={"X-Consul-Token": token} if token else None)
        if answer.status_code == 404:  # so Consul says that it has none
            return
        if answer.status_code != 200:
            raise self._http.refusal(answer)
        yield from consul.rows_of(answer.content)
