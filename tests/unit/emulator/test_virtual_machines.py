"""A file describes one machine, and what it says that is none is refused by name."""

import tomllib
from pathlib import Path

import pytest

from verifier.emulator.clouds import Cloud
from verifier.emulator.documents import ManagedIdentity, Plan
from verifier.emulator.instance import instance_metadata
from verifier.emulator.schema import Json
from verifier.emulator.virtual_machines import VirtualMachineError, read_virtual_machine

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "emulator").glob("*.toml"))
LEAST = '[compute]\nvmId = "v"\nlocation = "eastus"\n'


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


def test_there_is_an_example_of_every_kind() -> None:
    machines = [read_virtual_machine(file) for file in EXAMPLES]
    assert {vm.cloud for vm in machines} == set(Cloud)
    assert any(vm.is_classic for vm in machines)
    assert any(vm.license_type for vm in machines)
    assert any(vm.details.get("vmScaleSetName") for vm in machines)
    assert any(vm.plan != Plan() and vm.cloud is Cloud.PUBLIC for vm in machines)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_instance_metadata_tells_all_that_an_example_says(file: Path) -> None:
    vm = read_virtual_machine(file)
    told = leaves(dict(instance_metadata(vm, api_version="2025-04-07")))
    said = leaves({name: tree for name, tree in tomllib.loads(file.read_text("utf-8")).items() if name != "identity"})
    if vm.is_classic:
        said = {path: value for path, value in said.items() if path.startswith("/network")}
    expected = {path: v for path, v in said.items() if path.startswith(("/compute", "/network"))}
    assert {path: told[path] for path in expected} == expected


def test_what_the_file_does_not_say_is_empty(tmp_path: Path) -> None:
    vm = read_virtual_machine(write(tmp_path, LEAST))
    assert (vm.cloud, vm.is_classic, vm.plan, vm.license_type) == (Cloud.PUBLIC, False, Plan(), "")
    assert (vm.load_balancer, vm.identity, vm.interfaces) == (None, None, ())
    told = leaves(dict(instance_metadata(vm, api_version="2025-04-07")))
    assert {path for path, value in told.items() if value} == {
        "/compute/vmId",
        "/compute/location",
        "/compute/azEnvironment",
    }


def test_reads_a_managed_identity(tmp_path: Path) -> None:
    vm = read_virtual_machine(write(tmp_path, LEAST + '[identity]\nclientId = "c"\ntenantId = "t"\n'))
    assert vm.identity == ManagedIdentity(client_id="c", tenant_id="t")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (LEAST + "[vm]\n", "the file: unknown key vm"),
        (LEAST + 'azEnvironment = "x"\n', "the file.compute: unknown key azEnvironment"),
        (LEAST + 'tags = "a:b"\n', "the file.compute: unknown key tags"),
        (LEAST + 'plan = {offer = "o"}\n', "the file.compute.plan: unknown key offer"),
        (LEAST + 'plan = "gold"\n', "the file.compute.plan must be a table"),
        (LEAST + "tagsList = {}\n", "the file.compute.tagsList must be an array"),
        (LEAST + "tagsList = [{name = 1}]\n", r"the file.compute.tagsList\[0\].name must be a string, as IMDS"),
        (LEAST + "zone = 1\n", "the file.compute.zone must be a string"),
        (LEAST + "zone = true\n", "the file.compute.zone must be a string"),
        (
            LEAST + '[loadbalancer]\ninboundRules = [{frontendPort = "80"}]\n',
            "frontendPort must be an integer",
        ),
        ('cloud = "Azure"\n' + LEAST, "cloud is one of AzurePublicCloud, "),
        ('deployment = "modern"\n' + LEAST, "deployment is one of resource-manager, classic"),
        ('[compute]\nlocation = "eastus"\n', "needs a vmId"),
        ('[compute]\nvmId = "v"\n', "needs a region"),
        ("", "needs a vmId"),
        ("[compute\n", "is not TOML"),
        ("x = " + "[" * 5000, "is not TOML"),
        ("#" * 262_145, "is larger than 262144 octets"),
    ],
)
def test_refuses_what_is_no_machine_by_name(tmp_path: Path, text: str, fault: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(VirtualMachineError, match=fault) as refused:
        read_virtual_machine(file)
    assert str(file) in str(refused.value)


def test_refuses_a_file_that_is_no_text_and_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(VirtualMachineError, match="is not TOML"):
        read_virtual_machine(tmp_path / "binary")
    with pytest.raises(VirtualMachineError, match="No such file"):
        read_virtual_machine(tmp_path / "absent")
