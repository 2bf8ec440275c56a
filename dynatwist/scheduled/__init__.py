"""Backups that a node makes by itself, into a folder, every so often."""
