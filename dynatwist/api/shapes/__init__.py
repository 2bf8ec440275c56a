"""What bodies and answers are, as types: the document's schemas are made of them, and handlers write what they say.

These modules do without ``from __future__ import annotations``: behind a string, a `TypedDict` does not see what is
`NotRequired`.
"""
