"""A file describes one machine. Unknown keys and invalid values are refused with their names."""

import json
import tomllib
from pathlib import Path

import pytest

from verifier.emulator.clouds import AzureCloud
from verifier.emulator.documents import ManagedIdentity, MarketplacePlan
from verifier.emulator.instance import instance_metadata
from verifier.emulator.schema import Json
from verifier.emulator.virtual_machines import VirtualMachineError, read_virtual_machine

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "emulator").glob("*.toml"))
MINIMUM = '[compute]\nvmId = "v"\nlocation = "eastus"\n'


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "vm.toml"
    file.write_text(text, encoding="utf-8")
    return file


def leaves(tree: Json, path: str = "") -> dict[str, Json]:
    if isinstance(tree, dict):
        return {k: v for name, member in tree.items() for k, v in leaves(member, f"{path}/{name}").items()}
    if isinstance(tree, list):
        return {k: v for n, member in enumerate(tree) for k, v in leaves(member, f"{path}/{n}").items()}
    return {path: tree}


def test_examples_cover_every_kind_of_machine() -> None:
    machines = [read_virtual_machine(file) for file in EXAMPLES]
    assert {vm.cloud for vm in machines} == set(AzureCloud)
    assert any(vm.is_classic for vm in machines)
    assert any(vm.license_type for vm in machines)
    assert any(vm.details.get("vmScaleSetName") for vm in machines)
    assert any(vm.plan != MarketplacePlan() and vm.cloud is AzureCloud.PUBLIC for vm in machines)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_instance_metadata_has_all_elements_of_the_example(file: Path) -> None:
    vm = read_virtual_machine(file)
    answered = leaves(dict(instance_metadata(vm, api_version="2025-04-07")))
    described = leaves(
        {name: tree for name, tree in tomllib.loads(file.read_text("utf-8")).items() if name != "identity"}
    )
    if vm.is_classic:
        described = {path: value for path, value in described.items() if path.startswith("/network")}
    expected = {path: v for path, v in described.items() if path.startswith(("/compute", "/network"))}
    assert {path: answered[path] for path in expected} == expected


def test_missing_elements_are_empty(tmp_path: Path) -> None:
    vm = read_virtual_machine(write(tmp_path, MINIMUM))
    assert (vm.cloud, vm.is_classic, vm.plan, vm.license_type) == (AzureCloud.PUBLIC, False, MarketplacePlan(), "")
    assert (vm.load_balancer, vm.identity, vm.interfaces) == (None, None, ())
    answered = leaves(dict(instance_metadata(vm, api_version="2025-04-07")))
    assert {path for path, value in answered.items() if value} == {
        "/compute/vmId",
        "/compute/location",
        "/compute/azEnvironment",
    }


def test_managed_identity_is_read(tmp_path: Path) -> None:
    vm = read_virtual_machine(write(tmp_path, MINIMUM + '[identity]\nclientId = "c"\ntenantId = "t"\n'))
    assert vm.identity == ManagedIdentity(client_id="c", tenant_id="t")
    assert vm.identities == (vm.identity,)


def test_user_assigned_identities_are_read(tmp_path: Path) -> None:
    tables = (
        '[identity]\ntenantId = "t"\n[[identity.userAssigned]]\nclientId = "c"\nobjectId = "o"\nresourceId = "r"\n'
        '[[identity.userAssigned]]\nclientId = "d"\n'
    )
    vm = read_virtual_machine(write(tmp_path, MINIMUM + tables))
    first = ManagedIdentity(tenant_id="t", client_id="c", object_id="o", resource_id="r")
    assert vm.identity is None
    assert vm.identities == vm.user_identities == (first, ManagedIdentity(tenant_id="t", client_id="d"))


@pytest.mark.parametrize(
    ("identity", "fault"),
    [
        ({"tenantId": "t"}, "identity needs a clientId: every token answer has it"),
        ({"clientId": "", "userAssigned": [{"clientId": "c"}]}, "identity needs a clientId: every token answer has it"),
        ({"userAssigned": [{"clientId": "d"}, {"clientId": "c"}, {"clientId": "D"}]}, "have the same clientId"),
        (
            {"userAssigned": [{"clientId": "c", "objectId": "O"}, {"clientId": "d", "objectId": "o"}]},
            "have the same objectId",
        ),
        (
            {"userAssigned": [{"clientId": "c", "resourceId": "/r"}, {"clientId": "d", "resourceId": "/R"}]},
            "have the same resourceId",
        ),
    ],
)
def test_incomplete_or_ambiguous_identity_is_refused(tmp_path: Path, identity: dict[str, object], fault: str) -> None:
    with pytest.raises(VirtualMachineError, match=fault):
        read_virtual_machine(record(tmp_path, RECORDED, identity=identity))


