"""What is wrong with a machine that is to run a node, and with a cluster: for ``dynakv doctor``."""
