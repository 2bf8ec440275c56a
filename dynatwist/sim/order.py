"""The merge order, written a second time from its definition, so that the oracle does not believe the code it judges.

By G; then at the first difference of the lineages the earlier stamp wins, and a longer lineage beats its own prefix;
then by stamp.
"""

from __future__ import annotations

from itertools import zip_longest

from dynatwist.model.record import Record


def is_preferred(one: Record, other: Record) -> bool:
    """Whether one record is to replace the other."""
    if one.lineage.generation != other.lineage.generation:
        return one.lineage.generation > other.lineage.generation
    for mine, theirs in zip_longest(one.lineage.stamps, other.lineage.stamps):
        if mine is None or theirs is None:
            return theirs is None
        if tuple(mine) != tuple(theirs):
            return tuple(mine) < tuple(theirs)
    return tuple(one.stamp) > tuple(other.stamp)