def test_user_assigned_identities_may_differ_beyond_ascii_case(tmp_path: Path) -> None:
    users = [{"clientId": "straße"}, {"clientId": "STRASSE"}]
    assert len(read_virtual_machine(record(tmp_path, RECORDED, identity={"userAssigned": users})).identities) == 2


def record(tmp_path: Path, compute: object, **more: object) -> Path:
    return write(tmp_path, json.dumps({"compute": compute, **more}))


RECORDED = {"vmId": "v", "location": "eastus", "azEnvironment": "AZURECHINACLOUD", "tags": "a:b", "tagsList": []}


def test_recorded_answer_describes_its_machine(tmp_path: Path) -> None:
    notes: list[str] = []
    file = record(tmp_path, {**RECORDED, "zone": "2"}, network={"interface": [{"macAddress": "000D3A000001"}]})
    vm = read_virtual_machine(file, note=notes.append)
    assert (vm.vm_id, vm.region, vm.cloud, vm.details["zone"]) == ("v", "eastus", AzureCloud.CHINA, "2")
    assert vm.interfaces == ({"macAddress": "000D3A000001"},)
    assert notes == [
        f"{file}: dropped compute.azEnvironment, which follows from cloud",
        f"{file}: dropped compute.tags, which follows from compute.tagsList",
    ]


def test_unknown_elements_of_a_recorded_answer_are_dropped_by_name(tmp_path: Path) -> None:
    notes: list[str] = []
    disks = {"dataDisks": [{"lun": "0"}, {"lun": "1", "flux": "x"}]}
    file = record(tmp_path, {**RECORDED, "storageProfile": disks, "systemFaultDomain": "3"}, weather={"rain": True})
    vm = read_virtual_machine(file, note=notes.append)
    assert vm.details["storageProfile"] == {"dataDisks": [{"lun": "0"}, {"lun": "1"}]}
    assert [note.removeprefix(f"{file}: ") for note in notes[2:]] == [
        "dropped weather, which the emulator does not know",
        "dropped compute.systemFaultDomain, which the emulator does not know",
        "dropped compute.storageProfile.dataDisks[1].flux, which the emulator does not know",
    ]


@pytest.mark.parametrize("region", ["Zürich", "a\0b", "*", "a..b", "West US", "a" * 64, "eastus\n", "\u0663"])
def test_location_that_no_signer_name_can_contain_is_refused(tmp_path: Path, region: str) -> None:
    toml = write(tmp_path, f'[compute]\nvmId = "v"\nlocation = {json.dumps(region)}\n')
    with pytest.raises(VirtualMachineError, match=r"vm\.toml: compute\.location must be 1 to 63 ASCII letters, digits"):
        read_virtual_machine(toml)
    with pytest.raises(VirtualMachineError, match=r"vm\.toml: compute\.location must be 1 to 63 ASCII letters, digits"):
        read_virtual_machine(record(tmp_path, {**RECORDED, "location": region}))


@pytest.mark.parametrize("region", ["WestUS2", "stage-1", "a" * 63])
def test_location_of_letters_digits_and_hyphens_is_read(tmp_path: Path, region: str) -> None:
    assert read_virtual_machine(record(tmp_path, {**RECORDED, "location": region})).region == region


@pytest.mark.parametrize("tags", [3, ["a"], {"a": "b"}, True, None])
@pytest.mark.parametrize("more", [{}, {"tagsList": []}])
def test_tags_of_another_type_are_refused(tmp_path: Path, tags: object, more: dict[str, object]) -> None:
    file = record(tmp_path, {"vmId": "v", "location": "eastus", "tags": tags, **more})
    with pytest.raises(VirtualMachineError) as refused:
        read_virtual_machine(file)
    assert str(refused.value) == f"{file}: compute.tags must be a string, as in IMDS"


