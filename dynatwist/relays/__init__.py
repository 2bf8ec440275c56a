"""Feeds between nodes: what wins at an owner is relayed to nodes with listeners, with bookmarks that say how far."""
