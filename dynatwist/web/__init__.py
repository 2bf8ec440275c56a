"""The only sockets to clients: HTTP channel, Klein routes, SSE, websocket, dashboard."""
