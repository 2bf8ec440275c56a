"""Carrying requests out across the owners of a key, and keeping the owners equal."""
