"""Spans of what a node does for a request: the interface, nothing behind it, and OpenTelemetry behind it."""
