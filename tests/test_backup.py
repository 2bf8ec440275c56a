"""Backups: what is in the file, how damage is told, and clusters that are backed up and restored while they work."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from dynatwist.agreement import awaited
from dynatwist.auth.groups import GROUPS_TABLE
from dynatwist.backups.chain import Link, require_chain
from dynatwist.backups.entries import Entry, Mark, Totals
from dynatwist.backups.errors import BackupError
from dynatwist.backups.format import Backup, BackupWriter
from dynatwist.backups.keys import of_key_file, of_passphrase
from dynatwist.backups.schedule import chain_behind, due_ms, left_over, made_by, name_of, superseded
from dynatwist.backups.selection import Selection
from dynatwist.model.record import Draft
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Chose, Forward, SettledTables, SettleTables
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import ENCODER, Kind, Operation, Restored
from dynatwist.requests.backups import BackupSource
from dynatwist.requests.changes import DeletesForgotten
from dynatwist.requests.courtesy import FEW, SHARE, Courtesy
from dynatwist.requests.forwarding import read_forwarded
from dynatwist.requests.listing import ListingUnavailable
from dynatwist.requests.missing import Missing
from dynatwist.scheduled.plan import Plan
from dynatwist.scheduled.rounds import RETRY_S, ScheduledBackups
from dynatwist.scheduled.shelf import Shelf
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World
from dynatwist.storage.files import RealFileSystem

from .real import RealCluster, check_logs, wait_until

DYNAKV = str(Path(sys.executable).with_name("dynakv"))
KEY = of_key_file(b"k" * 32)
OTHER = of_key_file(b"o" * 32)


# The file


def reader(data):
    """What a backup is read by."""
    at = 0

    def read(count):
        nonlocal at
        taken = data[at : at + count]
        at += len(taken)
        return taken

    return read


def written(pieces, *, secret=KEY, salt=b"s" * 16, **end):
    """A backup of some pieces, each followed by a chunk's end where it is long enough."""
    writer = BackupWriter(secret, lambda count: salt, created="2026-11-28T09:40:00Z", dynatwist="9.9")
    return b"".join([writer.head, *map(writer.add, pieces), writer.end(**end)])


def read_back(data, secret=KEY):
    """All entries of a backup, and its totals."""
    *pieces, totals = Backup(reader(data)).opened(secret)
    assert isinstance(totals, Totals)
    return [entry for piece in pieces for entry in piece], totals


BIG = [[Entry("t", f"k{n}", b'{"x":"%b"}' % (b"%d" % n * (1 << 20)), "ann")] for n in range(3)]
"""Three chunks, and the end."""


@cache
def good():
    """A backup of them."""
    return written(BIG)


@st.composite
def entries(draw):
    text = st.text(min_size=1, max_size=8)
    number = st.integers(0, 1 << 53)
    return Entry(draw(text), draw(text), draw(st.binary(max_size=40)), draw(text), draw(number), draw(number))


