"""How a cluster is: from what was seen of it to findings, and to one verdict. Pure.

A node and ``dynakv doctor`` share it.
"""
