"""The history of a key's creations, which decides first which of two records wins.

A key is created, deleted, created again over the tombstone, and so on. Each creation has a stamp, so a history is a
set of moments. Of two histories the one wins that has the earliest moment which the other lacks. That is the whole
rule, and it says:

- Of two users that create a key without knowing of each other, the earlier keeps it, whatever the later one writes,
  deletes or creates on the other side of a partition.
- A creation over a tombstone has all the moments of that tombstone, and one more: it wins over the tombstone and over
  all that the tombstone had beaten.

While a tombstone cannot be collected (a member is away; or the key is created again and again, as a lock is) the set
grows. It is bounded by adding moments, never by forgetting any. The first `EXACT_CREATIONS` moments stay as they are;
from there up to the creation that the tombstone ended the history is *filled*, as if the key had been created at
every moment between. A set with more moments still wins over all that it won over before, so nothing comes back; and
a member that was away is judged by the first moments, exactly, however long it was. What is lost: two users that both
know more than `EXACT_CREATIONS` creations, and create the key without knowing of each other, are told apart by the
earlier moment only until one of them has deleted and created it again. Then that one wins. No bounded state can do
better for all histories: it would have to tell apart more sets than it has states.

`stamps` lists the moments in order. A filled stretch is two elements of that list: `FILLED`, which is smaller than
any stamp, and the last moment of the stretch, turned over so that a longer stretch is smaller. So comparing the lists
(at the first difference the smaller element wins; a longer list beats its own beginning) is the rule above, and nodes
of former versions, which know nothing of filled stretches, judge like all others.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from dynatwist.sometimes import sometimes

from .clock import Stamp
from .dots import EPOCH_BYTES, NODE_ID_BYTES

EXACT_CREATIONS = 16
"""So many moments at the beginning of a history are kept apart: about half a kilobyte, for keys that are created again
and again, and nothing for all others. Fewer than the 64 at which nodes of former versions refuse a creation."""
FILLED = Stamp(-1, 0, b"")
"""All moments between the element before this one and the moment behind it, which is turned over, belong to the set."""
_ACTOR_BYTES = NODE_ID_BYTES + EPOCH_BYTES
_MAX = (1 << 63) - 1
"""The greatest integer of 64 bits with a sign, so that what is turned over still fits msgpack."""


class Lineage(NamedTuple):
    """See the module.

    :ivar generation: the partition's G when the key was created where nothing was held.
    :ivar stamps: the moments, in order, as described above.
    """

    generation: int
    stamps: tuple[Stamp, ...]

    def beats(self, other: Lineage) -> bool:
        """Whether this history wins: by greater generation, else by the earliest moment that the other lacks."""
        if self.generation != other.generation:
            return self.generation > other.generation
        for mine, theirs in zip(self.stamps, other.stamps, strict=False):
            if mine != theirs:
                return mine < theirs
        return len(self.stamps) > len(other.stamps)

    def created_again(self, moment: Stamp, exact: int = EXACT_CREATIONS) -> Lineage:
        """The history of a key that is created over its tombstone.

        :param moment: of the creation. Where it is not later than the last one, because the clock that gave it was
            behind, the next possible moment is taken.
        :param exact: how many moments are kept apart, at least 1.
        """
        newest = self.stamps[-1]
        if moment <= newest:
            sometimes("a creation is given a moment before the one that its tombstone ended")
            moment = _moved_behind(newest, moment)
        if len(self.stamps) <= exact:
            return Lineage(self.generation, (*self.stamps, moment))
        if FILLED in self.stamps:
            sometimes("a filled history of creations gets longer")
            at = self.stamps.index(FILLED)
            filled_to = turned(self.stamps[at + 1])
            end = max(_after(filled_to, filled_to.actor), *self.stamps[at + 2 :])
            return Lineage(self.generation, (*self.stamps[: at + 1], turned(end), moment))
        end = max(self.stamps[exact:])
        return Lineage(self.generation, (*self.stamps[:exact], FILLED, turned(end), moment))

    def shows(self, moment: Stamp) -> bool:
        """Whether a creation that was given this moment is in the history, moved behind a tombstone's or not."""
        before: Stamp | None = None
        for number, stamp in enumerate(self.stamps):
            if number and self.stamps[number - 1] == FILLED:
                stamp = turned(stamp)  # the end of a filled stretch
            elif stamp == moment or (before and moment <= before and stamp == _moved_behind(before, moment)):
                return True
            before = stamp
        return False

    def created_besides(self, moment: Stamp, exact: int = EXACT_CREATIONS) -> Lineage:
        """The history of a key that a request may have created before the last creation, at an owner not heard of.

        That request is carried out a second time, by an owner that knows the last creation. What it writes has to win
        over what it may have written the first time, so the history takes its moment in. Where there is no room for one
        more, a stretch is filled up to that moment.

        :param moment: of the request; later ones than the last creation lose by themselves.
        :param exact: how many moments are kept apart, at least 1.
        """
        last = self.stamps[-1]
        if moment >= last or moment in self.stamps:
            return self
        sometimes("a request that is repeated may have created its key before others did")
        if FILLED in self.stamps:
            at = self.stamps.index(FILLED)
            head, end, tail = self.stamps[:at], turned(self.stamps[at + 1]), self.stamps[at + 2 : -1]
            if head[-1] < moment <= end:
                return self
        elif len(self.stamps) > exact:
            head, end, tail = self.stamps[:exact], moment, self.stamps[exact:-1]
        else:
            return Lineage(self.generation, tuple(sorted((*self.stamps, moment))))
        kept = sorted((*head, moment))[: len(head)]
        return Lineage(self.generation, (*kept, FILLED, turned(max(end, moment, head[-1], *tail)), last))


def _after(moment: Stamp, actor: bytes) -> Stamp:
    return Stamp(moment.ms, moment.counter + 1, actor)


def _moved_behind(newest: Stamp, moment: Stamp) -> Stamp:
    """A moment later than another one, which no other creation over the same tombstone gets: two users who create a key
    at once, over one tombstone and through one node, would create it as one. The same request gets the same again."""
    name = b"%b%d.%d" % (moment.actor, moment.ms, moment.counter)
    return _after(newest, blake2b(name, digest_size=_ACTOR_BYTES, person=b"moved").digest())


def turned(moment: Stamp) -> Stamp:
    """A stamp such that later moments give smaller ones; turning it twice gives it back."""
    return Stamp(_MAX - moment.ms, _MAX - moment.counter, bytes(255 - byte for byte in moment.actor))
