"""What votes and cells of other nodes may not be, however well their bytes decode; see `dynatwist.model.flaws`."""

from __future__ import annotations

from dynatwist.model.flaws import BEYOND, NOT_DECODED, is_moment, key_flaw, record_flaw
from dynatwist.model.record import Key
from dynatwist.model.records import Packed, unpack

from .proposal import Vote
from .register import NEVER, Ballot, Cell, Floor


def is_ballot(ballot: Ballot) -> bool:
    """Whether a ballot is one that a node may give, or none."""
    return ballot == NEVER or is_moment(ballot)


def value_flaw(key: Key, value: Packed) -> str:
    """Why a value is none of a register; empty when it is one."""
    try:
        return record_flaw(key, unpack(value))
    except NOT_DECODED:
        return "what is accepted is no record"


def cell_flaw(key: Key, cell: Cell) -> str:
    """Why a cell is none; empty when it is one."""
    if not (is_ballot(cell.promised) and is_ballot(cell.accepted)):
        return "one of its ballots is none"
    return value_flaw(key, cell.value) if cell.value else key_flaw(key)


def vote_flaw(key: Key, vote: Vote) -> str:
    """Why a vote is none; empty when it is one."""
    if not 0 <= vote.version < BEYOND:
        return "its version is none"
    if vote.value:
        return cell_flaw(key, Cell(vote.promised, vote.accepted, vote.value))
    return "" if is_ballot(vote.promised) and is_ballot(vote.accepted) else "one of its ballots is none"


def floor_flaw(floor: Floor) -> str:
    """Why a floor is none; empty when it is one."""
    return "" if is_ballot(floor.ballot) and 0 <= floor.version < BEYOND else "it is no floor of registers"
