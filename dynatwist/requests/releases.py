"""What members of an older release do not know is not asked of a cluster in which one is left."""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.cluster.cluster import Cluster
from dynatwist.errors import ApiError


def require_release(cluster: Cluster, lacks: Callable[[bytes], bool]) -> None:
    """No member may be of a release that lacks something.

    :param lacks: whether a member is known to.
    :raises ApiError: 503 that names those that do.
    """
    registry = cluster.registry
    assert registry is not None
    old = [one.address for one in registry.members if lacks(one.node_id)]
    if old:
        raise ApiError(503, "upgrading", f"{', '.join(old)} runs an older release; upgrade all members first")
