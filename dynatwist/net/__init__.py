"""The only sockets between nodes: gossip datagrams, peer links, their codecs."""
