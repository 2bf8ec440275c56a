"""Increments on backups: what they hold with the ones before, what is no chain of them, and which are kept."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dynatwist.backups.chain import Latest, Link, require_chain
from dynatwist.backups.entries import Base, Entry, Mark, Totals, gone
from dynatwist.backups.errors import BackupError
from dynatwist.backups.format import Backup, BackupWriter
from dynatwist.model.dots import Dot, DotSet
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Kind, Operation
from dynatwist.requests.changes import DeletesForgotten, UnknownClock
from dynatwist.requests.clocks import common
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World

from .real import RealCluster, check_logs
from .test_backup import KEY, Shell, reader, run, source_of

DOTS = st.sets(st.tuples(st.sampled_from([b"a" * 16, b"b" * 16]), st.integers(1, 6)))


@given(DOTS, DOTS)
def test_what_two_clocks_have_in_common_is_what_both_cover(one, other):
    found = common(DotSet(Dot(*dot) for dot in one), DotSet(Dot(*dot) for dot in other))
    assert set(found) == {Dot(*dot) for dot in one & other}


# A chain


def link(name, base=None, digest=b""):
    """A backup of a chain; the digest of the one before is empty."""
    base = None if base is None else Base(base, digest, "2026-11-27T00:00:00Z")
    return Link(f"{name}.backup", Base(name, b"", "2026-11-28T00:00:00Z"), Totals({}, base=base))


FULL, ONE, TWO = link("full"), link("one", "full"), link("two", "one")


class TestChain:
    @pytest.mark.parametrize("links", [[FULL], [FULL, ONE], [FULL, ONE, TWO]])
    def test_increments_follow_what_they_were_made_on(self, links):
        require_chain(links)

    @pytest.mark.parametrize(
        ("links", "text"),
        [
            ([ONE], r"one.backup: it is an increment on the backup of .* \(id full\): name that one before it"),
            ([FULL, TWO], "two.backup: it is an increment on .*, and not on full.backup: name them in the order"),
            ([FULL, TWO, ONE], "two.backup: it is an increment on .*, and not on full.backup: name them in the order"),
            ([FULL, FULL], "full.backup: it is a full backup: name it first"),
            ([FULL, link("one", "full", b"other")], "full.backup: it was changed since one.backup was made on it"),
        ],
        ids=["no full one", "one is missing", "wrong order", "two full ones", "another file of that id"],
    )
    def test_what_is_no_chain_is_told(self, links, text):
        with pytest.raises(BackupError, match=text):
            require_chain(links)

    @given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3), max_size=4), min_size=1, max_size=5))
    def test_of_each_key_the_last_that_is_said_counts(self, said):
        """Zero stands for a key that is gone."""
        wanted: dict[str, int] = {}
        for changes in said:
            wanted.update(changes)
        said[0] = {key: value for key, value in said[0].items() if value}
        latest, found = Latest(len(said)), {}
        for index in reversed(range(len(said))):
            entries = [Entry("t", key, b"%d" % n, "ann") if n else gone("t", key) for key, n in said[index].items()]
            found |= {entry.key: int(entry.value) for entry in latest.of(index, entries)}
        assert found == {key: value for key, value in wanted.items() if value}

    def test_what_the_system_keeps_is_that_of_the_last_one(self):
        latest = Latest(2)
        assert latest.of(1, [Entry("_users", "ann", b"{}", "ann")])
        assert not latest.of(0, [Entry("_users", "bob", b"{}", "bob")])

    def test_an_increment_is_none_that_a_release_takes_for_a_full_backup_which_knows_only_those(self):
        writer = BackupWriter(
            KEY, lambda count: b"s" * 16, created="2026-11-28T09:40:00Z", dynatwist="9.9", base=Base("id", b"d", "then")
        )
        mark = Mark(b"clock", ("t",))
        data = writer.head + writer.add([gone("t", "k")]) + writer.end(mark=mark)
        assert data.startswith(b"dynakv-backup 2\n")
        backup = Backup(reader(data))
        *_, totals = backup.opened(KEY)
        assert (totals.base, totals.mark, totals.tables["t"].gone) == (Base("id", b"d", "then"), mark, 1)
        with pytest.raises(BackupError):
            list(Backup(reader(data.replace(b"backup 2", b"backup 1", 1))).opened(KEY))


# Of a cluster in a simulated world


class Nodes:
    """Three nodes, of which the first one makes backups."""

    def __init__(self, seed):
        self.cluster = SimCluster(World(seed), 3, tombstone_grace_s=1.0)
        for node in self.cluster.nodes:
            node.start()
        assert self.cluster.world.run_until(self.cluster.is_settled, 60)
        self.source = source_of(self.cluster.nodes[0].core)

    def do(self, kind, key, ttl_s=0):
        node = self.cluster.nodes[1].core
        value = b'{"n":%d}' % self.cluster.world.random.randrange(1 << 30) if kind is Kind.PUT else None
        written = Operation(kind, ("t", key), Level.ALL, value, "ann", ttl_ms=1000 * ttl_s)
        assert run(self.cluster, node.coordinator.execute(written)).code in (Code.OK, Code.ABSENT)

    def wait(self, seconds):
        self.cluster.world.run_until(lambda: False, seconds)

    def living(self, entries):
        """Some entries, without those that have ended meanwhile."""
        now_ms = self.cluster.nodes[0].core.store.lapse_ms
        return {key: one for key, one in entries.items() if not one.is_over(now_ms)}

    def restart(self):
        """The third one is killed and started again."""
        third = self.cluster.nodes[2]
        third.kill()
        third.start()
        assert self.cluster.world.run_until(self.cluster.is_settled, 60)

    def backup(self, since=None):
        """(entries, clock) of what there is, or has changed since."""

        async def read():
            named = await self.source.tables("", is_partial=False)
            entries, after = [], ""
            while after is not None:
                if since is None:
                    page = await self.source.page("t", "", after, is_partial=False)
                else:
                    page = await self.source.changes("t", "", after, since)
                entries += page.entries("t")
                after = page.next_after
            return entries, named.clock

        return run(self.cluster, read())


def together(chain):
    """What the backups of a chain hold together."""
    latest = Latest(len(chain))
    return {one.key: one for index in reversed(range(len(chain))) for one in latest.of(index, chain[index])}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "delete", "delete", "ending", "wait", "restart", "increment", "increment"]),
        st.sampled_from("abcdef"),
    ),
    max_size=25,
)


@given(STEPS, st.integers(0, 1000))
@settings(max_examples=6, deadline=None, phases=[Phase.generate])
def test_a_full_backup_and_increments_hold_what_a_full_backup_of_the_same_moment_does(steps, seed):
    nodes = Nodes(seed)
    for key in "abc":
        nodes.do(Kind.PUT, key)
    entries, clock = nodes.backup()
    chain = [entries]
    for step, key in [*steps, ("increment", "")]:
        if step == "increment":
            try:
                entries, clock = nodes.backup(clock)
                chain.append(entries)
            except DeletesForgotten:
                entries, clock = nodes.backup()
                chain = [entries]
            found, wanted = together(chain), {one.key: one for one in nodes.backup()[0]}
            assert nodes.living(found) == nodes.living(wanted)
        elif step == "wait":
            nodes.wait(2.0)
        elif step == "restart":
            nodes.restart()
        else:
            nodes.do(Kind.DELETE if step == "delete" else Kind.PUT, key, ttl_s=1 if step == "ending" else 0)


def test_where_deletes_may_be_forgotten_an_increment_is_refused():
    nodes = Nodes(1)
    nodes.do(Kind.PUT, "a")
    _, clock = nodes.backup()
    nodes.do(Kind.DELETE, "a")
    nodes.wait(10.0)
    assert nodes.cluster.nodes[2].core.store.held(("t", "a")) is None
    nodes.restart()
    with pytest.raises(DeletesForgotten):
        nodes.backup(clock)


def test_a_clock_counts_in_its_cluster_alone():
    nodes = Nodes(1)
    _, clock = nodes.backup()
    assert nodes.backup(clock)[0] == []
    for since, where in ((clock, Nodes(2)), ("no clock", nodes), (clock[:-4], nodes)):
        with pytest.raises(UnknownClock):
            where.backup(since)


# Of real nodes


@pytest.fixture(scope="module")
def cluster():
    """Two nodes."""
    made = RealCluster.start(2, "--lone-after", "1")
    yield made
    made.close()


@pytest.mark.processes
def test_a_chain_is_made_verified_and_brought_back(cluster, tmp_path):
    node, shell = cluster.nodes[0], Shell(cluster)
    ann = node.register("ann")

    def have(**values):
        for key, n in values.items():
            answer = node.delete("t", key, ann) if n is None else node.put("t", key, {"n": n}, ann, "?w=all")
            assert answer.status in (200, 201)

    def file(name):
        return str(tmp_path / f"{name}.backup")

    have(a=1, b=1, c=1)
    node.put("gone", "k", {"n": 1}, ann)
    shell("backup", file("full"))
    have(a=None, b=2, d=2)
    node.delete("gone", "k", ann)
    node.register("bob")
    assert "2 records of 2 tables, 2 deleted, 2 users" in shell("backup", file("one"), "--since", file("full"))
    have(a=3, b=None)
    shell("backup", file("two"), "--since", file("one"))

    chain = [file("full"), file("one"), file("two")]
    assert "whole, 3 records of 1 table, 2 users" in shell("verify", *chain)
    assert "an increment: what has changed since the backup of " in shell("inspect", *chain)
    assert "name that one before it" in shell("restore", file("one"), status=1)
    assert "in the order in which they were made" in shell("verify", file("full"), file("two"), status=1)
    assert "leave the others out" in shell("backup", file("no"), "--since", file("full"), "--table", "t", status=2)
    for key in "acd":
        node.delete("t", key, ann)
    assert "3 written, " in shell("restore", *chain)
    assert {key: node.get("t", key, ann).json["value"]["n"] for key in "acd"} == {"a": 3, "c": 1, "d": 2}
    assert node.get("t", "b", ann).status == node.get("gone", "k", ann).status == 404
    check_logs(cluster, "a secret")
