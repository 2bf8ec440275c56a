"""What is in deploy/ goes with the program: every option, variable, port and path there is what a node knows.

Only Python reads the files here; what systemd, Docker and Kubernetes say of them does not depend on this machine.
"""

from __future__ import annotations

import os
import tomllib
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dynatwist.api.routes import ROUTES

from .deployed import (
    DEPLOY,
    ROOT,
    compose,
    config,
    dockerfile,
    entrypoint,
    environment_file,
    instruction,
    kubernetes,
    of_kind,
    options,
    pod_variables,
    unit,
)

PODS = ["dynakv-0", "dynakv-1", "dynakv-2"]


def pod():
    return of_kind("StatefulSet")["dynakv"]["spec"]["template"]["spec"]


class TestSystemd:
    def test_the_node_takes_what_the_unit_and_its_environment_file_say(self, monkeypatch):
        found = config(options(unit()["ExecStart"][0]), environment_file(), monkeypatch)
        assert (found.port, found.interface) == (6661, "127.0.0.1")
        assert found.actual_data_dir == "/var/lib/dynakv/data"
        assert found.actual_key_file == "/var/lib/dynakv/cluster.key"

    def test_the_node_writes_where_the_unit_lets_it(self):
        [state] = unit()["StateDirectory"]
        assert unit()["WorkingDirectory"] == [f"/var/lib/{state}"]
        assert unit()["ProtectSystem"] == ["strict"]
        assert unit()["StateDirectoryMode"] == ["0700"]

    def test_the_node_tells_systemd_how_it_is(self):
        """And is not given up while it waits for the others."""
        assert unit()["Type"] == ["notify"]
        assert unit()["WatchdogSec"] == ["30s"]
        assert unit()["TimeoutStartSec"] == ["infinity"]

    def test_the_limit_of_descriptors_is_soft_and_hard_since_the_filter_forbids_to_raise_it(self):
        assert "~@privileged @resources" in unit()["SystemCallFilter"]
        assert ":" not in unit()["LimitNOFILE"][0]

    @pytest.mark.parametrize(
        "name",
        [
            "NoNewPrivileges", "PrivateTmp", "PrivateDevices", "PrivateUsers", "ProtectHome", "ProtectClock",
            "ProtectHostname", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs",
            "ProtectControlGroups", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
            "MemoryDenyWriteExecute",
        ],
    )  # fmt: skip
    def test_the_unit_keeps_the_node_from(self, name):
        assert unit()[name] == ["yes"]


class TestContainer:
    def test_the_node_takes_what_the_image_says(self, monkeypatch):
        found = config(entrypoint(), {"DYNAKV_ADVERTISE": "node1"}, monkeypatch)
        exposed = {f"{found.port}/tcp", f"{found.port}/udp", f"{found.actual_peer_port}/tcp"}
        assert set(instruction("EXPOSE").split()) == exposed
        assert found.actual_data_dir.startswith("/data/")
        assert found.actual_key_file.startswith("/keys/")
        assert f"http://127.0.0.1:{found.port}/readyz" in instruction("HEALTHCHECK")

    def test_the_image_does_not_run_as_root_and_has_what_the_lock_says(self):
        assert instruction("USER") == "6660:6660"
        assert any("--require-hashes --requirement deploy/requirements.lock" in text for _, text in dockerfile())

    def test_three_nodes_find_each_other(self, monkeypatch):
        services = compose()["services"]
        found = [config(entrypoint(), dict(one["environment"]), monkeypatch) for one in services.values()]
        assert [one.host for one in found] == list(services)
        assert all(one.join == tuple((name, one.port) for name in services) for one in found)
        for one in services.values():
            [port] = one["ports"]
            assert port.startswith("127.0.0.1:")
            assert port.endswith(f":{found[0].port}/tcp")

    def test_each_has_a_volume_of_its_own_and_all_share_the_key_file(self):
        mounts = [dict(reversed(one.split(":")) for one in each["volumes"]) for each in compose()["services"].values()]
        assert {one["/keys"] for one in mounts} == {"keys"}
        assert len({one["/data"] for one in mounts}) == len(mounts)
        assert {name for one in mounts for name in one.values()} == compose()["volumes"].keys()


