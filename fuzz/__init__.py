"""A hardening campaign that stays: whatever bytes come in at a door of a node, it neither breaks nor takes long.

See ``README.rst`` beside this file.
"""
