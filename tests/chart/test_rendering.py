"""What the chart makes of its scenarios: objects that every supported Kubernetes takes, as they are meant."""

import json
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call
from helm_python.chart import lint
from support.chart import CHART, NAME, NAMESPACE, Object, Values, find, merged, render, scenarios

import verifier
from verifier.core.trust.clouds import Cloud

ROOT = CHART.parents[1]
VERSIONS = [f"1.{minor}" for minor in range(25, 38)]
#: Kinds of others, whose schemas no package brings: what there is to say of them is said below.
CUSTOM_KINDS = {"HTTPRoute", "ServiceMonitor", "PrometheusRule"}


@pytest.fixture(params=sorted(scenarios()))
def scenario(request: pytest.FixtureRequest) -> Values:
    return scenarios()[request.param]


@pytest.fixture(scope="module")
def default() -> list[Object]:
    return render(scenarios()["default"])


@pytest.fixture(scope="module")
def full() -> list[Object]:
    return render(scenarios()["full"])


def test_lint_finds_nothing_but_that_there_is_no_icon(scenario: Values) -> None:
    report = lint(CHART, scenario, strict=True, namespace=NAMESPACE)
    assert report["errors"] == []
    assert {message["error"] for message in report["messages"]} <= {"icon is recommended"}


@pytest.fixture(scope="module")
def known_objects() -> list[Object]:
    """Those of all scenarios, each once, of the kinds that Kubernetes itself has."""
    made = [one for values in scenarios().values() for one in render(values) if one["kind"] not in CUSTOM_KINDS]
    return list({json.dumps(one, sort_keys=True): one for one in made}.values())


