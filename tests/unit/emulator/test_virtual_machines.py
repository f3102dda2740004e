"""A file describes one machine. Unknown keys and invalid values are refused with their names."""

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