class TestFormat:
    @given(st.lists(st.lists(entries(), max_size=5), max_size=5))
    @settings(max_examples=30, deadline=None)
    def test_what_was_written_is_read(self, pieces):
        found, totals = read_back(written(pieces, strong=["t"], only=["t"], prefix="p", missing=[3, 4]))
        assert found == [entry for piece in pieces for entry in piece]
        assert sum(tally.records + tally.gone for tally in totals.tables.values()) == len(found)
        assert (totals.strong, totals.only, totals.prefix, totals.missing) == (("t",), ("t",), "p", (3, 4))

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_any_changed_byte_is_told(self, data):
        at = data.draw(st.integers(0, len(good()) - 1))
        bad = bytearray(good())
        bad[at] ^= data.draw(st.integers(1, 255))
        with pytest.raises(BackupError):
            read_back(bytes(bad))

    @given(st.data())
    @settings(max_examples=30, deadline=None)
    def test_any_cut_and_any_addition_is_told(self, data):
        cut = data.draw(st.integers(0, len(good()) - 1))
        with pytest.raises(BackupError):
            read_back(good()[:cut])
        with pytest.raises(BackupError, match="follows its end"):
            read_back(good() + data.draw(st.binary(min_size=1, max_size=100)))

    def test_chunks_in_another_order_left_out_or_twice_are_told(self):
        head, *chunks = parts(good())
        for order in ([1, 0, 2, 3], [0, 2, 3], [0, 0, 1, 2, 3], [0, 1, 3, 2], [3]):
            with pytest.raises(BackupError):
                read_back(head + b"".join(chunks[n] for n in order))

    def test_chunks_of_another_backup_with_the_same_key_are_told(self):
        head, *chunks = parts(good())
        _, *others = parts(written(BIG, salt=b"t" * 16))
        for n in range(4):
            mixed = [*chunks[:n], others[n], *chunks[n + 1 :]]
            with pytest.raises(BackupError, match=f"chunk {n + 1} does not verify"):
                read_back(head + b"".join(mixed))

    def test_a_wrong_key_is_told_from_damage(self):
        with pytest.raises(BackupError, match="not the one that it is sealed with"):
            read_back(written(BIG), OTHER)
        with pytest.raises(BackupError, match="with a key file"):
            read_back(written(BIG), of_passphrase("correct horse"))
        with pytest.raises(BackupError, match="with a passphrase"):
            read_back(written([], secret=of_passphrase("correct horse")), KEY)

    def test_the_end_alone_tells_what_is_in_it(self):
        data = written(BIG)
        assert Backup(reader(data)).totals(KEY) == read_back(data)[1]

    def test_a_later_format_and_other_files_are_told(self):
        with pytest.raises(BackupError, match="later release"):
            Backup(reader(written([]).replace(b"backup 1", b"backup 3")))
        with pytest.raises(BackupError, match="no backup"):
            Backup(reader(b"SQLite format 3"))

    def test_the_header_names_nobody_and_nothing_is_in_clear(self):
        data = written([[Entry("tables", "keys", b'{"values":1}', "owners")]])
        assert not [word for word in (b"tables", b"keys", b"values", b"owners") if word in data]

    def test_a_header_that_asks_for_too_much_work_is_refused(self):
        data = written([], secret=of_passphrase("correct horse")).replace(b'"n":131072', b'"n":1073741824')
        with pytest.raises(BackupError, match="more work"):
            read_back(data, of_passphrase("correct horse"))


def parts(data):
    """The head of a backup, and its chunks."""
    end = data.index(b"\n", data.index(b"\n") + 1) + 1
    found = [data[:end]]
    while end < len(data):
        length = 5 + int.from_bytes(data[end : end + 4])
        found.append(data[end : end + length])
        end += length
    return found


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), {("t", "a1"), ("t", "b1"), ("u", "a1"), ("_users", "t"), ("_tables", "t"), ("_tables", "u")}),
        (Selection(("t",)), {("t", "a1"), ("t", "b1"), ("_tables", "t")}),
        (Selection(prefix="a"), {("t", "a1"), ("u", "a1")}),
        (Selection(("t",), "a"), {("t", "a1"), ("_tables", "t")}),
    ],
)
def test_what_belongs_to_a_part_of_a_cluster(selection, taken):
    names = [("t", "a1"), ("t", "b1"), ("u", "a1"), ("_users", "t"), ("_tables", "t"), ("_tables", "u"), ("_uses", "t")]
    assert {name for name in names if selection.takes(Entry(*name, b"{}", "ann"))} == taken
    assert {table for table, _ in names if selection.wants(table)} == {table for table, _ in taken}


