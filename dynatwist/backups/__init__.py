"""Backups as files: what is in one, how its chunks are sealed, and which of them are kept. No I/O, clock or chance."""