@pytest.mark.parametrize(
    ("cloud", "fault"),
    [
        (7, "cloud must be a string, as in IMDS"),
        (None, "cloud must be a string, as in IMDS"),
        ("Mars", f"cloud must be one of {', '.join(AzureCloud)}"),
    ],
)
def test_unusable_cloud_beside_a_recorded_compute_is_refused(tmp_path: Path, cloud: object, fault: str) -> None:
    file = record(tmp_path, RECORDED, cloud=cloud)
    with pytest.raises(VirtualMachineError) as refused:
        read_virtual_machine(file)
    assert str(refused.value) == f"{file}: {fault}"


def test_cloud_that_the_emulator_knows_is_read_beside_a_recorded_compute(tmp_path: Path) -> None:
    assert read_virtual_machine(record(tmp_path, RECORDED, cloud="AzureChinaCloud")).cloud is AzureCloud.CHINA


UNPRINTABLE = "a\x1b[31m\nZürich"
ESCAPED = "a\\x1b[31m\\nZ\\xfcrich"


def test_keys_in_notes_are_escaped(tmp_path: Path) -> None:
    notes: list[str] = []
    file = record(tmp_path, {**RECORDED, UNPRINTABLE: "x"}, **{UNPRINTABLE: {}})
    read_virtual_machine(file, note=notes.append)
    assert notes[2:] == [
        f"{file}: dropped {ESCAPED}, which the emulator does not know",
        f"{file}: dropped compute.{ESCAPED}, which the emulator does not know",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (MINIMUM + f"{json.dumps(UNPRINTABLE)} = 1\n", f"unknown key compute.{ESCAPED}"),
        (MINIMUM + f"[{json.dumps(UNPRINTABLE)}]\n", f"unknown key {ESCAPED}"),
        ('{"compute": {KEY: "v", KEY: "w"}}'.replace("KEY", json.dumps(UNPRINTABLE)), f"keys among {ESCAPED}"),
    ],
)
def test_keys_in_errors_are_escaped(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(VirtualMachineError) as refused:
        read_virtual_machine(write(tmp_path, text))
    assert str(refused.value).endswith(fault)


def test_tags_of_an_old_recorded_answer_become_a_list(tmp_path: Path) -> None:
    notes: list[str] = []
    compute = {"vmId": "v", "location": "eastus", "tags": "Department:IT;url:https://example.com"}
    vm = read_virtual_machine(record(tmp_path, compute), note=notes.append)
    pairs = [{"name": "Department", "value": "IT"}, {"name": "url", "value": "https://example.com"}]
    assert vm.details["tagsList"] == pairs
    answer = instance_metadata(vm, api_version="2019-06-04")["compute"]
    assert isinstance(answer, dict)
    assert answer["tags"] == compute["tags"]
    assert vm.cloud is AzureCloud.PUBLIC
    assert len(notes) == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_recorded_answer_is_read_in_the_encodings_of_powershell(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "vm.json"
    file.write_bytes(json.dumps({"compute": {**RECORDED, "name": "Zürich"}}, ensure_ascii=False).encode(encoding))
    assert read_virtual_machine(file).details["name"] == "Zürich"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"vmId": "v", "location": "eastus"}', "has neither compute nor network: record the answer of /metadata/inst"),
        ('{"compute": {"vmId": "v"}}', "needs a region"),
        ('{"compute": {"vmId": 1, "location": "eastus"}}', "compute.vmId must be a string, as in IMDS"),
        ('{"compute": {"vmId": null, "location": "eastus"}}', "compute.vmId must be a string, as in IMDS"),
        ('{"compute": []}', "compute must be a table"),
        ('{"compute": {"azEnvironment": "Mars"}}', "compute.azEnvironment must be one of AzurePublicCloud, "),
        # U+017F is the long s, which casefold turns into s.
        ('{"compute": {"azEnvironment": "AzureU\u017fGovernmentCloud"}}', "compute.azEnvironment must be one of "),
        ('{"network": {"interface": []}}', "needs a vmId"),
        ('{"compute": {"vmId": "v", "vmId": "w"}}', "has duplicate keys among vmId"),
        ('{"compute": ', "is not JSON"),
        ('{"compute": ' + "[" * 100_000, "is not JSON"),
    ],
)
def test_invalid_recording_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(VirtualMachineError, match=fault) as refused:
        read_virtual_machine(file)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"vmId": "\ud800"}, "compute.vmId"),
        ({"location": "west\udfff"}, "compute.location"),
        ({"azEnvironment": "\ud800"}, "compute.azEnvironment"),
        ({"tags": "\ud800:x"}, "compute.tags"),
        ({"plan": {"name": "\ud800"}}, "compute.plan.name"),
        ({"tagsList": [{}, {"value": "\ud800"}]}, "compute.tagsList[1].value"),
        ({"unknown": [["\ud800"]]}, "compute.unknown[0][0]"),
        ({"a\ud800": "x"}, "the key compute.a\\ud800"),
    ],
)
def test_lone_surrogate_in_a_recording_is_refused_by_name(
    tmp_path: Path, members: dict[str, object], name: str
) -> None:
    file = record(tmp_path, {**RECORDED, **members})
    with pytest.raises(VirtualMachineError) as refused:
        read_virtual_machine(file)
    assert str(refused.value) == f"{file}: {name} has a lone surrogate, which UTF-8 cannot encode"


