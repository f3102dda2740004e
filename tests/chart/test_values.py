"""Each value counts, is documented and has its place in the closed schema."""

import json
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from annotated_types import Ge, Le
from helm_python.errors import HelmRenderError, HelmValuesError
from support.chart import CHART, Values, default_values, manifests, merged, render, scenarios

from verifier.adapters.settings.policies import PolicyTable
from verifier.adapters.settings.settings import Settings
from verifier.adapters.settings.tenants import TenantTable
from verifier.core.trust.clouds import Cloud
from verifier.core.vm_ids import VM_ID_PATTERN

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))
#: Settings that no value sets, and why.
SETTINGS_OF_THE_CHART = {
    *("host", "port", "metrics_host", "metrics_port"),  # they go with the ports of the objects
    *("trust_dir", "token_keys_dir", "nonce_store"),  # they go with what is mounted
    *("redis_ca_file", "redis_certificate_file", "redis_key_file", "redis_password"),  # so do these
    *("redis_sentinel_username", "redis_sentinel_password"),  # of redis.sentinel
    *("policies", "tenants", "admin_keys"),  # in the file that is followed
    "pkcs11_pin",  # of tokenKeys.pinKey
    *("trust_feed", "trust_feed_root", "trust_feed_ca_file"),  # of trustFeed
}
#: What the default of the service means for the address on which pods listen.
DEFAULTS_OF_THE_CHART = {"pages": False}
#: Parts that Helm makes for each render without a cluster.
_FRESH = re.compile(r"(tls\.crt|tls\.key|sha256 =).*|^ +[A-Za-z0-9+/=]{20,}$", re.MULTILINE)

Path = tuple[str, ...]


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """The definition that it refers to, with what it says itself."""
    name = schema.get("$ref", "").removeprefix("#/definitions/")
    return {**SCHEMA["definitions"][name], **schema} if name else schema


def leaves(values: Values, schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, object, dict[str, Any]]]:
    """Each value that is no table of the chart's own, with its schema."""
    for name, value in values.items():
        below = resolve(schema["properties"][name])
        if "properties" in below:
            yield from leaves(value, below, (*path, name))
        else:
            yield (*path, name), value, below


LEAVES = {".".join(path): (path, value, schema) for path, value, schema in leaves(default_values(), SCHEMA)}


def tables(schema: dict[str, Any], path: Path = ()) -> Iterator[Path]:
    yield path
    for name, below in schema["properties"].items():
        if "properties" in resolve(below):
            yield from tables(resolve(below), (*path, name))


def put(path: Path, value: object) -> Values:
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def another(value: object, schema: dict[str, Any]) -> object:
    """A value that the schema takes too."""
    for example in (*schema.get("examples", ()), *schema.get("enum", ())):
        if example not in (value, None):
            return example
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1 if value < schema["maximum"] else value - 1
    raise AssertionError(f"no example beside {value!r} in {schema}")


def rendered(values: Values) -> str:
    text = json.dumps(manifests(values), sort_keys=True).replace("\\n", "\n")
    return _FRESH.sub("", text)


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return {name: rendered(values) for name, values in scenarios().items()}


#: A certificate has no example in the schema: it is as long as one.
EXAMPLES = {"trust.certificates": [{**scenarios()["full"]["trust"]["certificates"][0], "name": "another"}]}


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_every_value_counts(name: str, before: dict[str, str]) -> None:
    """Another one changes what some scenario renders to, or is refused there with a word about it."""
    path, _, schema = LEAVES[name]
    # Scenarios with the emulator come last, because Helm makes a key for each render.
    for scenario, values in sorted(scenarios().items(), key=lambda item: "emulator" in item[0] or "try" in item[0]):
        given: Any = merged(default_values(), values)
        for step in path:
            given = given[step]
        other = EXAMPLES.get(name) or another(given, schema)
        try:
            if rendered(merged(values, put(path, other))) != before[scenario]:
                return
        except HelmRenderError as error:
            if name in str(error):
                return
    pytest.fail(f"{name} changes nothing")


def test_every_value_is_documented(generator: ModuleType) -> None:
    rows = {name: (default, told) for name, default, told in generator.values_rows()}
    assert LEAVES.keys() <= rows.keys()
    assert [name for name, (_, told) in rows.items() if len(told.split()) < 2 or not told.endswith(".")] == []


#: Words of the section on other charts that are no values of this one.
_NO_VALUES = {"false", "honorLabels", "loadBalancerIP"}


def test_the_section_on_other_charts_names_values_that_exist() -> None:
    """In the paragraph and the column of this chart, `.name` is beside the value before it. `no` rows name no value."""
    page = (CHART.parents[1] / "docs" / "operate" / "kubernetes.md").read_text("utf-8")
    section = page.partition("## Values of other charts")[2]
    rows = [row for row in section.splitlines() if row.startswith("| ")]
    paragraph = section.partition("\n| ")[0]
    cells = [paragraph, *(row.split(" | ")[2] for row in rows[2:])]
    known = {name[:end] for name in LEAVES for end in (*(dot.start() for dot in re.finditer("[.]", name)), None)}
    named: set[str] = set()
    for cell in cells:
        table = ""
        for name in [] if cell.startswith("no") else re.findall("`([^`]+)`", cell):
            full = f"{table}{name}" if name.startswith(".") else name
            table = full.rpartition(".")[0]
            named.add(full)
    assert named - known == _NO_VALUES
    assert len(named & known) > 50


