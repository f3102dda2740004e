"""Each api-version of `/metadata/instance` has exactly the fields of the table, and answers as its snapshot."""

import json
from pathlib import Path

import pytest
from support.imds_fields import FIELDS, PREVIEW, paths_of
from support.imds_snapshots import MACHINE, snapshot_of, snapshots

from verifier.emulator.documents import VirtualMachine
from verifier.emulator.instance import instance_metadata
from verifier.emulator.versions import API_VERSIONS
from verifier.emulator.virtual_machines import read_virtual_machine

FULL = read_virtual_machine(MACHINE)
#: A machine whose arrays have elements, and that has no optional field.
PLAIN = VirtualMachine(
    details={
        "publicKeys": [{"keyData": "k", "path": "p"}],
        "tagsList": [{"name": "n", "value": "v"}],
        "storageProfile": {"dataDisks": [{"lun": "0"}]},
    },
    interfaces=({"ipv4": {"ipAddress": [{}], "ipAddressBlock": [{}], "subnet": [{}]}},),
)


def answer(vm: VirtualMachine, version: str, *, is_extended: bool = True) -> dict[str, object]:
    return dict(instance_metadata(vm, api_version=version, is_extended=is_extended))


@pytest.mark.parametrize("version", API_VERSIONS)
def test_answer_is_the_snapshot(version: str) -> None:
    assert answer(FULL, version) == snapshot_of(version)


@pytest.mark.parametrize("version", API_VERSIONS)
def test_snapshot_has_exactly_the_fields_of_the_table(version: str) -> None:
    """No field appears before its first version, and none is missing afterwards."""
    assert set(paths_of(snapshot_of(version))) == {field.path for field in FIELDS if field.is_at(version)}


def test_each_snapshot_begins_at_a_version_and_differs_from_the_one_before() -> None:
    kept = snapshots()
    assert kept.keys() <= set(API_VERSIONS)
    assert min(kept) == PREVIEW
    texts = [json.dumps(tree, sort_keys=True) for _, tree in sorted(kept.items())]
    assert len(set(texts)) == len(texts)
    assert {field.first for field in FIELDS} <= kept.keys()


@pytest.mark.parametrize("version", API_VERSIONS)
def test_optional_fields_are_absent_unless_the_machine_has_them(version: str) -> None:
    absent = {
        *(field.path for field in FIELDS if field.is_optional),
        # Elements of arrays that this machine does not have.
        *(path for field in FIELDS if ".ipv6.ip" in (path := field.path) or ".dnsservers[]" in path),
    }
    expected = {field.path for field in FIELDS if field.is_at(version)} - absent
    assert set(paths_of(answer(PLAIN, version))) == expected


def test_standby_pool_needs_no_physical_zone() -> None:
    compute = answer(VirtualMachine(details={"isVmInStandbyPool": "true"}), "2025-04-07")["compute"]
    assert isinstance(compute, dict)
    assert compute["isVmInStandbyPool"] == "true"
    assert "physicalZone" not in compute


@pytest.mark.parametrize("version", API_VERSIONS)
def test_only_an_extended_answer_has_the_extension(version: str) -> None:
    tree = answer(FULL, version)
    extension = tree.pop("extended", None)
    assert tree == answer(FULL, version, is_extended=False)
    expected = {"compute": {"hasCustomData": True, "ppsType": "Running"}} if version >= "2021-03-01" else None
    assert extension == expected


def test_snapshots_name_no_other_machine() -> None:
    """The identifiers are those of the machine file, which are invented."""
    text = MACHINE.read_text("utf-8")
    for file in Path(MACHINE.parent).glob("*.json"):
        compute = json.loads(file.read_bytes())["compute"]
        assert all(compute[name] in text for name in ("vmId", "name"))