class TestSchedule:
    NODE = "0123abcd"

    def test_only_a_nodes_own_whole_backups_are_counted(self):
        mine = [name_of(self.NODE, f"2026112{day}T000000Z") for day in (3, 1, 2)]
        others = [name_of("ffffffff", "20261120T000000Z"), mine[0] + ".new", "notes.txt", mine[0] + ".old"]
        assert [one.name for one in made_by(self.NODE, [*others, *mine])] == sorted(mine)
        assert left_over(self.NODE, [*others, *mine]) == [mine[0] + ".new"]

    @given(st.lists(st.booleans(), max_size=9), st.integers(1, 9), st.integers(1, 5))
    def test_what_increments_go_on_from_is_kept_with_them(self, increments, keep, full_each):
        """The first one is full in any case."""
        increments[:1] = [False] * len(increments[:1])
        names = [name_of(self.NODE, f"2026112{day}T000000Z", is_increment=one) for day, one in enumerate(increments)]
        made = made_by(self.NODE, names)
        assert [one.is_increment for one in made] == increments
        left = made[len(superseded(made, keep)) :]
        assert len(left) >= min(len(made), keep)
        assert not [one for one in left[:1] if one.is_increment]
        beyond = left[: max(0, len(left) - keep)]
        assert all(one.is_increment for one in left[1 : len(beyond) + 1] if beyond), "and nothing else"
        chain = chain_behind(made, full_each)
        assert [one.is_increment for one in chain] == [False] * len(chain[:1]) + [True] * len(chain[1:])
        assert chain == made[len(made) - len(chain) :]
        assert len(chain) < full_each

    @given(st.integers(0, 9), st.integers(1, 9))
    def test_the_newest_are_kept(self, count, keep):
        made = made_by(self.NODE, [name_of(self.NODE, f"2026112{day}T000000Z") for day in range(count)])
        gone = superseded(made, keep)
        assert gone == [one.name for one in made][: len(gone)]
        assert len(made) - len(gone) == min(count, keep)

    def test_the_next_is_due_by_the_last(self):
        assert due_ms(None, 5000, 1000) == 5000
        assert due_ms(4500, 5000, 1000) == 5500
        assert due_ms(100, 5000, 1000) <= 5000
        assert due_ms(9_000_000, 5000, 1000) == 6000  # made by a clock that was ahead


class Disk(RealFileSystem):
    """A disk with so much room, of which what is written may be damaged."""

    free_bytes = 1 << 30
    is_bad = False

    def room(self, folder):
        return self.free_bytes, 1 << 40

    def read_part(self, path, at, size_bytes):
        data = super().read_part(path, at, size_bytes)
        return bytes(len(data)) if self.is_bad and size_bytes > 5 else data


class AtOnce:
    """A thread that is not one."""

    def submit(self, work, done):
        try:
            work()
        except Exception as error:
            done(error)
        else:
            done(None)


class Cluster:
    """What is read of a cluster."""

    strong = ()
    is_away = False
    mark = Mark(b"clock", ("t",))

    forgets = False

    async def entries(self, since=None):
        if since is not None and self.forgets:
            raise DeletesForgotten
        yield [Entry("t", "k", b"{}", "ann")]
        if self.is_away:
            raise ListingUnavailable