def test_every_value_has_its_place_in_the_schema_and_every_place_its_value() -> None:
    def names(schema: dict[str, Any], path: Path = ()) -> Iterator[str]:
        for name, below in schema["properties"].items():
            resolved = resolve(below)
            if "properties" in resolved:
                yield from names(resolved, (*path, name))
            else:
                yield ".".join((*path, name))

    assert sorted(names(SCHEMA)) == sorted(LEAVES)


@pytest.mark.parametrize("path", sorted(set(tables(SCHEMA)) - {("global",)}), ids=lambda path: ".".join(path) or "top")
def test_a_misspelt_value_is_refused_by_its_name(path: Path) -> None:
    """In each table: a name that is one letter off, for each of its names."""
    schema = SCHEMA
    for name in path:
        schema = resolve(schema["properties"][name])
    misspelt = {
        other: below.get("default", True)
        for name, below in schema["properties"].items()
        for other in (f"{name}s", name[:-1], name.swapcase())
        if other not in schema["properties"]
    }
    with pytest.raises(HelmValuesError) as refusal:
        manifests(merged(scenarios()["default"], put(path, misspelt)))
    pointer = "/".join(("", *path))
    [refused] = re.findall(rf"- at '{pointer}': additional properties (.*) not allowed", str(refusal.value))
    assert set(re.findall("'([^']*)'", refused)) == misspelt.keys()


#: Parts of a pod or object whose fields Kubernetes checks, by their definition or value. The chart has the first level.
OF_KUBERNETES = {
    *("affinity", "container", "dnsConfig", "object", "object.metadata", "variable.valueFrom"),
    *(f"volume.{kind}" for kind in ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral")),
    *(f"volume.{kind}" for kind in ("persistentVolumeClaim", "projected", "secret")),
}


def test_every_table_of_the_schema_is_closed() -> None:
    """Its names are listed, or its entries have a schema. `global` is shared with other charts, so it is open."""
    open_ones, of_kubernetes = [], set()

    def look(schema: object, path: str) -> None:
        if isinstance(schema, dict):
            if schema.get("$ref") == "#/definitions/kubernetes":
                of_kubernetes.add(re.sub(r"[.](definitions|properties|additionalProperties)(?=[.]|$)", "", path)[1:])
            if schema.get("type") == "object" or "properties" in schema:
                closed = schema.get("additionalProperties")
                if closed is not False and not isinstance(closed, dict):
                    open_ones.append(path)
            for name, below in schema.items():
                if name != "examples":
                    look(below, f"{path}.{name}")
        elif isinstance(schema, list):
            for number, below in enumerate(schema):
                look(below, f"{path}.{number}")

    look(SCHEMA, "")
    assert open_ones == [".properties.global"]
    assert of_kubernetes == OF_KUBERNETES


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_value_of_another_type_is_refused_by_its_name(name: str) -> None:
    path, value, _ = LEAVES[name]
    wrong = "text" if isinstance(value, dict | list | bool | int | float) else {"a": "table"}
    with pytest.raises(HelmValuesError, match="/".join(("", *path))):
        manifests(merged(scenarios()["default"], put(path, wrong)))


def test_has_every_setting_of_the_service_with_its_default_and_its_bounds() -> None:
    """In `settings`, but for those that the chart sets itself."""
    values = default_values()["settings"]
    assert {*values, *SETTINGS_OF_THE_CHART} == {*Settings.model_fields}
    assert not values.keys() & SETTINGS_OF_THE_CHART
    for name, value in values.items():
        field = Settings.model_fields[name]
        default = DEFAULTS_OF_THE_CHART.get(name, field.default)
        assert (frozenset(value) if isinstance(value, list) else value) == default, name
        told = SCHEMA["properties"]["settings"]["properties"][name]
        bounds = {type(limit): limit for limit in field.metadata if isinstance(limit, Ge | Le)}
        if bounds:
            least, most = bounds[Ge].ge, bounds[Le].le  # type: ignore[union-attr]  # each is of the kind that it is under
            assert (told["minimum"], told["maximum"]) == (least, most), name


def test_has_every_key_of_a_policy_and_of_a_tenant() -> None:
    definitions = SCHEMA["definitions"]
    assert {*definitions["policy"]["properties"]} == {
        field.alias or name for name, field in PolicyTable.model_fields.items()
    }
    assert definitions["policy"]["properties"]["vmIds"]["items"]["pattern"] == VM_ID_PATTERN
    age = PolicyTable.model_json_schema()["$defs"]["PolicyTable"]["properties"]["maximumAgeSeconds"]["anyOf"][0]
    assert definitions["policy"]["properties"]["maximumAgeSeconds"] == age
    assert {*definitions["tenant"]["properties"]} == {*TenantTable.model_fields}
    assert definitions["cloud"]["enum"] == [cloud.value for cloud in Cloud]


def _every_path(values: Values, path: Path = ()) -> Iterator[Path]:
    for name, value in values.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from _every_path(value, (*path, name))


def _holds_null(value: object) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(_holds_null(part) for part in parts)


@pytest.mark.parametrize("path", sorted(_every_path(default_values())), ids=".".join)
def test_null_is_refused_by_its_name_or_leaves_no_field_empty(path: Path) -> None:
    refused = ""
    try:
        objects = render(merged(scenarios()["full"], put(path, None)))
    except (HelmValuesError, HelmRenderError) as refusal:
        objects, refused = [], str(refusal)
    assert "nil pointer" not in refused
    assert not refused or path[-1] in refused or f"{path[0]}: " in refused
    assert not _holds_null(objects)
