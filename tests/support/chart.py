"""The chart as Helm's own engine renders it, and its scenarios."""

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call
from helm_python import Chart

CHART = Path(__file__).parents[2] / "helm" / "verifier"
RELEASE = "try"
NAMESPACE = "attestation"
NAME = f"{RELEASE}-imds-verifier"

Object = dict[str, Any]
Values = dict[str, Any]


@functools.cache
def chart() -> Chart:
    """Never closed: it is the run's."""
    return Chart.load(CHART)


@functools.cache
def default_values() -> Values:
    """Those of values.yaml. Not to be changed."""
    values: Values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    return values


@functools.cache
def scenarios() -> dict[str, Values]:
    """What each file of ci/ says, by the file's name without `-values.yaml`. Not to be changed."""
    return {
        file.name.removesuffix("-values.yaml"): yaml.safe_load(file.read_text("utf-8"))
        for file in sorted((CHART / "ci").glob("*-values.yaml"))
    }


def merged(*layers: Mapping[str, Any]) -> Values:
    """One over the other, tables by their entries, as Helm does with several files."""
    result: Values = {}
    for layer in layers:
        for name, value in layer.items():
            before = result.get(name)
            is_table = isinstance(before, dict) and isinstance(value, dict)
            result[name] = merged(before or {}, value) if is_table else value
    return result


def manifests(values: Values) -> dict[str, str]:
    """Return the text of each template by its path in the chart.

    The chart is rendered once for the same values, so keys that Helm makes stay the same. Raises the errors of Helm.
    """
    return dict(_manifests(json.dumps(values, sort_keys=True)))


@functools.cache
def _manifests(values: str) -> dict[str, str]:
    rendered = chart().render(json.loads(values), name=RELEASE, namespace=NAMESPACE)
    return {path.removeprefix("imds-verifier/templates/"): text for path, text in rendered.items()}


def render(values: Values) -> list[Object]:
    """The objects, in the order of their templates. Raises what Helm raises."""
    texts = manifests(values)
    return [
        made
        for path in sorted(texts)
        if path.endswith(".yaml")
        for made in yaml.load_all(texts[path], yaml.CSafeLoader)  # libyaml takes a tenth of the time
        if made is not None
    ]


def find(objects: list[Object], kind: str, name: str = NAME) -> Object:
    [found] = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pod_specs(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Each pod's spec, with the name of what makes it."""
    for one in objects:
        if one["kind"] == "Pod":
            yield one["metadata"]["name"], one["spec"]
        elif one["kind"] in {"Deployment", "StatefulSet"}:
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]
