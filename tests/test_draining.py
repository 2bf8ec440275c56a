"""Members that leave for good, and zones: owners lie in different ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynatwist.cli.draining import Listed, Members

from .real import RealCluster, wait_until

DYNAKV = str(Path(sys.executable).with_name("dynakv"))


class TestWhatStandsInTheWay:
    A, B, C = (Listed(name * 16, f"10.0.0.{number}:6661", True) for number, name in enumerate("abc", 1))

    def test_nothing_where_all_others_are_there(self):
        members = Members(False, 2, [self.A, self.B, self.C])
        assert members.stands_in_the_way(self.C.id) == ""
        assert members.consequence(self.C.address) == "2 members stay"

    def test_who_is_no_member_is_told_who_are(self):
        assert Members(False, 3, [self.A]).stands_in_the_way("nobody:1") == (
            "nobody:1 is no member; the members are 10.0.0.1:6661"
        )

    def test_the_last_one(self):
        assert Members(False, 3, [self.A]).stands_in_the_way(self.A.id) == "10.0.0.1:6661 is the last member"

    def test_an_address_of_several_members_is_none(self):
        """A node lost its folder, and joined again."""
        before = Listed("d" * 16, self.C.address, False)
        members = Members(False, 2, [self.A, self.B, before, self.C])
        assert members.stands_in_the_way(self.C.address) == (
            "10.0.0.3:6661 is the address of several members: dddddddddddddddd (away), cccccccccccccccc (reachable); "
            "name one by its id"
        )
        assert members.stands_in_the_way(before.id) == ""
        assert members.stands_in_the_way(self.C.id).startswith("dddddddddddddddd (at 10.0.0.3:6661) cannot be reached")

    def test_another_one_that_is_away(self):
        away = Listed(self.B.id, self.B.address, False)
        members = Members(False, 3, [self.A, away, self.C])
        assert members.stands_in_the_way(self.C.id).startswith("10.0.0.2:6661 cannot be reached")
        assert members.stands_in_the_way(away.id) == ""
        assert members.consequence(away.id) == (
            "2 members stay, too few for 3 copies of each key; it is away and hands nothing off"
        )


@pytest.mark.processes
def test_a_member_is_replaced_under_writes_and_owners_lie_in_different_zones(tmp_path):
    cluster = RealCluster.start(0, folder=tmp_path)
    try:
        for zone in ("a", "a", "b", "c"):
            cluster.add("--zone", zone)
        cluster.wait_ready()
        admin = cluster.admin_token()
        first, *_, old = cluster.nodes

        def registry():
            return first.request("GET", "/admin/members", token=admin).json

        wait_until(lambda: registry()["zoned"] and not registry()["changing"], 20)
        token = first.register("ann")
        for number in range(200):
            assert first.put("things", f"k{number}", {"n": number}, token).status == 201
        new = cluster.add("--zone", "c")
        env = {**os.environ, "DYNAKV_URL": first.address, "DYNAKV_TOKEN": admin}
        words = [DYNAKV, "replace", old.address, new.address, "--yes", "--within", "60"]
        replacing = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        written = {f"k{number}": number for number in range(200)}
        turn = 200
        while replacing.poll() is None:
            assert first.put("things", f"k{turn % 200}", {"n": turn}, token).status == 201
            written[f"k{turn % 200}"] = turn
            turn += 1
        out, told = replacing.communicate()
        assert replacing.returncode == 0, told
        assert out == f"{old.address} is no member any more, and holds nothing that others lack; stop it\n"
        old.kill()
        assert {one["address"] for one in registry()["members"]} == {
            node.address for node in cluster.nodes if node is not old
        }
        found = {key: new.get("things", key, token, "?r=majority").json["value"]["n"] for key in written}
        assert found == written
        shown = subprocess.run([DYNAKV, "-o", "json", "members"], env=env, capture_output=True, text=True, check=True)
        assert {row["zone"] for row in json.loads(shown.stdout) if row["address"] == new.address} == {"c"}
    finally:
        cluster.close()
