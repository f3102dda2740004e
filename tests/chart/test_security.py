"""What the pods may do, and who reaches whom: the restricted Pod Security Standard, and the network policies."""

import ipaddress
from collections.abc import Iterator

import pytest
from support.chart import NAME, Object, Values, find, merged, pod_specs, render, scenarios

#: https://kubernetes.io/docs/concepts/security/pod-security-standards: volumes that `restricted` knows.
RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def all_pods() -> Iterator[tuple[str, str, Object]]:
    for scenario, values in scenarios().items():
        for name, spec in pod_specs(render(values)):
            yield scenario, name, spec


PODS = [pytest.param(spec, id=f"{scenario}-{name}") for scenario, name, spec in all_pods()]


def test_looks_at_every_kind_of_pod() -> None:
    names = {str(parameter.id).partition("-")[2].rpartition("-")[2] for parameter in PODS}
    assert names >= {"verifier", "emulator", "valkey", "test"}


@pytest.mark.parametrize("spec", PODS)
def test_a_pod_keeps_the_restricted_standard(spec: Object) -> None:
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
    pod = spec["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"sysctls", "seLinuxOptions", "windowsOptions", "appArmorProfile"} & pod.keys()
    for volume in spec.get("volumes", []):
        assert (volume.keys() - {"name"}) <= RESTRICTED_VOLUMES
    assert "initContainers" not in spec
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not {"privileged", "procMount", "runAsUser", "runAsNonRoot", "seccompProfile"} & context.keys()
        assert [port for port in container.get("ports", []) if "hostPort" in port] == []


@pytest.mark.parametrize("spec", PODS)
def test_a_pod_can_write_to_nothing_but_memory_and_its_data(spec: Object) -> None:
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for container in spec["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        writable = [mount for mount in container.get("volumeMounts", []) if not mount.get("readOnly")]
        assert {mount["mountPath"] for mount in writable} <= {"/tmp", "/data"}  # noqa: S108 - in the container
        for mount in writable:
            if mount["mountPath"] != "/data":
                assert volumes[mount["name"]]["emptyDir"]["sizeLimit"]


@pytest.mark.parametrize("spec", PODS)
def test_a_pod_has_no_token_of_the_api_and_bounds_what_it_takes(spec: Object) -> None:
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    for container in spec["containers"]:
        for kind in ("requests", "limits"):
            assert container["resources"][kind].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("spec", PODS)
def test_no_pod_needs_a_shell(spec: Object) -> None:
    for container in spec["containers"]:
        asked = [container["command"][0]]
        asked += [hook["exec"]["command"][0] for hook in container.get("lifecycle", {}).values()]
        assert {*asked} <= {"imds-verifier", "python", "valkey-server"}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container.get(probe, {}).keys().isdisjoint({"exec"})


@pytest.mark.parametrize("spec", PODS)
def test_only_who_is_in_a_secrets_group_can_read_it(spec: Object) -> None:
    for volume in spec.get("volumes", []):
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]


def test_no_secret_stands_in_the_environment_or_in_a_config_map() -> None:
    objects = render(scenarios()["full"])
    assert [one["metadata"]["name"] for one in objects if one["kind"] == "Secret"] == []
    [container] = find(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert [variable for variable in container["env"] if "valueFrom" in variable] == []
    assert "VERIFIER_NONCE_STORE" not in {variable["name"] for variable in container["env"]}


def policy(values: Values, name: str = NAME) -> Object:
    spec: Object = find(render(values), "NetworkPolicy", name)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    return spec


def named(*namespaces: str) -> Object:
    key = "kubernetes.io/metadata.name"
    return {"namespaceSelector": {"matchExpressions": [{"key": key, "operator": "In", "values": [*namespaces]}]}}


def test_by_default_nobody_calls_and_nothing_is_reached_but_redis_and_dns() -> None:
    spec = policy(scenarios()["default"])
    [into] = spec["ingress"]
    [caller] = into["from"]
    assert caller["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert into["ports"] == [{"port": "http", "protocol": "TCP"}]
    dns, redis = spec["egress"]
    assert dns["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert redis == {"ports": [{"port": 6379, "protocol": "TCP"}]}


def test_named_namespaces_call_and_others_read_the_metrics() -> None:
    http, metrics = policy(scenarios()["full"])["ingress"]
    assert named("ingress", "licensing") in http["from"]
    assert metrics == {"from": [named("monitoring")], "ports": [{"port": "metrics", "protocol": "TCP"}]}


def test_redis_may_be_named_closer() -> None:
    _, redis, *_ = policy(scenarios()["full"])["egress"]
    cidrs = [{"ipBlock": {"cidr": cidr}} for cidr in ("10.20.0.0/16", "fd00:20::/64")]
    ports = [{"port": port, "protocol": "TCP"} for port in (6380, 26379)]
    assert redis == {"to": [named("redis"), *cidrs], "ports": ports}


@pytest.mark.parametrize("mode", ["observe", "admit"])
def test_discovery_opens_the_web_and_no_private_address(mode: str) -> None:
    values = merged(scenarios()["default"], {"settings": {"discovery": mode}})
    *_, web = policy(values)["egress"]
    assert [port["port"] for port in web["ports"]] == [80, 443]
    blocks = [peer["ipBlock"] for peer in web["to"]]
    private = (
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "127.0.0.1",
        "100.64.0.1",
        "fd00::1",
        "fe80::1",
    )
    for text in private:
        address = ipaddress.ip_address(text)
        [block] = [block for block in blocks if address in ipaddress.ip_network(block["cidr"])]
        assert any(address in ipaddress.ip_network(excepted) for excepted in block["except"])


def test_discovery_that_fetches_nothing_opens_nothing() -> None:
    ports = [port["port"] for rule in policy(scenarios()["default"])["egress"] for port in rule["ports"]]
    assert not {80, 443} & {*ports}


def test_the_emulator_and_valkey_reach_nobody() -> None:
    values = scenarios()["emulator"]
    for name in ("emulator", "valkey"):
        assert "egress" not in policy(values, f"{NAME}-{name}")
    [into] = policy(values, f"{NAME}-valkey")["ingress"]
    [caller] = into["from"]
    assert caller["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "verifier"


def test_every_pod_that_stays_has_a_policy() -> None:
    for values in scenarios().values():
        objects = render(values)
        selected = [one["spec"]["podSelector"]["matchLabels"] for one in objects if one["kind"] == "NetworkPolicy"]
        for one in objects:
            if one["kind"] in {"Deployment", "StatefulSet"}:
                labels = one["spec"]["template"]["metadata"]["labels"]
                assert [selector for selector in selected if selector.items() <= labels.items()]
