"""docs/operate/kubernetes.md: the chart renders with the values that the page shows."""

import shutil
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call
from helm_python import Chart
from support.chart import CHART, NAME, Values, find, merged, pod_specs, render
from support.page_blocks import blocks_of

PAGE = "docs/operate/kubernetes.md"
RUNS_BLOCKS = {
    "docs/operate/kubernetes.md": {
        "Install": 1,
        "Use an umbrella chart": 1,
        "Change settings, trust and Secrets": 2,
    }
}
DIGEST = f"sha256:{'0' * 64}"


def values_of(section: str, number: int = 0) -> Values:
    block = blocks_of(PAGE, section, "yaml")[number]
    values: Values = yaml.safe_load(block.text.replace("sha256:…", DIGEST))
    return values


def test_values_of_the_page_are_enough() -> None:
    objects = render(values_of("Install"))
    for _, spec in pod_specs(objects):
        assert {one["image"] for one in spec["containers"]} == {f"registry.example/imds-verifier@{DIGEST}"}
    deployment = find(objects, "Deployment")
    assert "redis-password" in yaml.safe_dump(deployment)
    assert "rediss://redis.example" in yaml.safe_dump(deployment)
    policy = yaml.safe_dump(find(objects, "NetworkPolicy"))
    assert "ingress" in policy
    assert "licensing" in policy


def test_annotation_is_on_the_deployment() -> None:
    added = values_of("Change settings, trust and Secrets")
    deployment = find(render(merged(values_of("Install"), added)), "Deployment")
    assert added["deploymentAnnotations"].items() <= deployment["metadata"]["annotations"].items()


def test_certificate_is_staged() -> None:
    added = values_of("Change settings, trust and Secrets", 1)
    data = find(render(merged(values_of("Install"), added)), "ConfigMap", f"{NAME}-trust")["data"]
    assert "activate_at = 2027-01-31T00:00:00Z" in data["manifest.toml"]
    assert data["new-ca.pem"] == added["trust"]["certificates"][0]["pem"]


def test_umbrella_chart_renders(tmp_path: Path) -> None:
    [block] = blocks_of(PAGE, "Use an umbrella chart", "yaml")
    described, values = block.text.split("# values.yaml\n")
    [dependency] = yaml.safe_load(described)["dependencies"]
    own = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert (dependency["name"], dependency["version"]) == (own["name"], own["version"])
    shutil.copytree(CHART, tmp_path / "charts" / dependency["name"])
    text = f"apiVersion: v2\nname: platform\nversion: 1.0.0\n{described}"
    (tmp_path / "Chart.yaml").write_text(text, "utf-8")
    # "redis, tenants and networkPolicy as above"
    above = {name: part for name, part in values_of("Install").items() if name != "image"}
    shown = merged({"imds-verifier": above}, yaml.safe_load(values))
    with Chart.load(tmp_path) as chart:
        texts = chart.render(shown, name="acme", namespace="attestation")
    objects = [one for path, text in texts.items() if path.endswith(".yaml") for one in yaml.safe_load_all(text) if one]
    [(_, spec)] = [one for one in pod_specs(objects) if one[0] == "acme-imds-verifier"]
    assert {one["image"] for one in spec["containers"]} == {"registry.example/imds-verifier:0.1.0"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert {one["metadata"]["labels"]["app.kubernetes.io/part-of"] for one in objects} == {"platform"}
