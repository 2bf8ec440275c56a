"""What was wrong with histories of creations, or could be."""

from __future__ import annotations

from dynatwist.model import lineage
from dynatwist.model.lineage import FILLED, Lineage
from dynatwist.replication.request import Code, Kind, Result
from dynatwist.requests.deciding import Deciding

from .faults import under


def _unfilled(self, moment, exact=16):
    return Lineage(self.generation, (*self.stamps, max(moment, lineage._after(self.stamps[-1], moment.actor))))


@under("absences")
def a_history_that_gets_too_long_is_refused(patch):
    """A key that was created 64 times cannot be created again before its tombstone is collected (as it was)."""
    written = Deciding.decide

    def refusing(self, operation, origin, held, **known):
        if operation.kind is Kind.PUT and held is not None and held.value is None and len(held.lineage.stamps) >= 64:
            return Result(Code.CONFLICT, text="too often")
        return written(self, operation, origin, held, **known)

    patch.setattr(Lineage, "created_again", _unfilled)
    patch.setattr(Deciding, "decide", refusing)


@under("absences")
def the_middle_of_a_history_is_forgotten(patch):
    """Moments are left out instead of filling the stretch."""

    def forgetful(self, moment, exact=16):
        made = _unfilled(self, moment)
        return made if len(made.stamps) <= exact + 2 else Lineage(made.generation, (*made.stamps[:exact], moment))

    patch.setattr(Lineage, "created_again", forgetful)


@under("absences")
def a_stretch_that_does_not_grow(patch):
    """A filled stretch keeps the end that it had first."""
    again = Lineage.created_again

    def lazy(self, moment, exact=16):
        made = again(self, moment, exact)
        if FILLED not in self.stamps:
            return made
        at = self.stamps.index(FILLED)
        return Lineage(made.generation, (*self.stamps[: at + 2], made.stamps[-1]))

    patch.setattr(Lineage, "created_again", lazy)


@under("absences", "kills")
def a_stretch_that_is_not_turned_over(patch):
    """Of two filled stretches the shorter one wins."""
    patch.setattr(lineage, "turned", lambda moment: moment)


@under("absences")
def a_creation_behind_its_tombstone_in_time(patch):
    """The clock of the node that gave the moment was behind, and the moment is taken as it is."""
    again = Lineage.created_again

    def trusting(self, moment, exact=16):
        if moment > self.stamps[-1] or len(self.stamps) <= exact:
            made = again(self, moment, exact)
            return Lineage(made.generation, (*made.stamps[:-1], moment))
        return Lineage(self.generation, (*self.stamps[:exact], FILLED, lineage.turned(moment), moment))

    patch.setattr(Lineage, "created_again", trusting)
