"""DynaTwist: a leaderless, replicated, encrypted key-value store on Twisted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynatwist.config.node import NodeConfig
    from dynatwist.node import NodeService

__version__ = "0.2.0"
__all__ = ["NodeConfig", "NodeService", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the two public names when they are used: the client must not load the server."""
    if name == "NodeConfig":
        from dynatwist.config.node import NodeConfig

        return NodeConfig
    if name == "NodeService":
        from dynatwist.node import NodeService

        return NodeService
    raise AttributeError(name)
