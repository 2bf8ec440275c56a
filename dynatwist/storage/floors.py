"""What covers the tombstones that a replica has dropped, kept over a restart: see `dynatwist.feed.collected`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dynatwist.feed.collected import Floor
from dynatwist.model.dots import DotSet, WireDots
from dynatwist.model.replica import Replica

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[WireDots, int]).decode


def floor_to_keep(replica: Replica, lapse_ms: int) -> tuple[str, bytes]:
    """(name, value) of a small named value, to be kept before some are dropped: the clock as it is covers them."""
    return name_of_floor(replica.number), _pack((replica.clock.to_wire(), lapse_ms))


def floor_now(replica: Replica, lapse_ms: int) -> Floor:
    """What covers all that is gone, where that is not known otherwise. A generation says whether anything ever went."""
    return Floor(replica.clock.copy() if replica.generation else DotSet(), lapse_ms)


def floor_of(replica: Replica, kept: Mapping[str, bytes], lapse_ms: int) -> Floor:
    """What covers all tombstones that were dropped before a start.

    A replica whose generation says that some were, of which nothing is kept, is of a former release, or was fetched
    from others: whatever it holds may be newer than the last drop.
    """
    packed = kept.get(name_of_floor(replica.number))
    if packed is None:
        return floor_now(replica, lapse_ms)
    wire, kept_ms = _unpack(packed)
    return Floor(DotSet.from_wire(wire), kept_ms)


def name_of_floor(partition: int) -> str:
    """Among the small named values. Of a partition that starts over none is kept."""
    return f"collected.{partition}"
