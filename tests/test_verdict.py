"""The verdict on a cluster: what is said of it, and what is advised, by what was seen."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist.doctor import cluster as doctor
from dynatwist.doctor.seen import ClusterSeen as SeenByDoctor
from dynatwist.figures import BY_NAME as FIGURES
from dynatwist.health.alarms import ALARMS, ringing
from dynatwist.health.condition import Condition, Held, count_of, ranges
from dynatwist.health.finding import Level
from dynatwist.health.members import NEVER_SEEN, MemberSeen
from dynatwist.health.risk import risk_of
from dynatwist.health.verdict import Asked, ClusterSeen, Verdict, judge
from dynatwist.model.registry import majority

WELL = Condition(
    version="1.0.0", ready=True, keys=9, store_bytes=900, hints=0, memory_bytes=1 << 26, memory_limit_bytes=1 << 33,
    disk_free_bytes=1 << 35, secrets=["a1"], secret_since_ms=0, started_ms=1, held=Held([(0, 256)]), findings=[],
    alarms=[],
)  # fmt: skip
DEAD = {"status": "Dead", "is_reached": False, "problem": "cannot be reached", "condition": None}
FROZEN = {"is_reached": False, "problem": "no answer within 1 s", "condition": None}
UNSEEN = DEAD | {"status": NEVER_SEEN}


def asked(number, *, status="Active", version="1.0.0", is_registered=True, told=None, **more):
    """A member that is well, but for what is named."""
    address = f"kv{number}:6660"
    condition = more.pop("condition", msgspec.structs.replace(WELL, version=version, **(told or {})))
    member = MemberSeen(address, status, condition is not None and condition.ready, is_registered, version)
    return Asked(str(number) * 4, member, condition=condition, **more)


def seen(*members):
    """One partition, with all of the members as its owners."""
    reached = {one.id.encode() for one in members if one.is_reached and one.member.is_registered}
    owners = tuple(one.id.encode() for one in members if one.member.is_registered)
    return ClusterSeen(members, risk_of({(owners,): 257}, reached.__contains__))


def three(**last):
    """Three members, two of which are well."""
    return seen(asked(1), asked(2), asked(3, **last))


def said(cluster):
    found = judge(cluster)
    return found.verdict, found.sentence, found.advice, found.failures_left


class TestCases:
    def test_all_is_well(self):
        assert said(three()) == (Verdict.OK, "all 3 members answer; writes are safe; one more may fail", (), 2)

    def test_five_members_bear_two_failures(self):
        verdict, sentence, _, left = said(seen(*map(asked, range(5))))
        assert (verdict, sentence, left) == ("ok", "all 5 members answer; writes are safe; two more may fail", 3)

    def test_one_is_dead(self):
        assert said(three(**DEAD)) == (
            "warning",
            "2 of 3 members answer; writes are safe; one more failure stops majority writes",
            ("kv3:6660 is dead; start it again, or strike it out: dynakv forget kv3:6660",),
            1,
        )

    def test_one_is_frozen_and_gossip_does_not_know_yet(self):
        verdict, sentence, (advice,), left = said(three(**FROZEN))
        assert (verdict, left) == ("warning", 1)
        assert sentence.startswith("2 of 3 members answer")
        assert advice.startswith("kv3:6660 does not answer: no answer within 1 s; see whether its machine is over")

    def test_one_was_never_seen(self):
        _, _, (advice,), _ = said(three(**UNSEEN))
        assert advice == "kv3:6660 was never seen; start it again, or strike it out: dynakv forget kv3:6660"

    def test_one_came_back_without_its_data_and_the_earlier_one_counts_still(self):
        earlier = replace(asked(9, **DEAD, is_replaced=True), member=asked(3, **DEAD).member)
        _, _, (advice,), _ = said(seen(asked(1), asked(2), asked(3), earlier))
        assert advice.endswith("strike each out by its id, dynakv forget ID: 9999 at kv3:6660")

    def test_no_majority(self):
        tells = {"alarms": ["DynakvNoMajority"]}
        verdict, sentence, advice, left = said(seen(asked(1, told=tells), asked(2, **DEAD), asked(3, **DEAD)))
        assert (verdict, left) == ("danger", 0)
        assert sentence == "1 of 3 members answer; majority writes are refused"
        assert advice[0].startswith("257 of 257 partitions have no majority of owners that answers")
        assert len(advice) == 3, "the alarm that says the same is not told again"

    def test_no_majority_of_some_partitions(self):
        both = (b"1111", b"2222", b"3333"), (b"1111", b"4444", b"5555")
        risk = risk_of({(both[0],): 100, (both[1],): 157}, {b"1111", b"2222", b"3333"}.__contains__)
        members = (asked(1), asked(2), asked(3), asked(4, **DEAD), asked(5, **DEAD))
        verdict, sentence, _, left = said(ClusterSeen(members, risk))
        assert (verdict, left) == ("danger", 0)
        assert sentence == "3 of 5 members answer; majority writes are refused for 157 of 257 partitions"

    def test_one_is_filling(self):
        verdict, sentence, advice, left = said(three(told={"held": Held([(0, 9)], [(10, 19), (30, 30)])}))
        assert (verdict, left) == ("warning", 2)
        assert sentence.endswith("; kv3:6660 fetches 11 partitions that it is to hold from now on")
        assert advice[0].endswith("; wait until that is done before another node is stopped")

    def test_a_damaged_partition(self):
        tells = {"held": Held([(0, 6), (8, 256)], [], [(7, 7)]), "findings": ["chunk 3 does not verify"]}
        verdict, sentence, advice, _ = said(three(told=tells))
        assert verdict == "warning"
        assert sentence.endswith("; kv3:6660 fetches 1 partitions anew that it had lost, and 1 more")
        assert advice[1].startswith("kv3:6660 has found: chunk 3 does not verify; ")

    def test_a_disk_at_its_reserve(self):
        verdict, sentence, (advice,), left = said(three(told={"alarms": ["DynakvDiskFull"]}))
        assert (verdict, left) == ("danger", 2)
        assert sentence.endswith("kv3:6660 refuses writes that add: less than the reserve is free on its disk")
        assert advice.endswith("delete something, give the disk more room, or lower --disk-reserve")

    def test_hints_grow(self):
        verdict, _, (advice,), _ = said(three(told={"alarms": ["DynakvHintsGrow"]}))
        assert verdict == "warning"
        assert "keeps more and more writes for a member that is away" in advice

    def test_an_alarm_of_a_later_release(self):
        verdict, _, (advice,), _ = said(three(told={"alarms": ["DynakvNew"]}))
        assert (verdict, advice) == ("warning", "kv3:6660 tells of DynakvNew; see its log; it runs a later release")

    def test_a_rotation_under_way(self):
        assert "a rotation is under way" in said(three(told={"secrets": ["a1", "b2"]}))[1]
        assert "members use different secrets" in said(three(told={"secrets": ["b2", "a1"]}))[1]

    def test_members_of_mixed_versions(self):
        verdict, sentence, (advice,), _ = said(three(version="1.1.0"))
        assert verdict == "warning"
        assert sentence.endswith("1.0.0 at kv1:6660, kv2:6660; 1.1.0 at kv3:6660")
        assert advice.endswith("; bring all members to the same version, one after another")

    def test_a_member_of_an_older_release_is_reached_and_not_asked(self):
        old = asked(3, condition=None, problem="runs an older release, which cannot be asked", version="0.9")
        old = replace(old, member=replace(old.member, is_ready=True))
        assert said(seen(asked(1), asked(2), old))[1].startswith("all 3 members answer")

    def test_a_member_leaves(self):
        verdict, sentence, (advice,), _ = said(three(is_leaving=True))
        assert verdict == "warning"
        assert sentence.endswith("; kv3:6660 is leaving, and hands off its data")
        assert advice.endswith("; stop it when that is done")

    def test_a_node_joins(self):
        verdict, sentence, advice, _ = said(three(is_registered=False, condition=None, problem="was not asked"))
        assert verdict == "warning"
        assert sentence.startswith("both members answer")
        assert advice[0].startswith("kv3:6660 is active, and no member; it joins")
        assert "two members" in advice[1]

    def test_a_single_node(self):
        verdict, sentence, (advice,), left = said(seen(asked(1)))
        assert (verdict, left) == ("ok", 1)
        assert sentence == "the only member answers; one failure stops everything"
        assert advice == "there is one copy of everything; start two more nodes with --join"

    def test_two_members(self):
        verdict, sentence, (advice,), left = said(seen(asked(1), asked(2)))
        assert (verdict, left) == ("warning", 1)
        assert "one more failure stops majority writes" in sentence
        assert "add a third one" in advice

    def test_a_zone_is_lost(self):
        members = [asked(number, zone="ab"[number // 2], **(DEAD if number == 2 else {})) for number in range(3)]
        verdict, sentence, advice, _ = said(seen(*members))
        assert verdict == "warning"
        assert sentence.endswith("; zone b is lost: none of its members answers")
        assert advice[1].endswith("power, or network")

    def test_a_node_in_no_cluster(self):
        assert said(ClusterSeen((), risk_of({}, lambda node: True)))[:2] == ("danger", "this node is in no cluster yet")


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_as_many_more_may_fail_as_are_left(up):
    """The verdict counts what the alerts' figures count: `failures_left` failures leave no majority, fewer never."""
    owners = tuple(bytes([number]) for number in range(len(up)))
    reached = {owner for owner, is_up in zip(owners, up, strict=True) if is_up}
    risk = risk_of({(owners,): 1}, reached.__contains__)
    assert (risk.without == 1) == (risk.failures_left == 0) == (len(reached) < majority(len(owners)))
    assert (risk.lacking == 1) == (len(reached) < len(owners))
    for failures in range(len(reached) + 1):
        left = set(sorted(reached)[failures:])
        assert (risk_of({(owners,): 1}, left.__contains__).without == 1) == (failures >= risk.failures_left)