class TestKubernetes:
    def test_the_nodes_of_the_pods_find_each_other(self, monkeypatch):
        [node] = pod()["containers"]
        found = [config([*entrypoint(), *node["args"]], pod_variables(name), monkeypatch) for name in PODS]
        service = of_kind("StatefulSet")["dynakv"]["spec"]["serviceName"]
        assert of_kind("StatefulSet")["dynakv"]["spec"]["replicas"] == len(PODS)
        assert [one.host for one in found] == [f"{name}.{service}" for name in PODS]
        assert all(one.join == tuple((each.host, each.port) for each in found) for one in found)

    def test_a_node_goes_by_the_copy_of_the_secret_that_it_may_change(self, monkeypatch):
        [key], [node] = pod()["initContainers"], pod()["containers"]
        found = config([*entrypoint(), *node["args"]], pod_variables(PODS[0]), monkeypatch)
        secret = next(one for one in key["volumeMounts"] if one["name"] == "secret")
        assert secret["readOnly"] is True
        assert f"cp {secret['mountPath']}/cluster.key {found.actual_key_file}" in key["args"][0]
        assert os.path.dirname(found.actual_key_file) in {one["mountPath"] for one in node["volumeMounts"]}

    def test_what_kubernetes_says_of_a_service_called_dynakv_does_not_count(self, monkeypatch):
        said = {
            "DYNAKV_PORT": "tcp://10.0.0.1:6660",
            "DYNAKV_SERVICE_HOST": "10.0.0.1",
            "DYNAKV_SERVICE_PORT": "6660",
            "DYNAKV_SERVICE_PORT_HTTP": "6660",
            "DYNAKV_PORT_6660_TCP": "tcp://10.0.0.1:6660",
            "DYNAKV_PORT_6660_TCP_PROTO": "tcp",
            "DYNAKV_PORT_6660_TCP_ADDR": "10.0.0.1",
            "DYNAKV_NODES_SERVICE_HOST": "10.0.0.2",
        }
        found = config([*entrypoint(), *pod()["containers"][0]["args"]], pod_variables(PODS[0]) | said, monkeypatch)
        assert found.port == 6660

    def test_services_and_probes_lead_to_ports_of_the_node(self, monkeypatch):
        [node] = pod()["containers"]
        ports = {one["name"]: (one["containerPort"], one.get("protocol", "TCP")) for one in node["ports"]}
        found = config(entrypoint(), pod_variables(PODS[0]), monkeypatch)
        peers = (found.actual_peer_port, "TCP")
        assert ports == {"http": (found.port, "TCP"), "gossip": (found.port, "UDP"), "peers": peers}
        for service in of_kind("Service").values():
            for one in service["spec"]["ports"]:
                assert ports[one["targetPort"]] == (one["port"], one.get("protocol", "TCP"))
        for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            assert node[probe]["httpGet"] == {"path": path, "port": "http"}
            assert ("GET", path) in {(method, route) for method, route, _ in ROUTES}

    def test_nodes_find_each_other_before_they_are_ready(self):
        headless = of_kind("Service")[of_kind("StatefulSet")["dynakv"]["spec"]["serviceName"]]["spec"]
        assert headless["clusterIP"] == "None"
        assert headless["publishNotReadyAddresses"] is True
        assert of_kind("StatefulSet")["dynakv"]["spec"]["podManagementPolicy"] == "Parallel"

    def test_everything_selects_the_same_pods_and_is_mounted_from_somewhere(self):
        spec = of_kind("StatefulSet")["dynakv"]["spec"]
        labels = spec["template"]["metadata"]["labels"]
        selectors = [one["spec"]["selector"] for one in of_kind("Service").values()]
        for one in (of_kind("PodDisruptionBudget")["dynakv"], of_kind("StatefulSet")["dynakv"]):
            selectors.append(one["spec"]["selector"]["matchLabels"])
        assert all(one == labels for one in selectors)
        volumes = {one["name"] for one in pod()["volumes"]}
        volumes |= {one["metadata"]["name"] for one in spec["volumeClaimTemplates"]}
        for container in (*pod()["initContainers"], *pod()["containers"]):
            assert {one["name"] for one in container["volumeMounts"]} <= volumes

    def test_one_node_at_a_time_may_be_taken_away(self):
        assert of_kind("PodDisruptionBudget")["dynakv"]["spec"]["maxUnavailable"] == 1
        assert {one["kind"] for one in kubernetes()} == {"Service", "PodDisruptionBudget", "StatefulSet"}

    def test_containers_run_without_rights(self):
        assert pod()["securityContext"]["runAsNonRoot"] is True
        assert f"{pod()['securityContext']['runAsUser']}" == instruction("USER").split(":")[0]
        for container in (*pod()["initContainers"], *pod()["containers"]):
            given = container["securityContext"]
            assert given["allowPrivilegeEscalation"] is False
            assert given["capabilities"] == {"drop": ["ALL"]}


class TestLock:
    def locked(self):
        """The lines of the lock file, and how many hashes each has."""
        found: list[tuple[Requirement, int]] = []
        text = (DEPLOY / "requirements.lock").read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if line and not line.lstrip().startswith("#"):
                requirement, *hashes = line.split("--hash=sha256:")
                found.append((Requirement(requirement.strip()), len(hashes)))
        return found

    def wanted(self):
        given = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
        return [Requirement(one) for one in given]

    def test_each_has_one_version_and_its_hashes(self):
        for requirement, hashes in self.locked():
            assert [one.operator for one in requirement.specifier] == ["=="], requirement
            assert hashes, requirement

    def test_it_fits_what_the_program_depends_on(self):
        """Else make it anew, by the command that its first lines say."""
        versions = {
            canonicalize_name(one.name): next(iter(one.specifier)).version
            for one, _ in self.locked()
            if one.marker is None or one.marker.evaluate()
        }
        for one in self.wanted():
            name = canonicalize_name(one.name)
            assert name in versions, f"{one} is not in deploy/requirements.lock"
            assert one.specifier.contains(versions[name]), f"deploy/requirements.lock has {name} {versions[name]}"
        assert self.closure() <= versions.keys()

    def closure(self):
        """All that is installed for the program, by what the packages here say."""
        found: set[str] = set()
        todo = self.wanted()
        while todo:
            one = todo.pop()
            name = canonicalize_name(one.name)
            for extra in ("", *one.extras):
                if (label := f"{name}[{extra}]") not in found:
                    found.add(label)
                    each = map(Requirement, requires(one.name) or ())
                    todo += [r for r in each if r.marker is None or r.marker.evaluate({"extra": extra})]
        return {label.partition("[")[0] for label in found}
