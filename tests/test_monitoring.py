"""What Prometheus is told, and what it is to make of it: names, kinds, alerts, the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dynatwist.figures import FIGURES, Kind
from dynatwist.metrics import Durations, Metrics

from .real import RealCluster, wait_until

ROOT = Path(__file__).parents[1]
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
BOARD = json.loads((ROOT / "deploy/grafana/dynakv.json").read_text())
QUERIES = [rule["expr"] for rule in ALERTS] + [
    target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())
]
ONE = '{job="dynakv", instance="a"}'
MINUTES = 100
"""Long enough for all alerts but one."""
UPGRADE_MINUTES = 400
"""For the one that compares releases."""


def steady(value):
    return f"{value}x{UPGRADE_MINUTES}"


def growing(by):
    return f"0+{by}x{UPGRADE_MINUTES}"


DRILLS = {
    "DynakvNodeDown": {f"up{ONE}": steady(0)},
    "DynakvNotReady": {f"dynakv_is_ready{ONE}": steady(0)},
    "DynakvNoMajority": {f"dynakv_partitions_without_majority{ONE}": steady(3)},
    "DynakvOneFailureFromNoMajority": {f"dynakv_partitions_lacking_owners{ONE}": steady(256)},
    "DynakvNotWhole": {f"dynakv_partitions_not_whole{ONE}": steady(7)},
    "DynakvMembersChangeForLong": {f"dynakv_registry_is_changing{ONE}": steady(1)},
    "DynakvHintsGrow": {f"dynakv_hints{ONE}": growing(10)},
    "DynakvHintsDropped": {f"dynakv_hints_dropped_total{ONE}": growing(1)},
    "DynakvLogStuck": {f"dynakv_log_is_stuck{ONE}": steady(1)},
    "DynakvLogSlow": {
        'dynakv_log_group_seconds_bucket{job="dynakv", instance="a", le="0.25"}': growing(90),
        'dynakv_log_group_seconds_bucket{job="dynakv", instance="a", le="1.0"}': growing(100),
        'dynakv_log_group_seconds_bucket{job="dynakv", instance="a", le="+Inf"}': growing(100),
    },
    "DynakvLogGrows": {
        f"dynakv_log_since_save_bytes{ONE}": steady(9_000_000_000),
        f"dynakv_store_bytes{ONE}": steady(1_000_000_000),
    },
    "DynakvSavesFail": {f"dynakv_cold_save_failures_total{ONE}": growing(1)},
    "DynakvDiskFillsUp": {
        f"dynakv_disk_free_bytes{ONE}": f"90000000000-100000000x{UPGRADE_MINUTES}",
        f"dynakv_disk_reserve_bytes{ONE}": steady(268435456),
    },
    "DynakvDiskFull": {f"dynakv_disk_is_low{ONE}": steady(1)},
    "DynakvMemoryNearLimit": {f"dynakv_store_bytes{ONE}": steady(95), f"dynakv_store_limit_bytes{ONE}": steady(100)},
    "DynakvClock": {f"dynakv_clock_is_refused{ONE}": steady(1)},
    "DynakvAlarm": {f"dynakv_anti_entropy_alarms_total{ONE}": growing(1)},
    "DynakvConflictsRise": {f"dynakv_conflicts_total{ONE}": growing(120)},
    "DynakvErrors": {
        'dynakv_requests_total{job="dynakv", instance="a", method="GET", status="503"}': growing(60),
        'dynakv_requests_total{job="dynakv", instance="a", method="GET", status="200"}': growing(600),
    },
    "DynakvSlow": {
        f'dynakv_request_seconds_bucket{{job="dynakv", instance="a", route="data.put", le="{bound}"}}': to
        for bound, to in (("0.5", growing(90)), ("1.0", growing(100)), ("+Inf", growing(100)))
    },
    "DynakvReactorHeldUp": {
        'dynakv_turn_cpu_seconds_bucket{job="dynakv", instance="a", le="0.05"}': growing(900),
        'dynakv_turn_cpu_seconds_bucket{job="dynakv", instance="a", le="0.1"}': growing(1000),
        'dynakv_turn_cpu_seconds_bucket{job="dynakv", instance="a", le="+Inf"}': growing(1000),
    },
    "DynakvClientsRefused": {
        'dynakv_budget_refused_total{job="dynakv", instance="a", budget="connections"}': growing(60)
    },
    "DynakvDescriptorsRunOut": {f"process_open_fds{ONE}": steady(95), f"process_max_fds{ONE}": steady(100)},
    "DynakvCertificateEnds": {f"dynakv_tls_certificate_end_timestamp_seconds{ONE}": steady(13 * 86400)},
    "DynakvBackupFails": {f"dynakv_backup_is_failing{ONE}": steady(1)},
    "DynakvAuditLost": {f"dynakv_audit_lines_dropped_total{ONE}": growing(1)},
    "DynakvReleasesDiffer": {
        'dynakv_build_info{job="dynakv", instance="a", version="0.1.0"}': steady(1),
        'dynakv_build_info{job="dynakv", instance="b", version="0.2.0"}': steady(1),
    },
}
CALM = {
    f"up{ONE}": steady(1),
    f"dynakv_is_ready{ONE}": steady(1),
    f"dynakv_partitions_without_majority{ONE}": steady(0),
    f"dynakv_partitions_lacking_owners{ONE}": f"0x20 256 256 0x{UPGRADE_MINUTES}",  # somebody restarts a node
    f"dynakv_partitions_not_whole{ONE}": f"0x20 256x3 0x{UPGRADE_MINUTES}",
    f"dynakv_registry_is_changing{ONE}": f"0x20 1x20 0x{UPGRADE_MINUTES}",
    f"dynakv_hints{ONE}": f"0x20 90 180 20 0x{UPGRADE_MINUTES}",
    f"dynakv_log_is_stuck{ONE}": steady(0),
    f"dynakv_log_since_save_bytes{ONE}": steady(100_000_000),
    f"dynakv_store_bytes{ONE}": steady(100_000_000),
    f"dynakv_store_limit_bytes{ONE}": steady(8_000_000_000),
    f"dynakv_disk_free_bytes{ONE}": f"90000000000-1000000x{UPGRADE_MINUTES}",
    f"dynakv_disk_reserve_bytes{ONE}": steady(268435456),
    f"dynakv_disk_is_low{ONE}": steady(0),
    f"dynakv_clock_is_refused{ONE}": steady(0),
    f"dynakv_conflicts_total{ONE}": growing(2),
    'dynakv_requests_total{job="dynakv", instance="a", method="GET", status="503"}': growing(1),
    'dynakv_requests_total{job="dynakv", instance="a", method="GET", status="200"}': growing(6000),
    'dynakv_budget_refused_total{job="dynakv", instance="a", budget="connections"}': growing(1),
    f"process_open_fds{ONE}": steady(50),
    f"process_max_fds{ONE}": steady(20000),
    f"dynakv_tls_certificate_end_timestamp_seconds{ONE}": steady(90 * 86400),
    f"dynakv_backup_is_failing{ONE}": steady(0),
    'dynakv_build_info{job="dynakv", instance="a", version="0.2.0"}': steady(1),
    'dynakv_build_info{job="dynakv", instance="b", version="0.2.0"}': steady(1),
}


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


@pytest.fixture(scope="module")
def told():
    """By two real nodes, one of which takes a read, a write and a listing; with all that may be switched on."""
    cluster = RealCluster.start(2)
    node = cluster.nodes[0]
    try:
        token = node.register("ann")
        assert node.put("t", "k", {"n": 1}, token).status == 201
        assert node.get("t", "k", token, "?r=majority").status == 200
        assert node.request("GET", "/t/keys", token=token).status == 200
        wait_until(lambda: 'dynakv_members{state="active"} 2.0' in node.request("GET", "/metrics").body.decode())
        yield families(node.request("GET", "/metrics").body.decode())
    finally:
        cluster.close()


class TestFigures:
    def test_names_have_base_units_and_say_what_only_grows(self):
        for figure in FIGURES:
            assert re.fullmatch(r"[a-z][a-z_]*[a-z]", figure.name)
            assert not re.search(r"_(total|ms|millis|mib|kib|percent|count)$", figure.name), figure.name
        assert len({figure.name for figure in FIGURES}) == len(FIGURES)

    def test_a_node_tells_each_with_its_kind(self, told):
        optional = {"backups_made", "backups_failed", "backup_is_failing", "backup_last_made_timestamp_seconds"}
        optional |= {"tls_certificate_end_timestamp_seconds"}
        for figure in FIGURES:
            if figure.name not in optional:
                family = told[f"dynakv_{figure.name}"]
                assert (family.type, family.documentation) == (figure.kind.value, figure.text)
        assert {name for name in told if name.startswith("dynakv_")} >= {"dynakv_build"} or "dynakv_build_info" in told
        assert {"process_resident_memory_bytes", "process_open_fds", "python_info"} <= set(told)

    def test_durations_are_told_apart_by_route_and_level(self, told):
        counts = {
            (sample.labels["route"], sample.labels["level"]): sample.value
            for sample in told["dynakv_request_seconds"].samples
            if sample.name.endswith("_count")
        }
        assert counts["data.put", "quorum"] == counts["data.get", "majority"] == 1
        assert counts["accounts.enter", ""] == 1

    def test_a_figure_that_nobody_declared_is_a_defect(self):
        metrics = Metrics()
        metrics.tell({"nonsense": 1})
        with pytest.raises(KeyError):
            metrics.render()

    def test_buckets_hold_all_that_is_below_them(self):
        durations = Durations((1.0, 2.0))
        for took_s in (0.5, 1.0, 1.5, 99.0):
            durations.add(took_s)
        assert durations.buckets() == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]


class TestQueries:
    """Of the alerts and of the dashboard."""

    @pytest.mark.parametrize("query", QUERIES)
    def test_ask_for_what_there_is_by_its_kind(self, told, query):
        declared = {figure.full_name: figure.kind for figure in FIGURES}
        for name in set(re.findall(r"\b(?:dynakv|process|python)_[a-z_]+", query)):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            is_histogram = told.get(base) is not None and told[base].type == "histogram"
            kind = declared.get(name) or (Kind.COUNTER if is_histogram or name.endswith("_total") else Kind.GAUGE)
            exists = {name, base, name.removesuffix("_total"), name.removesuffix("_info")} & set(told)
            assert name in declared or exists, name
            rated = bool(re.search(rf"\b(rate|increase|irate)\({name}\b", query))
            assert rated == (kind is Kind.COUNTER), f"{name} is a {kind.value}"

    def test_every_alert_has_a_drill_and_a_paragraph(self):
        names = [rule["alert"] for rule in ALERTS]
        assert sorted(DRILLS) == sorted(names)
        page = (ROOT / "docs/monitoring.rst").read_text()
        assert [name for name in names if f"\n``{name}``\n" not in page] == []


class TestAlerts:
    """By Prometheus' own reckoning (``promtool``, from Debian's package ``prometheus``)."""

    def fired(self, tmp_path, series, *minutes):
        """The alerts that fire at some minutes: each is expected not to, and promtool complains of those that do."""
        shutil.copy(ROOT / "deploy/prometheus/alerts.yml", tmp_path)
        case = {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [
                {"eval_time": f"{minute}m", "alertname": rule["alert"], "exp_alerts": []}
                for rule in ALERTS
                for minute in minutes
            ],
        }
        made = {"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": [case]}
        (tmp_path / "case.yml").write_text(yaml.safe_dump(made))
        done = subprocess.run(["promtool", "test", "rules", "case.yml"], cwd=tmp_path, capture_output=True, text=True)
        told = done.stdout + done.stderr
        assert "SUCCESS" in told or "alertname:" in told, told
        return set(re.findall(r"alertname: (\w+)", told))

    pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not there")

    def test_nothing_fires_while_all_is_well(self, tmp_path):
        """A node is restarted, members change, a few clients are refused more than they may have."""
        assert self.fired(tmp_path, CALM, *range(15, 50), MINUTES - 1) == set()

    @pytest.mark.parametrize("name", sorted(DRILLS))
    def test_each_fires_in_its_drill_and_no_other_one(self, tmp_path, name):
        minutes = UPGRADE_MINUTES if name == "DynakvReleasesDiffer" else MINUTES
        assert self.fired(tmp_path, CALM | DRILLS[name], minutes - 1) == {name}