@pytest.fixture
def _schemas_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read each file of schemas once per version. The library reads two megabytes for each object."""
    for name in ("schema_contents", "all_versions"):
        monkeypatch.setattr(kubernetes_validate.utils, name, cache(getattr(kubernetes_validate.utils, name)))


@pytest.mark.usefixtures("_schemas_read_once")
@pytest.mark.parametrize("version", VERSIONS)
def test_every_kubernetes_that_is_supported_takes_every_object(version: str, known_objects: list[Object]) -> None:
    """Strictly: a field that a version does not know is a fault."""
    assert {one["kind"] for one in known_objects} >= {"Deployment", "StatefulSet", "Ingress", "HorizontalPodAutoscaler"}
    for one in known_objects:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_newest_kubernetes_that_there_is_a_schema_of_is_supported() -> None:
    assert kubernetes_validate.latest_version() == f"{VERSIONS[-1]}.0"


def test_no_two_objects_have_one_name_and_all_of_a_release_begin_alike(scenario: Values) -> None:
    objects = render(scenario)
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    begin = scenario.get("fullnameOverride", "try-verifier" if "nameOverride" in scenario else NAME)
    assert [name for _, name in names if not name.startswith(begin)] == []


def test_every_selector_selects_the_pods_that_it_is_for(scenario: Values) -> None:
    """And no others: a Service that sends requests to the emulator would be one of these slips."""
    objects = render(scenario)
    pods = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in objects
        if one["kind"] in {"Deployment", "StatefulSet"}
    }
    for one in objects:
        name = one["metadata"]["name"]
        match one["kind"]:
            case "Deployment" | "StatefulSet" | "PodDisruptionBudget":
                selector = one["spec"]["selector"]["matchLabels"]
            case "NetworkPolicy":
                selector = one["spec"]["podSelector"]["matchLabels"]
            case "Service":
                selector = one["spec"]["selector"]
            case _:
                continue
        found = [pod for pod, labels in pods.items() if selector.items() <= labels.items()]
        assert found == [name.removesuffix("-metrics")]


def test_the_default_render_is_the_one_that_was_read(generator: ModuleType) -> None:
    """`helm/generate.py` writes it anew."""
    assert generator.default_render() == generator.DEFAULT_RENDER.read_text("utf-8")


def test_the_documentation_is_the_generated_one(generator: ModuleType) -> None:
    assert generator.readme() == generator.README.read_text("utf-8")


def test_is_of_the_version_of_the_service() -> None:
    told = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert told["appVersion"] == verifier.__version__
    assert told["kubeVersion"] == f">={VERSIONS[0]}.0-0"


@pytest.mark.parametrize("file", ["prometheus-rules.yaml", "grafana-dashboard.json"])
def test_brings_the_files_of_ops_as_they_are(file: str) -> None:
    assert (CHART / "files" / file).read_bytes() == (ROOT / "ops" / file).read_bytes()


def test_hands_on_every_alert_and_panel(full: list[Object]) -> None:
    rules = find(full, "PrometheusRule")
    assert rules["spec"] == yaml.safe_load((ROOT / "ops" / "prometheus-rules.yaml").read_text("utf-8"))
    text = find(full, "ConfigMap", f"{NAME}-dashboard")["data"]["imds-verifier.json"]
    assert "${DS_PROMETHEUS}" not in text
    shown, given = json.loads(text), json.loads((ROOT / "ops" / "grafana-dashboard.json").read_text("utf-8"))
    assert [panel["title"] for panel in shown["panels"]] == [panel["title"] for panel in given["panels"]]


def test_prometheus_reads_the_metrics_at_their_own_port(full: list[Object]) -> None:
    monitor = find(full, "ServiceMonitor")
    service = find(full, "Service", f"{NAME}-metrics")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    other = find(full, "Service")["metadata"]["labels"]
    assert not monitor["spec"]["selector"]["matchLabels"].items() <= other.items()
    [endpoint] = monitor["spec"]["endpoints"]
    assert [port["name"] for port in service["spec"]["ports"]] == [endpoint["port"]]


@pytest.mark.parametrize(("budget", "field"), [({"minAvailable": 1}, "minAvailable"), ({}, "maxUnavailable")])
def test_a_disruption_budget_has_one_bound(budget: Values, field: str) -> None:
    """Kubernetes refuses both."""
    spec = find(render(merged(scenarios()["default"], {"podDisruptionBudget": budget})), "PodDisruptionBudget")["spec"]
    assert spec.keys() - {"selector"} == {field}


def test_recreate_has_no_rolling_update() -> None:
    """Kubernetes refuses one."""
    spec = find(render(merged(scenarios()["default"], {"strategy": {"type": "Recreate"}})), "Deployment")["spec"]
    assert spec["strategy"] == {"type": "Recreate"}


def test_a_rollout_takes_no_pod_away_before_another_is_ready(default: list[Object]) -> None:
    spec = find(default, "Deployment")["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert find(default, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert len(spec["template"]["spec"]["topologySpreadConstraints"]) == 2


@pytest.mark.parametrize(("waits", "finishes"), [(10, 30), (1, 600), (600, 1)])
def test_a_pod_is_killed_after_all_that_it_may_take_to_stop(waits: int, finishes: int) -> None:
    changed = {"preStopSeconds": waits, "settings": {"graceful_stop_seconds": finishes}}
    spec = find(render(merged(scenarios()["default"], changed)), "Deployment")["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert container["lifecycle"]["preStop"]["exec"]["command"][-1] == f"import time; time.sleep({waits})"
    assert {"name": "VERIFIER_GRACEFUL_STOP_SECONDS", "value": str(finishes)} in container["env"]
    assert spec["terminationGracePeriodSeconds"] > waits + finishes


def test_the_pin_of_a_token_is_a_file_of_the_secret_with_the_keys() -> None:
    changed = {
        "settings": {"token_issuer": "https://verifier.example", "pkcs11_module": "/opt/hsm/library.so"},
        "tokenKeys": {"secretName": "token-keys", "pinKey": "pin"},
    }
    spec = find(render(merged(scenarios()["default"], changed)), "Deployment")["spec"]["template"]["spec"]
    [container] = spec["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert variables["VERIFIER_PKCS11_MODULE"] == "/opt/hsm/library.so"
    directory = variables["VERIFIER_TOKEN_KEYS_DIR"]
    assert variables["VERIFIER_PKCS11_PIN_FILE"] == f"{directory}/pin"
    assert directory in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_what_the_service_follows_rolls_no_pod(default: list[Object]) -> None:
    """Policies, tenants, administrators and trust are no part of the Deployment, in any form."""
    full_values = scenarios()["full"]
    changed = {name: full_values[name] for name in ("policies", "tenants", "adminKeys", "trust")}
    after = render(merged(scenarios()["default"], changed))
    assert find(after, "Deployment") == find(default, "Deployment")
    assert find(after, "ConfigMap", f"{NAME}-settings") != find(default, "ConfigMap", f"{NAME}-settings")
    assert find(after, "ConfigMap", f"{NAME}-trust") != find(default, "ConfigMap", f"{NAME}-trust")


def test_what_counts_from_the_start_rolls_them(default: list[Object]) -> None:
    after = render(merged(scenarios()["default"], {"settings": {"redis_connections": 4}}))
    assert find(after, "Deployment") != find(default, "Deployment")


def test_every_probe_asks_the_listener_that_answers_while_the_other_is_full(default: list[Object]) -> None:
    [container] = find(default, "Deployment")["spec"]["template"]["spec"]["containers"]
    probes = [container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert [(probe["port"], probe["path"]) for probe in probes] == [
        ("metrics", "/healthz"),
        ("metrics", "/healthz"),
        ("metrics", "/readyz"),
    ]


def test_volumes_that_the_service_follows_are_mounted_whole(full: list[Object]) -> None:
    spec = find(full, "Deployment")["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert [mount for mount in container["volumeMounts"] if "subPath" in mount] == []
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["trust"]["configMap"].keys() == {"name", "defaultMode"}
    assert volumes["settings"]["configMap"].keys() == {"name", "defaultMode"}
    assert volumes["token-keys"]["secret"].keys() == {"secretName", "defaultMode"}


def test_writes_policies_as_they_were_given(full: list[Object]) -> None:
    """Quotes, backslashes and what HTML would escape among them."""
    values = scenarios()["full"]
    written = tomllib.loads(find(full, "ConfigMap", f"{NAME}-settings")["data"]["verifier.toml"])
    assert written == {
        "policies": values["policies"],
        "tenants": values["tenants"],
        "admin_keys": values["adminKeys"],
    }


def test_the_chart_knows_the_clouds_and_their_domains() -> None:
    pem = (ROOT / "trust_roots" / "roots" / "digicert-global-root-g2.pem").read_text("utf-8")
    root = {"name": "root", "role": "root", "clouds": [*Cloud], "sha256": "0" * 64, "source": "x", "pem": pem}
    objects = render(merged(scenarios()["default"], {"trust": {"certificates": [root]}}))
    manifest = tomllib.loads(find(objects, "ConfigMap", f"{NAME}-trust")["data"]["manifest.toml"])
    assert manifest["clouds"] == {cloud.value: {"domain": cloud.domain, "anchors": ["root.pem"]} for cloud in Cloud}


def test_what_is_for_tests_says_so() -> None:
    text = "\n".join(
        (CHART / "templates" / name).read_text("utf-8") for name in ("emulator.yaml", "valkey.yaml", "trust.yaml")
    )
    assert text.count("FOR TESTS ONLY") == 3
    assert text.count("FOR DEVELOPMENT ONLY") == 1
    assert find(render(scenarios()["try"]), "ConfigMap", f"{NAME}-trust")["data"]["manifest.toml"].startswith(
        'format = 1\nmode = "replace"'
    )


def test_packages_what_it_needs(tmp_path: Path) -> None:
    from helm_python.chart import Chart, package  # noqa: PLC0415 - two names that say little elsewhere

    with Chart.load(package(CHART, destination=tmp_path)) as packed:
        assert packed.render(scenarios()["full"], name="try").keys() >= {"imds-verifier/templates/deployment.yaml"}
        names = {file["name"] for file in packed.files}
    assert {"README.md", "files/prometheus-rules.yaml", "files/grafana-dashboard.json"} <= names
    assert [name for name in names if name.startswith("ci/")] == []
