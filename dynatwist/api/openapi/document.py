"""The document: what a node answers, as OpenAPI 3.1 has it, made of its routes and of what their handlers say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from inspect import signature
from typing import Any

import msgspec

import dynatwist

from ..limits import Limits
from ..request import JSON
from ..shapes.records import Refusal
from .codes import all_codes, refusals
from .described import Described, Media, Who, what_is_said_of
from .headers import HEADERS
from .parameters import Parameter, segments
from .schemas import Schemas, paragraphs
from .shared import Shared

ABOUT = """\
A leaderless, replicated, encrypted key-value store. JSON in, JSON out, UTF-8. Any node serves any key.

Errors are `{"error": "text for a person", "code": "snake_case"}` with the fitting status. A 503 with code `uncertain`
says that a write may still take effect; with any other code nothing was done.
"""
_SECURITY: dict[Who, list[dict[str, list[str]]]] = {
    Who.ANYBODY: [],
    Who.STATUS: [{}, {"token": ["administrator"]}],
    Who.READER: [{"token": []}, {}],
    Who.LISTENER: [{"token": []}, {"ticket": []}, {}],
    Who.ACCOUNT: [{"token": []}, {}],
    Who.USER: [{"token": []}],
    Who.ADMIN: [{"token": ["administrator"]}],
}
_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A user's token (`POST /auth/{user}`), an administrator's (`POST /admin/login`) or a program's "
        "(`POST /admin/tokens`).",
    },
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "What `POST /auth/ticket` gave, good for one stream or websocket within 30 s.",
    },
}
_SEGMENT = re.compile(r"<\w+>")


class Operation(msgspec.Struct, frozen=True):
    """A route whose handler says what it does.

    :ivar path: with the names of the handler's arguments, as in ``/{table}/keys``.
    :ivar name: of the handler, as in ``data.keys``.
    """

    method: str
    path: str
    name: str
    handler: Callable[..., Any]
    said: Described

    @classmethod
    def of(cls, method: str, path: str, name: str, handler: Callable[..., Any]) -> Operation | None:
        """Of a route; ``None`` where its handler says nothing.

        :param path: as Klein has it, ``/<a>/keys``.
        """
        said = what_is_said_of(handler)
        if said is None:
            return None
        names = iter(_arguments(handler))
        return cls(method, _SEGMENT.sub(lambda _: f"{{{next(names)}}}", path), name, handler, said)

    @property
    def names(self) -> list[str]:
        """What its path names."""
        return re.findall(r"{(\w+)}", self.path)

    def types(self) -> Iterator[Any]:
        """What it takes and gives."""
        if self.said.takes is not None:
            yield self.said.takes
        for given in self.said.gives.values():
            if isinstance(given, Media):
                yield from given.messages
            elif given is not None:
                yield given


def _arguments(handler: Callable[..., Any]) -> list[str]:
    """Of a handler, behind the request."""
    names = list(signature(handler).parameters)
    return names[names.index("request") + 1 :]


class Document:
    """See the module.

    :param operations: of all routes.
    :param limits: of the node.
    """

    def __init__(self, operations: Iterable[Operation], limits: Limits) -> None:
        self._operations = list(operations)
        self._segments = segments(limits)
        self._shared = Shared()
        self._schemas = Schemas([Refusal, *(one for operation in self._operations for one in operation.types())])

    def made(self) -> dict[str, Any]:
        """The document."""
        paths: dict[str, dict[str, Any]] = {}
        for operation in self._operations:
            paths.setdefault(operation.path, {})[operation.method.lower()] = self._operation(operation)
        schemas = self._schemas.components
        for refusal in (one for one in schemas.values() if {"error", "code"} <= set(one.get("required", ()))):
            refusal["properties"]["code"] = {"$ref": "#/components/schemas/Code"}
        schemas["Code"] = {"title": "Code", **all_codes()}
        return {
            "openapi": "3.1.0",
            "info": {"title": "DynaTwist", "version": dynatwist.__version__, "description": ABOUT},
            "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
            "servers": [{"url": "/"}],
            "tags": [{"name": name, "description": text} for name, text in self._groups()],
            "paths": paths,
            "components": {"schemas": schemas, "securitySchemes": _SCHEMES, **self._shared.components},
        }

    def _groups(self) -> list[tuple[str, str]]:
        parts: dict[str, str] = {}
        for one in self._operations:
            owner = getattr(one.handler, "__self__", None)
            text = paragraphs(type(owner).__doc__).partition("\n\n")[0]
            parts.setdefault(_group(one), text.partition(" Every method")[0])
        return list(parts.items())

    def _operation(self, operation: Operation) -> dict[str, Any]:
        said = operation.said
        path = tuple(self._segments[name] for name in operation.names)
        beside = tuple(map(self._like, said.parameters))
        summary, _, more = paragraphs(operation.handler.__doc__).partition("\n\n")
        named = [self._shared.put("parameters", one.name, _parameter(one)) for one in (*path, *beside)]
        made: dict[str, Any] = {
            "operationId": operation.name,
            "tags": [_group(operation)],
            "summary": summary.rstrip("."),
            "description": "\n\n".join([*([more] if more else []), said.who.value]),
            "security": _SECURITY[said.who],
            **({"parameters": named} if named else {}),
        }
        if said.takes is not None:
            content = {"schema": self._schemas.of(said.takes)}
            if said.example is not None:
                content["example"] = said.example
            made["requestBody"] = {"required": not said.is_optional, "content": {JSON: content}}
        return {**made, "responses": self._responses(said, refusals(said, path, beside))}

    def _like(self, one: Parameter) -> Parameter:
        """A parameter, with the schema of what it is like."""
        if not one.like:
            return one
        like = self._segments[one.like]
        return msgspec.structs.replace(one, schema=like.schema, refuses=like.refuses)

    def _responses(self, said: Described, refused_with: dict[int, list[str]]) -> dict[str, Any]:
        given = {status: self._given(status, what, said.headers) for status, what in said.gives.items()}
        for status, codes in refused_with.items():
            refused = given.setdefault(status, self._given(status, Refusal, ()))
            refused["description"] += ": " + ", ".join(f"`{code}`" for code in codes)
            content = refused["content"][JSON]
            is_refusal = "code" in said.gives.get(status, Refusal).__annotations__
            schema = content["schema"] if is_refusal else {**self._schemas.of(Refusal)}
            schema["properties"] = {"code": {"enum": codes}}
            content["schema"] = schema if is_refusal else {"anyOf": [content["schema"], schema]}
        return {
            str(status): self._shared.put("responses", f"Refused{status}", given[status])
            if status >= 400
            else given[status]
            for status in sorted(given)
        }

    def _given(self, status: int, what: Any, headers: tuple[str, ...]) -> dict[str, Any]:
        said: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if headers and status < 400:
            said["headers"] = {name: self._shared.put("headers", name, HEADERS[name]) for name in headers}
        if isinstance(what, Media):
            said["description"] = what.text
            types = filter(None, (what.content_type, *what.or_else))
            said["content"] = {one: {"schema": {"type": "string"}} for one in types}
            if what.messages:
                said["x-messages"] = [self._schemas.of(one) for one in what.messages]
        elif what is not None:
            said["content"] = {JSON: {"schema": {**self._schemas.of(what)}}}
        return said


def _group(operation: Operation) -> str:
    return operation.name.partition(".")[0]


def _parameter(one: Parameter) -> dict[str, Any]:
    example = {"example": one.example} if one.example is not None else {}
    return {
        "name": one.name, "in": one.place, "required": one.is_required, "description": one.text, "schema": one.schema,
        **example,
    }  # fmt: skip
