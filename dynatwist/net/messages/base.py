"""What all messages have in common."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dynatwist.model.digest import BUCKETS
from dynatwist.model.flaws import BEYOND
from dynatwist.model.ring import ALL_PARTITIONS

WIRE_VERSION = 2
"""Said in each `Hello`; peers of another one are refused."""

PartitionNumber = Annotated[int, Meta(ge=0, lt=ALL_PARTITIONS)]
"""A message with another number does not decode: there would be no such partition to look at."""
Generation = Annotated[int, Meta(ge=0, lt=BEYOND)]
BucketNumber = Annotated[int, Meta(ge=0, lt=BUCKETS)]


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all messages."""
