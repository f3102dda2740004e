"""Write the chart's README.md from the comments of values.yaml, and the render of the scenario `default`, which a test
compares with the chart. Run `.venv/bin/python helm/generate.py` and read the difference."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

HERE = Path(__file__).parent
CHART = HERE / "verifier"
README = CHART / "README.md"
DEFAULT_RENDER = HERE.parent / "tests" / "chart" / "default-render.yaml"

_LINE = re.compile(r"(?P<indent> *)(?P<name>[A-Za-z0-9_]+):")
_HEAD = """\
# The chart of imds-verifier

`make generate` writes this page from [values.yaml](values.yaml). Do not edit it.

How to install and operate it, and the names of these values in other charts:
[docs/operate/kubernetes.md](../../docs/operate/kubernetes.md). The chart refuses other names, other types and values
out of bounds, and names them. A first try needs one value besides the image: `try`.

| value | default | what it does |
| --- | --- | --- |
"""


def values_rows() -> Iterator[tuple[str, str, str]]:
    """Yield the path of each value, its default as YAML and its comment. Tables have a row if they have a comment."""
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
    """Return every object of the scenario `default`, as the engine of Helm 4 renders it."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from support.chart import manifests, scenarios  # noqa: PLC0415 - of the tests, which are no package

    texts = manifests(scenarios()["default"])
    made = {path: text.strip() for path, text in sorted(texts.items()) if path.endswith(".yaml")}
    return "".join(f"---\n# {path}\n{text}\n" for path, text in made.items() if text)


if __name__ == "__main__":
    README.write_text(readme(), "utf-8")
    DEFAULT_RENDER.write_text(default_render(), "utf-8")
