"""A program's tests, on nodes that die."""

import pytest

from dynatwist.sync import Unavailable


def test_an_order_is_kept(dynakv_node):
    kv = dynakv_node.client("shop")
    kv.put("orders", "1", {"cups": 2})
    assert kv.get("orders", "1").value == {"cups": 2}


def test_nobody_notices_that_a_node_dies(dynakv_cluster):
    cluster = dynakv_cluster(3)
    kv = cluster.client("shop")
    kv.put("orders", "1", {"cups": 2})
    cluster.kill(1)
    kv.put("orders", "2", {"cups": 3})
    cluster.restart(1)
    assert kv.keys("orders") == ["1", "2"]


def test_a_minority_takes_no_order_that_has_to_be_agreed(dynakv_cluster):
    cluster = dynakv_cluster(3)
    kv = cluster.client("shop")
    alone = cluster.client("shop", nodes=[1])
    kv.put("orders", "1", {"cups": 2})
    cluster.partition([1], [2, 3])
    with pytest.raises(Unavailable):
        alone.put("orders", "1", {"cups": 5}, w="majority")
    cluster.heal()
    alone.put("orders", "2", {"cups": 3}, w="majority")
    assert kv.get("orders", "2", r="majority").value == {"cups": 3}