def test_surrogate_pair_in_a_recording_is_one_character(tmp_path: Path) -> None:
    file = record(tmp_path, {**RECORDED, "name": "\U0001f600"})
    assert "\\ud83d\\ude00" in file.read_text("utf-8")
    assert read_virtual_machine(file).details["name"] == "\U0001f600"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (MINIMUM + "[vm]\n", ": unknown key vm$"),
        (MINIMUM + 'azEnvironment = "x"\n', ": unknown key compute.azEnvironment"),
        (MINIMUM + 'tags = "a:b"\n', ": unknown key compute.tags"),
        (MINIMUM + 'plan = {offer = "o"}\n', ": unknown key compute.plan.offer"),
        (MINIMUM + 'plan = "gold"\n', ": compute.plan must be a table"),
        (MINIMUM + "tagsList = {}\n", ": compute.tagsList must be an array"),
        (MINIMUM + "tagsList = [{name = 1}]\n", r": compute.tagsList\[0\].name must be a string, as in IMDS"),
        (MINIMUM + "zone = 1\n", ": compute.zone must be a string"),
        (MINIMUM + "zone = true\n", ": compute.zone must be a string"),
        (MINIMUM + '[loadbalancer]\ninboundRules = [{frontendPort = "80"}]\n', "frontendPort must be an integer"),
        (
            MINIMUM + '[extended.compute]\nhasCustomData = "no"\n',
            "extended.compute.hasCustomData must be true or false",
        ),
        (MINIMUM + '[[identity.userAssigned]]\nobjectId = "o"\n', "each identity.userAssigned needs a clientId"),
        (MINIMUM + '[[network.interface]]\nmac = "x"\n', r"unknown key network.interface\[0\].mac"),
        ('cloud = "Azure"\n' + MINIMUM, "cloud must be one of AzurePublicCloud, "),
        ('deployment = "modern"\n' + MINIMUM, "deployment must be one of resource-manager, classic"),
        ('[compute]\nlocation = "eastus"\n', "needs a vmId"),
        ('[compute]\nvmId = "v"\n', "needs a region"),
        ("", "needs a vmId"),
        ("[compute\n", "is not TOML"),
        ("x = " + "[" * 5000, "is not TOML"),
        ("#" * 262_145, "is larger than 262144 bytes"),
    ],
)
def test_invalid_file_is_refused_with_the_name_of_the_key(tmp_path: Path, text: str, fault: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(VirtualMachineError, match=fault) as refused:
        read_virtual_machine(file)
    assert str(file) in str(refused.value)


def test_file_with_a_byte_order_mark_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "\ufeff" + MINIMUM)
    with pytest.raises(VirtualMachineError, match="is not TOML in UTF-8 without a byte order mark"):
        read_virtual_machine(file)


def test_binary_file_and_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(VirtualMachineError, match="is not TOML"):
        read_virtual_machine(tmp_path / "binary")
    with pytest.raises(VirtualMachineError, match="No such file"):
        read_virtual_machine(tmp_path / "absent")
