"""What a platform adds and chooses: routes, TLS, labels, registries, containers, objects and monitoring."""

import pytest
from support.chart import NAME, NAMESPACE, Object, Values, find, merged, pod_specs, render, scenarios

from verifier.api.operations import OPERATIONS


@pytest.fixture(scope="module")
def full() -> list[Object]:
    return render(scenarios()["full"])


@pytest.fixture(scope="module")
def platform() -> list[Object]:
    return render(scenarios()["platform"])


PUBLIC = ["/v1/nonces", "/v1/attestations", "/.well-known/jwks.json"]


def test_a_route_and_an_ingress_expose_public_paths(full: list[Object]) -> None:
    [rule] = find(full, "Ingress")["spec"]["rules"]
    backend = {"service": {"name": NAME, "port": {"name": "http"}}}
    assert rule["http"]["paths"] == [{"path": path, "pathType": "Exact", "backend": backend} for path in PUBLIC]
    values = scenarios()["gateway"]
    route = find(render(values), "HTTPRoute", "verifier")
    assert route["spec"]["parentRefs"] == values["httpRoute"]["parentRefs"]
    assert route["spec"]["hostnames"] == values["httpRoute"]["hostnames"]
    exposed = {"Exact": PUBLIC, "PathPrefix": ["/problems/"]}
    assert route["spec"]["rules"] == [
        {
            "matches": [{"path": {"type": kind, "value": path}}],
            "backendRefs": [{"name": "verifier", "port": 80}],
        }
        for kind, paths in exposed.items()
        for path in paths
    ]


def test_public_paths_are_those_for_agents_and_for_who_verifies_results() -> None:
    """A new path of the service is a decision here: it is public, or it is not."""
    others = {
        "/healthz",
        "/readyz",
        "/metrics",
        "/problems/{code}",
        "/openapi.json",
        "/docs",
        "/v1/usage",
        "/v1/inspections",
    }
    every = {operation.path for operation in OPERATIONS}
    inner = {path for path in every if path.startswith(("/v1/trust", "/v1/decisions"))} | others
    assert every == {*PUBLIC, *inner}


@pytest.mark.parametrize(
    ("chosen", "tls"),
    [
        ({}, [{"hosts": ["verifier.example"], "secretName": "verifier-tls"}]),
        ({"tlsFrom": "controller", "tlsSecretName": ""}, [{"hosts": ["verifier.example"]}]),
        ({"tlsFrom": "elsewhere", "tlsSecretName": ""}, None),
    ],
)
def test_an_ingress_says_where_tls_ends(chosen: Values, tls: list[Object] | None) -> None:
    ingress = find(render(merged(scenarios()["full"], {"ingress": chosen})), "Ingress")
    assert ingress["spec"].get("tls") == tls


def test_extra_containers_keep_their_own_security_fields(platform: list[Object]) -> None:
    spec = find(platform, "Deployment", "try-verifier")["spec"]["template"]["spec"]
    verifier, extra = spec["containers"]
    assert extra["securityContext"] == {**verifier["securityContext"], "runAsUser": 1000740001}
    assert [one["securityContext"] for one in spec["initContainers"]] == [verifier["securityContext"]]


def test_extra_objects_are_templates(platform: list[Object]) -> None:
    extra = find(platform, "ConfigMap", "try-verifier-extra")
    assert extra["data"] == {"url": "http://try-verifier.attestation.svc:80"}


def test_common_labels_are_on_every_object_and_pod_and_on_no_selector(platform: list[Object]) -> None:
    """Those of the chart replace those of `global`."""
    for one in platform:
        if one["metadata"]["name"] != "try-verifier-extra":
            labels = one["metadata"]["labels"]
            assert labels["app.kubernetes.io/part-of"] == "platform"
            assert labels["example.com/team"] == "licensing"
            assert labels["app.kubernetes.io/name"] == "verifier"
    spec = find(platform, "Deployment", "try-verifier")["spec"]
    assert spec["template"]["metadata"]["labels"]["example.com/team"] == "licensing"
    assert {key.partition("/")[0] for key in spec["selector"]["matchLabels"]} == {"app.kubernetes.io"}


