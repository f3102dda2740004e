"""The chart as a dependency of an umbrella chart, whose `global` other charts read too."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call
from helm_python import Chart
from helm_python.errors import HelmRenderError, HelmValuesError
from support.chart import CHART, Object, Values, find, merged, pod_specs, scenarios

GLOBAL: Values = {
    "imageRegistry": "mirror.example",
    "imagePullSecrets": ["shared", {"name": "mirror"}],
    "commonLabels": {"app.kubernetes.io/part-of": "platform"},
    # Of other charts.
    "storageClass": "fast",
    "security": {"allowInsecureImages": False},
}
#: As a platform writes it: its dependency has a condition, and the image comes from the registry of all.
VALUES: Values = {
    "global": GLOBAL,
    "imds-verifier": merged(scenarios()["default"], {"enabled": True, "image": {"repository": "imds-verifier"}}),
    "other": {"greeting": "hello"},
}


@contextmanager
def umbrella(root: Path, *, alias: str = "") -> Iterator[Chart]:
    """An umbrella chart with this chart and another one, as `helm dependency build` writes it."""
    shutil.copytree(CHART, root / "charts" / "imds-verifier")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["version"]
    name = alias or "imds-verifier"
    dependency = {"name": "imds-verifier", "version": version, "condition": f"{name}.enabled"}
    if alias:
        dependency["alias"] = alias
    other = root / "charts" / "other"
    (other / "templates").mkdir(parents=True)
    (other / "templates" / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n"
        "data: {storage: {{ .Values.global.storageClass }}, greeting: {{ .Values.greeting }}}\n"
    )
    for place, described in (
        (root, {"name": "platform", "dependencies": [dependency, {"name": "other", "version": "1.0.0"}]}),
        (other, {"name": "other"}),
    ):
        (place / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "version": "1.0.0", **described}))
    with Chart.load(root) as chart:
        yield chart


def objects_of(chart: Chart, values: Values) -> list[Object]:
    texts = chart.render(values, name="acme", namespace="attestation")
    return [one for path, text in texts.items() if path.endswith(".yaml") for one in yaml.safe_load_all(text) if one]


def test_globals_reach_every_object(tmp_path: Path) -> None:
    with umbrella(tmp_path) as chart:
        objects = objects_of(chart, VALUES)
    own = [one for one in objects if one["metadata"]["name"] != "other"]
    assert len(own) == 9
    for one in own:
        assert one["metadata"]["name"].startswith("acme-imds-verifier")
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "platform"
    for _, spec in pod_specs(own):
        assert [container["image"].partition("/")[0] for container in spec["containers"]] == ["mirror.example"]
        assert spec["imagePullSecrets"] == [{"name": "shared"}, {"name": "mirror"}]
    assert find(objects, "ConfigMap", "other")["data"] == {"storage": "fast", "greeting": "hello"}


def test_a_first_try_takes_every_image_from_the_registry_of_all(tmp_path: Path) -> None:
    values = {"global": GLOBAL, "imds-verifier": {"try": True, "image": {"repository": "imds-verifier"}}}
    without = {"imds-verifier": {"redis": {"urlSecret": {"name": ""}}, "tenants": None}}
    with umbrella(tmp_path) as chart:
        objects = objects_of(chart, merged(VALUES, values, without))
    specs = dict(pod_specs(objects))
    assert len(specs) == 4
    images = {container["image"] for spec in specs.values() for container in spec["containers"]}
    assert {image.rpartition(":")[0] for image in images} == {
        "mirror.example/imds-verifier",
        "mirror.example/valkey/valkey",
    }


def test_a_condition_leaves_the_chart_out(tmp_path: Path) -> None:
    with umbrella(tmp_path) as chart:
        objects = objects_of(chart, merged(VALUES, {"imds-verifier": {"enabled": False}}))
    assert [one["metadata"]["name"] for one in objects] == ["other"]


def test_two_of_the_chart_have_names_of_their_own(tmp_path: Path) -> None:
    with umbrella(tmp_path, alias="europe") as chart:
        objects = objects_of(chart, {**VALUES, "europe": VALUES["imds-verifier"]})
    deployment = find(objects, "Deployment", "acme-europe")
    assert deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] == "europe"


def test_values_are_checked_as_ever(tmp_path: Path) -> None:
    with umbrella(tmp_path) as chart:
        with pytest.raises(HelmValuesError, match="additional properties 'replicas' not allowed"):
            objects_of(chart, merged(VALUES, {"imds-verifier": {"replicas": 3}}))
        with pytest.raises(HelmValuesError, match="/global/imagePullSecrets/0"):
            objects_of(chart, merged(VALUES, {"global": {"imagePullSecrets": [{"secretName": "shared"}]}}))
        with pytest.raises(HelmRenderError, match="tenants: name the callers"):
            objects_of(chart, merged(VALUES, {"imds-verifier": {"tenants": None}}))


def test_long_names_that_begin_alike_stay_apart(tmp_path: Path) -> None:
    release = "platform-licensing-attestation-production"
    names = set()
    for number, one in enumerate(("europe", "america")):
        with umbrella(tmp_path / str(number), alias=one) as chart:
            texts = chart.render({**VALUES, one: VALUES["imds-verifier"]}, name=release, namespace="attestation")
        objects = [made for path, text in texts.items() if path.endswith(".yaml") for made in yaml.safe_load_all(text)]
        names.add(next(made["metadata"]["name"] for made in objects if made and made["kind"] == "Deployment"))
    assert len(names) == 2
    assert all(len(name) <= 40 for name in names)


@pytest.mark.parametrize("alias", ["Europe_1", "x-", "a" * 70, "1st"])
def test_an_alias_that_is_no_name_is_refused(tmp_path: Path, alias: str) -> None:
    with umbrella(tmp_path, alias=alias) as chart:
        with pytest.raises(HelmRenderError, match="nameOverride: set it"):
            objects_of(chart, {**VALUES, alias: VALUES["imds-verifier"]})
        named = merged(VALUES["imds-verifier"], {"nameOverride": "europe"})
        assert find(objects_of(chart, {**VALUES, alias: named}), "Deployment", "acme-europe")
