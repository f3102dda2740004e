"""What the pods may do, and who reaches whom: the restricted Pod Security Standard, and the network policies."""

import ipaddress
from collections.abc import Iterator

import pytest
from helm_python.errors import HelmValuesError
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


def containers(spec: Object) -> list[Object]:
    """Every container, also those of the values."""
    return [*spec["containers"], *spec.get("initContainers", [])]


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
    assert not {"sysctls", "windowsOptions", "appArmorProfile"} & pod.keys()
    assert pod.get("seLinuxOptions", {}).keys() <= {"level"}
    for volume in spec.get("volumes", []):
        assert (volume.keys() - {"name"}) <= RESTRICTED_VOLUMES
    for container in containers(spec):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not {"privileged", "procMount", "runAsNonRoot", "seccompProfile"} & context.keys()
        assert context.get("runAsUser", 1) > 0
        assert [port for port in container.get("ports", []) if "hostPort" in port] == []


@pytest.mark.parametrize("spec", PODS)
def test_a_pod_can_write_to_nothing_but_memory_and_its_data(spec: Object) -> None:
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for container in containers(spec):
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
    for container in containers(spec):
        for kind in ("requests", "limits"):
            assert container["resources"][kind].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("spec", PODS)
def test_no_pod_needs_a_shell(spec: Object) -> None:
    for container in spec["containers"]:
        if container["name"].startswith("extra-"):
            continue
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
    for scenario, name in (("full", NAME), ("gateway", "verifier")):
        objects = render(scenarios()[scenario])
        assert [one["metadata"]["name"] for one in objects if one["kind"] == "Secret"] == []
        [container] = find(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        assert [variable for variable in container["env"] if "valueFrom" in variable] == []
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        assert not environment.keys() & {"VERIFIER_REDIS_PASSWORD", "VERIFIER_REDIS_SENTINEL_PASSWORD"}
        assert ":" not in environment.get("VERIFIER_NONCE_STORE", "").partition("://")[2].rpartition("@")[0]


def test_a_redis_by_host_gets_its_password_from_a_file() -> None:
    spec = find(render(scenarios()["gateway"]), "Deployment", "verifier")["spec"]["template"]["spec"]
    [container] = spec["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environment["VERIFIER_NONCE_STORE"] == "rediss://verifier@[fd00:20::6]:6380/3"
    assert environment["VERIFIER_REDIS_PASSWORD_FILE"] == "/etc/imds-verifier/redis/password"  # noqa: S105 - a path
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "redis"]
    assert volume["secret"]["secretName"] == "redis-password"
    assert volume["secret"]["items"] == [{"key": "redis-password", "path": "password"}]
    without = merged(scenarios()["gateway"], {"redis": {"passwordSecret": {"name": ""}}})
    spec = find(render(without), "Deployment", "verifier")["spec"]["template"]["spec"]
    assert "redis" not in {volume["name"] for volume in spec["volumes"]}
    assert "VERIFIER_REDIS_PASSWORD_FILE" not in {variable["name"] for variable in spec["containers"][0]["env"]}


def test_pods_can_have_user_namespaces() -> None:
    """Only as a restriction: the schema takes no `true`."""
    for _, spec in pod_specs(render(merged(scenarios()["try"], {"hostUsers": False}))):
        assert spec["hostUsers"] is False
    with pytest.raises(HelmValuesError, match="/hostUsers"):
        render(merged(scenarios()["try"], {"hostUsers": True}))


@pytest.mark.parametrize("scenario", sorted(scenarios()))
def test_openshift_gives_every_pod_its_users_and_groups(scenario: str) -> None:
    """The SCC sets a field only if the pod leaves it out. All else stays."""
    before = dict(pod_specs(render(scenarios()[scenario])))
    after = dict(pod_specs(render(merged(scenarios()[scenario], {"openshift": True}))))
    assert before.keys() == after.keys()
    for name, spec in after.items():
        gone = {"runAsUser", "runAsGroup", "fsGroup"}
        kept = {key: value for key, value in before[name]["securityContext"].items() if key not in gone}
        assert spec == {**before[name], "securityContext": kept}
        assert kept["runAsNonRoot"] is True


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


def test_address_ranges_call_too() -> None:
    [into] = policy(scenarios()["platform"], "try-verifier")["ingress"]
    assert {"ipBlock": {"cidr": "198.51.100.0/24"}} in into["from"]


def test_the_port_of_redis_is_open_unless_others_are_named() -> None:
    for change, ports in ({}, [6380]), ({"redis": {"ports": [7000, 26379]}}, [7000, 26379]):
        _, redis = policy(merged(scenarios()["gateway"], change), "verifier")["egress"]
        assert [port["port"] for port in redis["ports"]] == ports


def test_only_a_first_try_reaches_the_emulator_from_the_service() -> None:
    def targets(name: str) -> set[str]:
        rules = policy(scenarios()[name])["egress"]
        peers = [peer["podSelector"]["matchLabels"] for rule in rules for peer in rule["to"] if "podSelector" in peer]
        return {labels["app.kubernetes.io/component"] for labels in peers}

    assert targets("try") == {"valkey", "emulator"}
    assert targets("tenants-with-emulator") == {"valkey"}


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
    values = scenarios()["try"]
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