class TestScheduled:
    """Backups of a node, every hour, of which three are kept."""

    @pytest.fixture(autouse=True)
    def _made(self, tmp_path):
        self.folder, self.disk, self.cluster = tmp_path / "kept", Disk(), Cluster()
        self.now_ms = 1_795_000_000_000
        self.node = self.started()

    def started(self, full_each=1):
        plan = Plan(str(self.folder), 3600.0, 3, KEY, full_each)
        runtime = SimpleNamespace(wall_ms=lambda: self.now_ms, randbytes=os.urandom)
        shelf = Shelf(plan, fs=self.disk, thread=AtOnce(), node="0123abcd", spare_bytes=lambda: 1 << 20)
        how = {"reading": lambda: self.cluster, "is_ready": lambda: True, "version": "9.9"}
        return ScheduledBackups(plan, runtime=runtime, shelf=shelf, **how)

    def after(self, seconds):
        """The names in the folder, some time later."""
        self.now_ms += round(1000 * seconds)
        self.node.look()
        return sorted(path.name for path in self.folder.iterdir())

    def test_the_first_is_made_at_once_and_the_next_when_it_is_due_also_by_a_later_process(self):
        assert len(self.after(0)) == len(self.after(3599)) == 1
        assert len(self.after(1)) == 2
        self.node = self.started()
        assert len(self.after(3599)) == 2
        assert len(self.after(1)) == 3
        assert self.node.last_s == self.now_ms // 1000
        names = self.after(3600)
        assert len(names) == 3
        assert read_back((self.folder / names[0]).read_bytes())[0] == [Entry("t", "k", b"{}", "ann")]

    def test_those_between_full_ones_are_increments_and_none_loses_what_it_goes_on_from(self):
        self.node = self.started(3)

        def kinds():
            return "".join("f" if name.endswith(".backup") else "i" for name in self.after(3600))

        assert [kinds() for _ in range(6)] == ["f", "fi", "fii", "fiif", "fiifi", "fii"]
        names = self.after(0)
        links = [Link(name, *self.opened(name)) for name in names]
        require_chain(links)

    def test_where_no_increment_can_be_made_the_backup_is_full(self):
        self.node = self.started(9)
        self.after(0)
        self.cluster.forgets = True
        assert self.after(3600)[-1].endswith(".backup")
        self.cluster.forgets = False
        assert self.after(3600)[-1].endswith(".increment")
        next(self.folder.glob("*.increment")).write_bytes(b"damaged")
        assert self.after(3600)[-1].endswith(".backup")
        assert self.node.failed == 0

    def opened(self, name):
        """(what an increment on it names, what is in it)."""
        backup = Backup(reader((self.folder / name).read_bytes()))
        *_, totals = backup.opened(KEY)
        return backup.base, totals

    @pytest.mark.parametrize(
        "trouble",
        [("disk", "is_bad", True), ("disk", "free_bytes", (1 << 20) + 10), ("cluster", "is_away", True)],
        ids=["damaged on the disk", "the disk is nearly full", "no majority"],
    )
    def test_one_that_fails_leaves_nothing_and_takes_nothing_away(self, trouble):
        for _ in range(3):
            before = self.after(3600)
        whose, what, how = trouble
        was = getattr(getattr(self, whose), what)
        setattr(getattr(self, whose), what, how)
        assert self.after(3600) == before
        assert (self.node.made, self.node.failed, self.node.is_failing) == (3, 1, True)
        setattr(getattr(self, whose), what, was)
        assert self.after(RETRY_S - 1) == before
        names = self.after(1)
        assert names[:2] == before[1:]
        assert (len(names), self.node.is_failing) == (3, False)

    def test_what_a_killed_process_has_begun_is_cleared_away_and_other_files_stay(self):
        self.folder.mkdir()
        begun = name_of("0123abcd", "20261101T000000Z") + ".new"
        others = [
            "notes.txt",
            name_of("ffffffff", "20261101T000000Z"),
            name_of("ffffffff", "20261101T000000Z") + ".new",
        ]
        for name in (begun, *others):
            (self.folder / name).write_text("")
        assert begun not in self.after(0)
        for _ in range(4):
            names = self.after(3600)
        assert len(names) == 3 + len(others)
        assert set(others) <= set(names)


# Clusters


@pytest.fixture(scope="module")
def cluster():
    """Three nodes; the third one makes backups by itself, every second."""
    made = RealCluster(Path(tempfile.mkdtemp(prefix="dynakv-test-")))
    key = made.folder / "backup.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    made.add("--lone-after", "1")
    made.add("--lone-after", "1")
    options = ("--backup-every", "1s", "--backup-keep", "3", "--backup-full-each", "2", "--backup-key", str(key))
    made.add("--lone-after", "1", "--backup-folder", str(made.folder / "kept"), *options)
    made.wait_ready()
    yield made
    made.close()


@pytest.fixture(scope="module")
def other():
    """A cluster of one node, to restore into."""
    made = RealCluster.start(1, "--lone-after", "1")
    yield made
    made.close()


