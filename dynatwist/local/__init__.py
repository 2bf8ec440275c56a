"""Nodes as processes on this machine: for the demo, and for tests of programs that use the store."""
