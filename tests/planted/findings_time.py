"""Clocks that are believed where they should not be: the causes that were found from outside, put back, and more."""

from __future__ import annotations

from dynatwist.cluster import times
from dynatwist.cluster.times import Times
from dynatwist.cluster.walls import Walls
from dynatwist.model.clock import HybridClock, Stamp
from dynatwist.net import ways
from dynatwist.net.link import PeerLink
from dynatwist.replication import lapse
from dynatwist.replication.collection import Collection
from dynatwist.replication.lapse import Lapse
from dynatwist.replication.request import Code, Result
from dynatwist.requests.coordinator import Coordinator
from dynatwist.storage import opening
from dynatwist.storage.store import Store

from .faults import under


@under("leaves")
def the_fastest_frame_is_kept_for_ever(patch):
    """A7: the age of frames goes by the fastest frame and round trip of a connection, however old it is."""
    patch.setattr(ways, "WINDOW_S", 1e9)


@under("jumps")
def expiry_by_this_nodes_clock(patch):
    """A8: a record is over when the wall clock of the node that looks at it says so."""
    look = Lapse.look

    def hasty(self, groups, walls, own_ms, now_s):
        self.learn(own_ms)
        return look(self, groups, walls, own_ms, now_s)

    patch.setattr(Lapse, "look", hasty)


@under("clocks")
def an_end_that_nobody_else_was_told_of(patch):
    """A9: each node decides by what it knows itself, and keeps that to itself."""
    patch.setattr(Store, "pass_by", lambda self, lapse_ms: None)
    patch.setattr(Coordinator, "_is_over_only_now", lambda self, found, asked_ms: False)
    patch.setattr(Coordinator, "_lapse_ms", lambda self, record: self.cluster.times.lapse_ms())
    look = Times.lapse_ms

    def alone(self):
        self._store.state.pass_by(self._runtime.wall_ms())
        return look(self)

    patch.setattr(Times, "lapse_ms", alone)


@under("jumps")
def stamps_far_ahead_are_followed(patch):
    """A10: whatever stamp is met sets the clock."""

    def follow(self, ms, counter):
        if (ms, counter) > (self._ms, self._counter):
            self._ms, self._counter = ms, counter

    patch.setattr(HybridClock, "see_mark", follow)
    patch.setattr(HybridClock, "notice", lambda self, now_ms: setattr(self, "_limit_ms", 1 << 60))


@under("jumps")
def this_nodes_clock_stamps_whatever_it_says(patch):
    """A10, a relative: a jump is stamped within the second before the node refuses."""
    patch.setattr(Times, "near_ms", lambda self: self._runtime.wall_ms())


@under("jumps")
def a_mark_by_one_reading(patch):
    """A11: the greatest reading ever is what the clock was, and nobody's word counts against it."""

    def proud(self, wall_ms, now_s, members=3):
        self._mark_ms = max(self._mark_ms, wall_ms)
        return "behind" if wall_ms < self._mark_ms - 10_000 else ""

    patch.setattr(Walls, "refusal", proud)


@under("jumps")
def one_member_is_a_majority_of_clocks(patch):
    """A time that one clock has passed is over."""
    patch.setattr(lapse, "passed_ms", lambda readings_ms, count: max(readings_ms, default=0))


@under("jumps")
def a_peers_clock_is_taken_for_a_lapse(patch):
    """What a peer's wall clock says is taken over, as a lapse is."""
    measure = PeerLink._measure

    def gullible(self, frame):
        measure(self, frame)
        if self.peer is not None and frame.wall_ms:
            self._above.passed(frame.wall_ms)

    patch.setattr(PeerLink, "_measure", gullible)


@under("jumps")
def collection_by_this_nodes_clock(patch):
    """Reads go by the lapse, but a record is collected when this node's clock is past its end."""
    lapse_ms = Times.lapse_ms
    steps = Collection.steps
    clocks = []

    def noting(self):
        clocks[:] = [self._runtime.wall_ms()]
        return lapse_ms(self)

    def by_own(self, replica, owners, members, version, _, now_s, grace_s):
        for key, end_ms in list(replica.ends.items()):
            if end_ms <= clocks[0]:
                replica.end(key)
        return steps(self, replica, owners, members, version, clocks[0], now_s, grace_s)

    patch.setattr(Times, "lapse_ms", noting)
    patch.setattr(Collection, "steps", by_own)


@under("clocks")
def stamps_that_do_not_go_beyond_what_is_written_over(patch):
    """A record gets the time of its writer, whatever it replaces."""
    patch.setattr(HybridClock, "next", lambda self, now_ms, after=(0, 0): Stamp(now_ms, 0, self._actor))


def nothing_ends(patch):
    """Time does not go on for records."""
    patch.setattr(Lapse, "look", lambda self, groups, walls, own_ms, now_s: self.ms)


@under("clocks")
def an_answer_that_does_not_ask_again(patch):
    """A record that ended between question and answer is told as absent, though nobody else was told."""

    def get(self, operation, done):
        def read(reach, found):
            replicas = str(reach)
            if not reach.is_enough:
                done(Result(Code.UNAVAILABLE, None, replicas, "not enough replicas can be reached"))
            elif found is None or found.is_dead(self.cluster.times.lapse_ms()):
                done(Result(Code.ABSENT, None, replicas))
            else:
                done(Result(Code.OK, found, replicas))

        self._read(operation.key, operation.level, read, operation.trace)

    patch.setattr(Coordinator, "_get", get)


@under("clocks")
def an_end_that_was_not_asked_for_does_not_count(patch):
    """A record that is over by what the replicas say in their answers is shown all the same."""
    patch.setattr(Coordinator, "_is_over_only_now", lambda self, found, asked_ms: False)


@under("jumps", "mass_kills", "kills")
def a_lapse_that_is_not_kept(patch):
    """After a restart nobody knows what was over."""
    recover = opening.recover

    def forgetful(*arguments):
        found = recover(*arguments)
        found.state.lapse_ms = 0
        return found

    patch.setattr(opening, "recover", forgetful)


@under("clocks", "ambushes")
def a_clock_that_was_set_ahead_is_believed_at_once(patch):
    """What is stamped by it may beat the second attempt of the same request, which nobody knew to be behind."""
    patch.setattr(times, "TOLD_FOR_S", 0.0)