class Shell:
    """Runs the command against a cluster, as its administrator, with a key file."""

    def __init__(self, cluster):
        self.env = {
            **os.environ,
            "HOME": str(cluster.folder),
            "DYNAKV_URL": " ".join(node.address for node in cluster.nodes),
            "DYNAKV_TOKEN": cluster.admin_token(),
        }
        self.key_file = cluster.folder / "backup.key"
        self.key_file.write_bytes(b"k" * 32)
        self.key_file.chmod(0o600)

    def begin(self, *words, **more):
        return subprocess.Popen(
            [DYNAKV, *words, "--backup-key", str(self.key_file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.env, **more},
        )

    def __call__(self, *words, status=0, **more):
        process = self.begin(*words, **more)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        assert process.returncode == status, (out, err)
        return err if status else out


@pytest.mark.processes
def test_all_that_there_is_comes_back_in_a_new_cluster(cluster, other, tmp_path):
    admin = cluster.admin_token()
    first, second, third = cluster.nodes
    ann = first.register("ann")
    assert first.request("PUT", "/admin/tables/jobs", {"consistency": "strong"}, admin).status == 200
    assert first.request("PUT", "/admin/groups/staff", {"members": ["ann"]}, admin).status == 200
    rules = {"access": [{"prefix": "", "read": ["group:staff"], "create": ["*"], "delete": ["owner"]}]}
    assert first.request("PUT", "/admin/tables/notes", rules, admin).status == 200
    access = [{"table": "notes", "rights": ["read", "create"]}]
    service = first.request("POST", "/admin/tokens", {"name": "bot", "access": access}, admin).json["token"]
    for n in range(300):
        assert cluster.nodes[n % 3].put("notes", f"n/{n:03}", {"n": n, "big": 1e300}, ann).status == 201
    second.put("notes", "brief", {"x": 1}, ann, "?ttl=3600")
    second.put("notes", "gone", {"x": 1}, ann)
    assert third.delete("notes", "gone", ann).status == 200
    third.put("jobs", "nightly", {"x": 1}, ann)
    third.put("notes", "bots", {"x": 1}, service)
    end_ms = first.get("notes", "brief", ann).json["expires_at"]

    path, shell = str(tmp_path / "all.backup"), Shell(cluster)
    assert "303 records of 2 tables, 1 user," in shell("backup", path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert "whole" in shell("verify", path)
    told = json.loads(shell("-o", "json", "inspect", path))
    assert told["tables"]["jobs"]["consistency"] == "strong"
    assert told["tables"]["notes"]["records"] == 302

    node, restored = other.nodes[0], Shell(other)
    assert "308 would be written" in restored("restore", path, "--dry-run")
    assert "308 written, 0 there already" in restored("restore", path)
    token = node.request("POST", "/auth/ann", {"secret": "a secret", "new": False}).json["token"]
    assert node.get("notes", "n/007", token).json["value"] == {"n": 7, "big": 1e300}
    assert node.get("notes", "brief", token).json["expires_at"] == end_ms
    assert node.get("notes", "gone", token).status == 404
    assert node.get("jobs", "nightly", token).json["owner"] == "ann"
    assert node.get("notes", "bots", service).json["owner"] == "service:bot"
    assert node.put("notes", "n/007", {}, token).status == 403  # the rules are back, too
    assert node.request("GET", "/admin/tables/jobs", None, other.admin_token()).json["consistency"] == "strong"


@pytest.mark.processes
def test_what_is_there_stays_or_is_written_over_as_it_was(other, tmp_path):
    path, admin, node = tmp_path / "a.backup", other.admin_token(), other.nodes[0]
    ends_ms = {"same": 0, "changed": 0, "over": 1, "lasting": 1000 * 4_000_000_000}
    path.write_bytes(written([[Entry("rules", key, b'{"x":1}', "ann#1", end_ms) for key, end_ms in ends_ms.items()]]))
    bob = node.register("bob")
    assert node.put("rules", "changed", {"x": 2}, bob).status == 201
    restore = Shell(other)

    assert "2 written, 1 there already, 1 expired" in restore("restore", str(path), "--table", "rules")
    held = node.request("GET", "/admin/table/rules/key/changed", None, admin).json
    assert (held["value"], held["owner"]) == ({"x": 2}, "bob")
    assert node.request("GET", "/admin/table/rules/key/lasting", None, admin).json["expires_at"] == ends_ms["lasting"]
    assert "3 written, 0 there already, 1 expired" in restore("restore", str(path), "--overwrite")
    held = node.request("GET", "/admin/table/rules/key/changed", None, admin).json
    assert (held["value"], held["owner"], held["version"]) == ({"x": 1}, "ann", 2)


@pytest.mark.processes
def test_a_user_that_comes_back_logs_in_again_and_takes_no_name_unless_that_is_wanted(other):
    node, admin = other.nodes[0], other.admin_token()
    token = node.register("dora")
    (backed_up,) = (
        {"key": one["key"], "value": one["value"], "owner": one["owner"]}
        for one in node.request("GET", "/admin/backup/_users?prefix=dora", None, admin).json["records"]
    )

    def restore(**how):
        return node.request("POST", "/admin/restore/_users", {"records": [backed_up], **how}, admin).json["outcomes"]

    assert restore() == restore(overwrite=True) == ["kept"]
    assert node.request("POST", "/auth/dora/logout", None, token).status == 200
    assert restore(overwrite=True) == ["kept"]
    assert node.get("t", "k", token).status == 401, "what was logged out stays so"
    assert node.request("DELETE", "/admin/users/dora", None, admin).status == 200
    assert (restore(dry=True), restore()) == (["written"], ["written"])
    assert node.get("t", "k", token).status == 401
    assert node.request("POST", "/auth/dora", {"secret": "a secret", "new": False}).status == 200

    assert node.request("DELETE", "/admin/users/dora", None, admin).status == 200
    later = node.register("dora", "another secret")
    assert restore() == ["taken"]
    assert node.get("t", "k", later).status == 404
    assert restore(overwrite=True) == ["written"]
    assert node.get("t", "k", later).status == 401
    assert node.request("POST", "/auth/dora", {"secret": "a secret", "new": False}).status == 200


@pytest.mark.processes
@pytest.mark.parametrize(
    "value",
    [
        {"uid": "bob#1", "hash": "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$c29tZWhhc2g", "generation": 0},
        {"uid": "eve#1", "hash": "$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$c29tZWhhc2g", "generation": 0},
        {"uid": "eve#1", "hash": "none", "generation": 0},
        {"uid": 1},
    ],
)
def test_what_is_no_user_is_not_made_one(other, value):
    asked = {"records": [{"key": "eve", "value": value, "owner": "admin"}]}
    answer = other.nodes[0].request("POST", "/admin/restore/_users", asked, other.admin_token())
    assert answer.json["outcomes"][0]["code"] == "malformed"


@pytest.mark.processes
def test_only_an_administrator_backs_up_and_restores(cluster):
    node, token = cluster.nodes[0], cluster.nodes[0].register("carl")
    for method, path in (
        ("GET", "/admin/backup"),
        ("GET", "/admin/backup/notes"),
        ("GET", "/admin/backup/_users"),
        ("POST", "/admin/restore/notes"),
        ("POST", "/admin/restore/_users"),
    ):
        assert node.request(method, path, {"records": []} if method == "POST" else None, token).status == 403
        assert node.request(method, path, {"records": []} if method == "POST" else None).status == 401


@pytest.mark.processes
def test_a_client_that_hangs_up_leaves_nothing_in_the_log(cluster):
    node, admin = cluster.nodes[0], cluster.admin_token()
    records = [{"key": f"h{n}", "value": {"n": n}, "owner": "ann#1"} for n in range(200)]
    for _ in range(20):
        for method, path, body in (
            ("GET", "/admin/backup", None),
            ("POST", "/admin/restore/hung", {"records": records, "overwrite": True}),
            ("POST", "/hung/keys", {"keys": [one["key"] for one in records]}),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
            connection.request(method, path, body and json.dumps(body), {"Authorization": f"Bearer {admin}"})
            node.request("GET", "/heartbeat")  # so it has begun, more or less
            connection.close()
    check_logs(cluster)


class Writing(threading.Thread):
    """Writes ever greater numbers under some keys and deletes others, and remembers what was acknowledged."""

    def __init__(self, node, token):
        super().__init__(daemon=True)
        self.acknowledged = {}
        self.deleted = set()
        self.is_over = False
        self._node, self._token = node, token

    def run(self):
        n = 0
        while not self.is_over:
            n += 1
            key = f"k{n * 7919 % 2000:04}"
            answer = self._node.try_request("PUT", f"/busy/key/{key}", {"n": n}, self._token)
            if answer is not None and answer.status == 201:
                self.acknowledged[key] = n
            answer = self._node.try_request("DELETE", f"/busy/key/d{n:04}", None, self._token)
            if answer is not None and answer.status == 200:
                self.deleted.add(f"d{n:04}")


@pytest.mark.processes
def test_what_was_acknowledged_before_is_there_while_a_node_dies_and_a_restore_is_killed(cluster, other, tmp_path):
    path, shell = tmp_path / "busy.backup", Shell(cluster)
    first, second, _ = cluster.nodes
    ann = second.register("ann")
    for begin in range(0, 2000, 500):
        ops = [{"op": "put", "key": f"k{n:04}", "value": {"n": 0}} for n in range(begin, begin + 500)]
        ops += [{"op": "put", "key": f"d{n:04}", "value": {"n": 0}} for n in range(begin, begin + 200)]
        assert second.request("POST", "/busy/batch", {"ops": ops}, ann).status == 200
    writing = Writing(second, ann)
    writing.start()
    wait_until(lambda: len(writing.acknowledged) > 50)
    acknowledged, deleted = dict(writing.acknowledged), set(writing.deleted)
    command = shell.begin("backup", str(path))
    wait_until(lambda: list(tmp_path.glob("busy.backup.*.new")), what="the backup is under way")
    assert not path.exists()
    first.kill()  # the node that the command asks
    out, err = command.communicate(timeout=60)
    assert command.returncode == 0, (out, err)
    writing.is_over = True
    writing.join()
    first.start()

    found = {one.key: json.loads(one.value)["n"] for one in entries_of(path) if one.table == "busy"}
    assert not deleted & found.keys()
    assert not [key for key, n in acknowledged.items() if found.get(key, -1) < n]
    assert sum(key.startswith("k") for key in found) == 2000

    node, restore = other.nodes[0], Shell(other)

    def restored():
        answer = node.try_request("GET", "/admin/tables", None, other.admin_token())
        return sum(one["keys"] for one in answer.json["tables"] if one["name"] == "busy")

    command = restore.begin("restore", str(path), "--table", "busy")
    wait_until(restored, 30.0)
    command.kill()
    command.communicate()
    before = restored()
    node.kill()
    node.start()
    other.wait_ready()
    assert 0 < before < len(found)
    restore("restore", str(path), "--table", "busy")
    assert "0 written, " in restore("restore", str(path), "--table", "busy")
    restore("backup", "--table", "busy", str(tmp_path / "again.backup"))
    assert {one.key: json.loads(one.value)["n"] for one in entries_of(tmp_path / "again.backup")} == found
    cluster.wait_ready()
    for one in (cluster, other):
        check_logs(one, "a secret")


def entries_of(path):
    """All that is in a backup file."""
    return read_back(path.read_bytes())[0]


@pytest.mark.processes
def test_a_node_makes_backups_by_itself_and_keeps_the_newest(cluster):
    node, folder = cluster.nodes[2], cluster.folder / "kept"
    shell = Shell(cluster)

    def names():
        suffixes = (".backup", ".increment")
        return sorted(path.name for path in folder.iterdir() if path.suffix in suffixes) if folder.is_dir() else []

    def metric(name):
        return float(node.request("GET", "/metrics").body.decode().split(f"\ndynakv_{name} ")[1].split()[0])

    first = wait_until(names)[0]
    wait_until(lambda: first not in names(), what="the oldest is removed")
    assert 3 <= len(names()) <= 5
    assert metric("backups_made_total") >= 3
    assert metric("backup_last_made_timestamp_seconds") > 1.7e9
    name = wait_until(lambda: [name for name in names() if name.endswith(".increment")])[-1]
    full = [one for one in names() if one < name and one.endswith(".backup")][-1]
    assert "whole" in shell("verify", str(folder / full), str(folder / name))

    folder.rename(cluster.folder / "away")
    folder.write_text("not a folder")
    wait_until(lambda: metric("backup_is_failing") == 1)
    assert metric("backups_failed_total") >= 1
    assert "the scheduled backup failed: " in node.log.read_text()
    folder.unlink()
    wait_until(lambda: metric("backup_is_failing") == 0)
    assert wait_until(names)


def source_of(core, served=lambda: 0):
    """What a backup reads of a node."""
    missing = Missing(core.cluster, core.handlers.context.listing)
    return BackupSource(core.cluster, core.registers, missing, served)


def run(cluster, coroutine):
    """What a coroutine comes to, in a simulated cluster."""
    over = []
    ensureDeferred(coroutine).addBoth(over.append)
    assert cluster.world.run_until(lambda: over, 60)
    if isinstance(over[0], Failure):
        over[0].raiseException()
    return over[0]


@pytest.fixture
def simulated():
    """Three nodes in a simulated world; nobody hears what was chosen of a register."""
    cluster = SimCluster(World(5), 3)
    for node in cluster.nodes:
        node.start()
    assert cluster.world.run_until(cluster.is_settled, 60)
    for node in cluster.nodes:
        node.core.cluster.peers.on_notice(Chose, lambda arrival, message: None)
    return cluster


def test_what_was_agreed_on_is_in_a_backup_though_its_proposer_died_before_it_told_anybody(simulated):
    first, *others = simulated.nodes
    key = GROUPS_TABLE, "staff"

    async def agree():
        draft = Draft(b'{"members":["ann"]}', "admin")
        ended, _ = await awaited.rewrite(first.core.registers, key, lambda held: draft, 3.0)
        assert ended.chosen is not None
        for node in others:
            simulated.network.cut([first.host], [node.host])

    run(simulated, agree())
    assert not any(node.core.store.held(key) for node in others)
    held = []
    for node in others:  # as one of them asks the other one when a backup begins
        cluster = node.core.cluster
        cluster.peers.handle(
            Arrival(cluster.me.node_id),
            SettleTables(cluster.version, ""),
            lambda reply, node=node: held.append((reply.is_settled, node.core.store.held(key) is not None)),
        )
    assert simulated.world.run_until(lambda: len(held) == 2, 60)
    assert held == [(True, True), (True, True)]


@pytest.mark.parametrize(("kind", "expires_ms"), [(Kind.PUT, -1), (Kind.PUT, 1 << 53), (Kind.PATCH, 0), (Kind.GET, 0)])
def test_a_member_that_forwards_what_cannot_be_brought_back_is_refused(kind, expires_ms):
    operation = Operation(kind, ("t", "k"), value=b"{}", uid="ann", restored=Restored(expires_ms))
    done, flaw = read_forwarded(Forward(1, 1000, b"o" * 16, ENCODER.encode(operation)))
    assert (done, flaw) == (None, "the end of what it brings back is none")


@pytest.mark.parametrize("names", [["a", "a"], ["b", "a"], [""], ["_users"], []])
def test_a_member_that_names_tables_which_cannot_be_is_not_counted(simulated, names):
    first, *others = simulated.nodes
    for node in others:
        node.core.cluster.peers.on_call(
            SettleTables, lambda arrival, message, respond: respond(SettledTables(names, True, True))
        )
    source = source_of(first.core)
    with pytest.raises(ListingUnavailable):
        run(simulated, source.tables("", is_partial=False))


def test_without_a_majority_there_is_no_backup_unless_a_part_of_it_is_enough(simulated):
    first, second, third = simulated.nodes
    run(simulated, first.core.coordinator.execute(Operation(Kind.PUT, ("t", "k"), Level.ALL, b"{}", "ann")))
    second.kill()
    third.kill()
    node = first.core
    assert simulated.world.run_until(
        lambda: not any(node.cluster.peers.is_reachable(one.node_id) for one in (second, third)), 60
    )
    source = source_of(node)
    with pytest.raises(ListingUnavailable):
        run(simulated, source.tables("", is_partial=False))
    with pytest.raises(ListingUnavailable):
        run(simulated, source.page("t", "", "", is_partial=False))
    assert run(simulated, source.tables("", is_partial=True)).names == ["t"]
    page = run(simulated, source.page("t", "", "", is_partial=True))
    assert ([name for name, _ in page.records], len(page.missing)) == (["k"], 256)


@pytest.mark.parametrize(("served_of_others", "rests"), [(0, 0.0), (FEW - 1, 0.0), (FEW + 1, 1.0)])
def test_a_backup_takes_a_tenth_of_the_time_of_a_node_that_serves_others(served_of_others, rests):
    world = World(1)
    clock = SimpleNamespace(callLater=lambda after_s, call, *of: world.later(after_s, lambda: call(*of)))
    runtime = SimpleNamespace(monotonic_s=lambda: world.now_s, clock=clock)
    served = [0]
    courtesy = Courtesy(runtime, lambda: served[0])

    async def page():
        over = Deferred()
        world.later(0.02, lambda: over.callback(None))
        await over
        served[0] += 1 + served_of_others

    done = []
    ensureDeferred(courtesy.paced(page())).addCallback(lambda _: done.append(world.now_s))
    assert world.run_until(lambda: done, 10, 0.001)
    assert done[0] == pytest.approx(0.02 + rests * 0.02 * (1 / SHARE - 1), abs=0.003)
