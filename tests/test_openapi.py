"""The document of the API: it is made of the routes, says what nodes do, and is valid OpenAPI 3.1."""

from __future__ import annotations

import json
import re

import pytest
from twisted.internet.task import Clock

from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World
from dynatwist.web.klein_app import KleinApp


@pytest.fixture(scope="module")
def app():
    """The routes of a node, without its sockets."""
    world = World(1)
    cluster = SimCluster(world, 1)
    (node,) = cluster.nodes
    node.start()
    return KleinApp(node.core, Clock())


@pytest.fixture(scope="module")
def document(app):
    return json.loads(app.document)


def test_each_route_is_an_operation_and_each_operation_a_route(app, document):
    routes = {
        (method, re.sub("<[^>]*>", "{}", rule.rule))
        for rule in app.klein.url_map.iter_rules()
        for method in rule.methods - {"HEAD"}
    }
    operations = {
        (method.upper(), re.sub("{[^}]*}", "{}", path)) for path, item in document["paths"].items() for method in item
    }
    assert operations == routes
