"""What a node answers: method and path, and the handler, as ``part.method`` of `dynatwist.api.handlers`."""

from __future__ import annotations

from collections.abc import Sequence

ROUTES: tuple[tuple[str, str, str], ...] = (
    ("GET", "/heartbeat", "status.heartbeat"),
    ("GET", "/healthz", "status.alive"),
    ("GET", "/readyz", "status.ready"),
    ("GET", "/membership", "status.membership"),
    ("GET", "/stats", "status.stats"),
    ("GET", "/metrics", "status.metrics"),
    ("POST", "/auth/ticket", "accounts.ticket"),
    ("GET", "/auth/<a>", "accounts.show"),
    ("POST", "/auth/<a>", "accounts.enter"),
    ("DELETE", "/auth/<a>", "accounts.delete"),
    ("PUT", "/auth/<a>/secret", "accounts.change_secret"),
    ("POST", "/auth/<a>/logout", "accounts.logout"),
    ("POST", "/admin/login", "accounts.admin_login"),
    ("GET", "/admin/tables", "admin.tables"),
    ("GET", "/admin/tables/<a>", "tables.show"),
    ("PUT", "/admin/tables/<a>", "tables.set"),
    ("DELETE", "/admin/tables/<a>", "tables.reset"),
    ("GET", "/admin/table/<a>/keys", "admin.keys"),
    ("GET", "/admin/table/<a>/key/<b>", "admin.get"),
    ("PUT", "/admin/table/<a>/key/<b>", "admin.put"),
    ("DELETE", "/admin/table/<a>/key/<b>", "admin.delete"),
    ("GET", "/admin/groups", "groups.list"),
    ("GET", "/admin/groups/<a>", "groups.show"),
    ("PUT", "/admin/groups/<a>", "groups.set"),
    ("DELETE", "/admin/groups/<a>", "groups.delete"),
    ("GET", "/admin/tokens", "services.list"),
    ("POST", "/admin/tokens", "services.create"),
    ("DELETE", "/admin/tokens/<a>", "services.delete"),
    ("GET", "/admin/users", "admin.users"),
    ("PUT", "/admin/users/<a>", "admin.create_user"),
    ("DELETE", "/admin/users/<a>", "admin.delete_user"),
    ("POST", "/admin/users/<a>/logout", "admin.logout_user"),
    ("GET", "/admin/members", "admin.members"),
    ("POST", "/admin/members/<a>/forget", "admin.forget"),
    ("POST", "/admin/save", "admin.save"),
    ("GET", "/admin/overview", "insight.overview"),
    ("GET", "/admin/history", "insight.history"),
    ("GET", "/admin/users/<a>/rights", "rights.show"),
    ("GET", "/admin/locks", "lock_list.show"),
    ("GET", "/admin/audit", "audit.show"),
    ("GET", "/admin/backup", "backup.tables"),
    ("GET", "/admin/backup/<a>", "backup.page"),
    ("POST", "/admin/backup/<a>/changes", "backup.changes"),
    ("POST", "/admin/restore/<a>", "restore.records"),
    ("GET", "/admin/keys", "keys.show"),
    ("GET", "/admin/storage-key", "keys.storage"),
    ("POST", "/admin/storage-key", "keys.renew_storage"),
    ("POST", "/admin/keys/install", "keys.install"),
    ("POST", "/admin/keys/use", "keys.use"),
    ("POST", "/admin/keys/retire", "keys.retire"),
    ("POST", "/admin/keys/rotate", "keys.rotate"),
    ("GET", "/conflicts", "conflicts.list"),
    ("DELETE", "/conflicts/<a>", "conflicts.settle"),
    ("GET", "/<a>/key/<b>", "data.get"),
    ("PUT", "/<a>/key/<b>", "data.put"),
    ("PATCH", "/<a>/key/<b>", "data.patch"),
    ("DELETE", "/<a>/key/<b>", "data.delete"),
    ("POST", "/<a>/key/<b>/touch", "data.touch"),
    ("POST", "/<a>/lock/<b>", "locks.take"),
    ("POST", "/<a>/lock/<b>/renew", "locks.renew"),
    ("POST", "/<a>/lock/<b>/release", "locks.release"),
    ("GET", "/<a>/keys", "data.keys"),
    ("POST", "/<a>/keys", "data.get_many"),
    ("POST", "/<a>/batch", "data.batch"),
    ("GET", "/<a>/store", "data.store"),
)


_PARTS = tuple((method, path[1:].split("/"), name) for method, path, name in ROUTES)


def fits(parts: Sequence[str], path: Sequence[str]) -> bool:
    """Whether a route's segments, plain ones and ``<...>``, stand for those of a path."""
    return len(parts) == len(path) and all(
        part.startswith("<") or part == given for part, given in zip(parts, path, strict=True)
    )


def freedom(parts: Sequence[str]) -> int:
    """How many of them may be anything; of the routes that fit a path, those count that have the fewest."""
    return sum(part.startswith("<") for part in parts)


def find(method: str, path: Sequence[str]) -> tuple[str, list[str]] | None:
    """The handler of a request, and the segments of its path that it is given; ``None`` if there is none.

    Like Klein's, the choice falls on plain segments before those that may be anything.

    :param path: decoded segments.
    """
    fitting = [
        (name, [given for part, given in zip(parts, path, strict=True) if part.startswith("<")])
        for one, parts, name in _PARTS
        if one == method and fits(parts, path)
    ]
    return min(fitting, key=lambda one: len(one[1]), default=None)