@given(st.sets(st.integers(0, 256)))
def test_runs_are_the_numbers(numbers):
    runs = ranges(numbers)
    assert [one for first, last in runs for one in range(first, last + 1)] == sorted(numbers)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(runs))
    assert count_of(runs) == len(numbers)


class TestNothingContradicts:
    """The doctor, the alerts and the verdict say the same."""

    @pytest.mark.parametrize("last", [{}, DEAD, UNSEEN, {"status": "Suspect"}, {"version": "2"}], ids=str)
    def test_the_verdict_advises_what_the_doctor_advises(self, last):
        cluster = three(**last)
        members = tuple(one.member for one in cluster.asked)
        by_doctor = SeenByDoctor((), is_named=True, members=members, counted=3)
        found = [
            f"{one.text}; {one.advice}"
            for one in (*doctor.members(by_doctor), *doctor.versions(by_doctor))
            if one.level is not Level.OK
        ]
        assert list(judge(cluster).advice) == sorted(found, key=lambda one: "is dead" not in one)

    def test_alarms_are_alerts_of_prometheus_and_pages_are_danger(self):
        text = (Path(__file__).parent.parent / "deploy" / "prometheus" / "alerts.yml").read_text()
        severity = dict(re.findall(r"alert: (\w+)\n.*?severity: (\w+)", text, re.DOTALL))
        for alarm in ALARMS:
            assert alarm.name in severity
            assert not alarm.is_danger or severity[alarm.name] == "page"

    @pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)
    def test_each_alarm_goes_by_figures_that_are_told(self, alarm):
        read = set()

        class Figures(dict):
            def get(self, name, default=None):
                read.add(name)
                return super().get(name, default)

        assert not alarm.rings(Figures(), Figures())
        assert read <= FIGURES.keys()

    def test_alarms_ring_by_the_bounds_of_the_alerts(self):
        assert ringing({"store_bytes": 91, "store_limit_bytes": 100, "disk_is_low": 1}, {}) == [
            "DynakvDiskFull",
            "DynakvMemoryNearLimit",
        ]
        assert ringing({"hints": 5}, {"hints": 4}) == ["DynakvHintsGrow"]
        assert ringing({"hints": 5}, {"hints": 5}) == ringing({"hints": 5}, {}) == []
        assert ringing({"hints": 5}, {"hints": float("nan")}) == []
