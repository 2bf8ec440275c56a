"""Sphinx: ``.. operations:: GROUP ...`` shows operations as the node itself describes them, with a line of curl each.

The document is made for that as a node makes it when it starts, so the page says what the routes say.
"""

from __future__ import annotations

import json
import shlex
from functools import cache
from urllib.parse import quote, urlencode

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from twisted.internet.task import Clock

from dynatwist.api.openapi.codes import ALWAYS
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World
from dynatwist.web.klein_app import KleinApp

URL = "http://127.0.0.1:6660"
"""Of a node with usual options."""


@cache
def document():
    """What a node answers to ``GET /openapi.json``, usual options given."""
    (node,) = SimCluster(World(1), 1).nodes
    node.start()
    return json.loads(KleinApp(node.core, Clock()).document)


def found(part):
    """A part of the document, where there may be a reference to it."""
    if "$ref" not in part:
        return part
    at = document()
    for name in part["$ref"][2:].split("/"):
        at = at[name]
    return at


def operations(*groups):
    """Method, path and operation, of some groups or all."""
    return [
        (method.upper(), path, said)
        for path, item in document()["paths"].items()
        for method, said in item.items()
        if not groups or said["tags"][0] in groups
    ]


def curl(method, path, said):
    """A line of a shell that carries an operation out, with its examples."""
    words, query = ["curl", *([] if method == "GET" else ["-X", method])], {}
    for one in map(found, said.get("parameters", [])):
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", quote(str(one["example"]), safe=":"))
        elif one["required"] and one["in"] == "query":
            query[one["name"]] = one.get("example", 60)
        elif one["required"]:
            words += ["-H", f"{one['name']}: {one['example']}"]
    words.append(URL + path + (f"?{urlencode(query)}" if query else ""))
    roles = [one["token"] for one in said["security"] if "token" in one]
    token = "$ADMIN" if ["administrator"] in roles else "$TOKEN"
    if roles:
        words += ["-H", f"Authorization: Bearer {token}"]
    content = said.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "example" in content:
        words += ["-d", json.dumps(content["example"])]
    named = f"Authorization: Bearer {token}"
    return shlex.join(words).replace(f"'{named}'", f'"{named}"')  # a shell puts the variable in


def shown(method, path, said):
    """An operation in reStructuredText."""
    yield f"``{method} {path}``"
    yield f"    {_rst(said['summary'])}. {_rst(said['description'])}"
    named = [found(one) for one in said.get("parameters", [])]
    for place, title in (("query", "Query"), ("header", "Head")):
        names = [f"``{one['name']}`` ({_rst(one['description']).rstrip('.')})" for one in named if one["in"] == place]
        if names:
            yield ""
            yield f"    {title}: {'; '.join(names)}."
    yield ""
    yield f"    Answers {'; '.join(_answers(said))}."
    yield ""
    yield "    ::"
    yield ""
    yield f"        {curl(method, path, said)}"
    yield ""


def _answers(said):
    """Statuses, with the codes that are of the operation and not of any request whatever."""
    for status, part in said["responses"].items():
        text = found(part)["description"]
        codes = [code.strip("`") for code in text.partition(": ")[2].split(", ")] if int(status) >= 400 else []
        mine = [f"``{code}``" for code in codes if code not in ALWAYS]
        if mine or int(status) < 400:
            yield f"{status} ({', '.join(mine)})" if mine else status


def _rst(text):
    """Markdown's code in reStructuredText."""
    return " ".join(text.replace("``", "`").replace("`", "``").split())


class Operations(Directive):
    """See the module."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        """The nodes of the operations."""
        lines = [line for one in operations(*self.arguments[0].split()) for line in shown(*one)]
        return self._parsed(lines)

    def _parsed(self, lines):
        made = nodes.Element()
        self.state.nested_parse(StringList(lines, "openapi.json"), self.content_offset, made)
        return made.children


class Routes(Operations):
    """``.. routes:: GROUP ...`` lists methods, paths and what they are for, in short."""

    def run(self):
        """The nodes of the table."""
        lines = [".. list-table::", "   :widths: 45 55", ""]
        for method, path, said in operations(*self.arguments[0].split()):
            lines += [f"   * - ``{method} {path}``", f"     - {_rst(said['summary'])}"]
        return self._parsed([*lines, ""])


class Codes(Operations):
    """``.. codes::`` lists the codes of refusals."""

    required_arguments = 0

    def run(self):
        """The nodes of the list."""
        codes = document()["components"]["schemas"]["Code"]["anyOf"]
        said = [(one["const"], _rst(one["description"])) for one in codes]
        return self._parsed([line for code, text in said for line in (f"``{code}``", f"    {text}")])


def setup(app):
    """Called by Sphinx."""
    app.add_directive("operations", Operations)
    app.add_directive("routes", Routes)
    app.add_directive("codes", Codes)
    return {"parallel_read_safe": True}