def test_an_empty_label_replaces_that_of_global() -> None:
    change = {"global": {"commonLabels": {"example.com/team": "all"}}, "commonLabels": {"example.com/team": ""}}
    for one in render(merged(scenarios()["default"], change)):
        assert one["metadata"]["labels"]["example.com/team"] == ""


def test_labels_of_global_do_not_change_selectors() -> None:
    labels = {"app.kubernetes.io/name": "other", "app.kubernetes.io/component": "other"}
    objects = render(merged(scenarios()["default"], {"global": {"commonLabels": labels}}))
    assert objects == render(scenarios()["default"])


@pytest.mark.parametrize(
    ("repository", "registry", "image"),
    [
        ("imds-verifier", "", "imds-verifier:1"),
        ("imds-verifier", "mirror.example", "mirror.example/imds-verifier:1"),
        ("licensing/imds-verifier", "mirror.example/hub/", "mirror.example/hub/licensing/imds-verifier:1"),
        ("own.example/imds-verifier", "mirror.example", "own.example/imds-verifier:1"),
        ("localhost/imds-verifier", "mirror.example", "localhost/imds-verifier:1"),
        ("own:5000/imds-verifier", "mirror.example", "own:5000/imds-verifier:1"),
    ],
)
def test_the_registry_of_global_is_for_images_without_one(repository: str, registry: str, image: str) -> None:
    change = {"image": {"repository": repository, "tag": "1"}, "global": {"imageRegistry": registry}}
    objects = render(merged(scenarios()["default"], change))
    images = {container["image"] for _, spec in pod_specs(objects) for container in spec["containers"]}
    assert images == {image}


def test_prometheus_finds_the_service_from_another_namespace(full: list[Object]) -> None:
    monitor = find(full, "ServiceMonitor")
    assert monitor["metadata"]["namespace"] == "monitoring"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [NAMESPACE]}
    given = scenarios()["full"]["serviceMonitor"]
    [endpoint] = monitor["spec"]["endpoints"]
    for field in ("scrapeTimeout", "relabelings", "metricRelabelings"):
        assert endpoint[field] == given[field]


def test_null_takes_a_default_away() -> None:
    """Limits of the CPU and the users that the chart sets."""
    nothing = {"resources": {"limits": {"cpu": None}}, "podSecurityContext": {"runAsUser": None, "runAsGroup": None}}
    spec = find(render(merged(scenarios()["default"], nothing)), "Deployment")["spec"]["template"]["spec"]
    assert spec["containers"][0]["resources"]["limits"] == {"memory": "512Mi"}
    assert not {"runAsUser", "runAsGroup"} & spec["securityContext"].keys()


def test_a_field_that_a_container_sets_is_kept() -> None:
    context = {"readOnlyRootFilesystem": False, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}
    containers = [{"name": "proxy", "image": "registry.example/proxy:1", "securityContext": context}]
    objects = render(merged(scenarios()["default"], {"extraContainers": containers}))
    _, proxy = find(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert proxy["securityContext"] == {**context, "allowPrivilegeEscalation": False}


def test_spreading_counts_the_pods_of_the_verifier_unless_it_says_otherwise(platform: list[Object]) -> None:
    deployment = find(platform, "Deployment", "try-verifier")["spec"]
    by_default, chosen = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert by_default["labelSelector"] == deployment["selector"]
    assert chosen["labelSelector"] == {"matchLabels": {"example.com/team": "licensing"}}


def test_both_services_have_the_chosen_ip_families() -> None:
    services = [one for one in render(scenarios()["gateway"]) if one["kind"] == "Service"]
    assert len(services) == 2
    for service in services:
        assert service["spec"]["ipFamilies"] == ["IPv6"]
        assert service["spec"]["ipFamilyPolicy"] == "SingleStack"
