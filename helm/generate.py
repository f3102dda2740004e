"""Writes what is made of the chart: its README.md, from the comments of values.yaml, and the default render, which a
test holds against the chart. Run it as `.venv/bin/python helm/generate.py`, and read the difference."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

HERE = Path(__file__).parent
CHART = HERE / "verifier"
README = CHART / "README.md"
DEFAULT_RENDER = HERE.parent / "tests" / "chart" / "default-render.yaml"

_LINE = re.compile(r"(?P<indent> *)(?P<name>[A-Za-z_]+):")
_HEAD = """\
# The chart of imds-verifier

<!-- Made of values.yaml by helm/generate.py. -->

How to install and operate it: [docs/kubernetes.md](../../docs/kubernetes.md). Nothing but these values is taken: a
misspelt one, or one of another type or out of its bounds, is refused by its name.

| value | default | what it does |
| --- | --- | --- |
"""


def values_rows() -> Iterator[tuple[str, str, str]]:
    """Each value by its path, with its default as YAML and what the comment above it says; tables without a comment of
    their own are not among them."""
    text = (CHART / "values.yaml").read_text("utf-8")
    defaults = yaml.safe_load(text)
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.lstrip()[1:].strip())
        elif named := _LINE.match(line):
            path = [*path[: len(named["indent"]) // 2], named["name"]]
            value = defaults
            for name in path:
                value = value[name]
            if not isinstance(value, dict) or not value or line.rstrip().endswith("}"):
                yield ".".join(path), _default(value), " ".join(comment)
            elif comment:
                yield ".".join(path), "", " ".join(comment)
            comment = []
        else:
            comment = []


def _default(value: object) -> str:
    if isinstance(value, str) and "\n" in value:
        return "of several lines"
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("\n...").strip()
    return f"`{text}`"


def readme() -> str:
    return _HEAD + "".join(f"| `{name}` | {default} | {text} |\n" for name, default, text in values_rows())


def default_render() -> str:
    """Every object of the scenario `default`, as the engine of Helm 4 renders it."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from support.chart import manifests, scenarios  # noqa: PLC0415 - of the tests, which are no package

    texts = manifests(scenarios()["default"])
    made = {path: text.strip() for path, text in sorted(texts.items()) if path.endswith(".yaml")}
    return "".join(f"---\n# {path}\n{text}\n" for path, text in made.items() if text)


if __name__ == "__main__":
    README.write_text(readme(), "utf-8")
    DEFAULT_RENDER.write_text(default_render(), "utf-8")
