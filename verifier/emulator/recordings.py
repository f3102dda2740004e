"""Read a recorded answer of `/metadata/instance` as the description of its machine.

Elements that the emulator derives or does not know are dropped, each with a note, so that the answer of any IMDS
describes a machine in one step.
"""

import json
from collections.abc import Callable
from typing import Final

from verifier.emulator.ascii_case import fold_case
from verifier.emulator.clouds import AzureCloud
from verifier.emulator.printable import printable
from verifier.emulator.schema import Json, Object, SchemaError, refuse_surrogates, validate, without_unknown

_ROOTS: Final = ("compute", "network")


def decode_recording(content: bytes) -> str | None:
    """Return the text of a JSON object in any Unicode encoding, also with a byte order mark, or None for other bytes.

    PowerShell writes UTF-16.
    """
    try:
        text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None
    return text if text.lstrip()[:1] == "{" else None


def description_of(text: str, *, shape: Object, note: Callable[[str], None]) -> object:
    """Return the tables of a machine file from a recorded answer. `note` gets a sentence for each dropped element.

    Not checked: the shape of what remains. Raises SchemaError, ValueError and RecursionError.
    """
    recorded = json.loads(text, object_pairs_hook=_without_duplicates)
    refuse_surrogates(recorded)
    if not recorded.keys() & set(_ROOTS):
        raise SchemaError("has neither compute nor network: record the answer of /metadata/instance, without a route")
    compute = recorded.get("compute")
    if isinstance(compute, dict):
        _refuse_unusable_cloud(recorded, shape)
        recorded = {**recorded, "cloud": _cloud(compute, note), "compute": _underived(compute, note)}
    return without_unknown(shape, recorded, lambda path: note(f"dropped {path}, which the emulator does not know"))


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise SchemaError(f"has duplicate keys among {', '.join(map(printable, sorted(members)))}")
    return members


def _refuse_unusable_cloud(recorded: dict[str, object], shape: Object) -> None:
    """Raise SchemaError for a `cloud` that a machine file cannot have. `compute.azEnvironment` replaces a valid one."""
    cloud = validate(shape.members["cloud"], recorded.get("cloud", ""), path="cloud")
    if cloud and cloud not in set(AzureCloud):
        raise SchemaError(f"cloud must be one of {', '.join(AzureCloud)}")


def _cloud(compute: dict[str, object], note: Callable[[str], None]) -> str:
    environment = compute.get("azEnvironment")
    if environment is None:
        note(f"compute.azEnvironment is missing: the cloud is {AzureCloud.PUBLIC}")
        return AzureCloud.PUBLIC.value
    # The samples of Azure's page have it in capitals.
    for cloud in AzureCloud:
        if isinstance(environment, str) and fold_case(environment) == fold_case(cloud):
            note("dropped compute.azEnvironment, which follows from cloud")
            return cloud.value
    raise SchemaError(f"compute.azEnvironment must be one of {', '.join(AzureCloud)}")


def _underived(compute: dict[str, object], note: Callable[[str], None]) -> dict[str, object]:
    """Return `compute` without `tags`. Before api-version 2019-06-04 there is no `tagsList`, so make it."""
    kept = {name: value for name, value in compute.items() if name not in {"azEnvironment", "tags"}}
    tags = compute.get("tags", "")
    if not isinstance(tags, str):
        raise SchemaError("compute.tags must be a string, as in IMDS")
    if "tags" in compute:
        note("dropped compute.tags, which follows from compute.tagsList")
    if tags and "tagsList" not in kept:
        note("made compute.tagsList from compute.tags: a semicolon in a value splits it")
        pairs = [tag.partition(":") for tag in tags.split(";")]
        made: list[Json] = [{"name": name, "value": value} for name, _, value in pairs]
        kept["tagsList"] = made
    return kept
