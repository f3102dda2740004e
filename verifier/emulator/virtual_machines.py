"""Read the description of a virtual machine from a TOML file with the names of IMDS.

`compute`, `network` and `loadbalancer` have the members of IMDS. `cloud`, `deployment` and `identity` are optional.
Elements that the file does not set are empty strings, as in IMDS. `examples/emulator` has a file for each kind.
"""

import tomllib
from pathlib import Path
from typing import Final, cast

from verifier.emulator.categories import LOAD_BALANCER
from verifier.emulator.clouds import AzureCloud
from verifier.emulator.documents import ManagedIdentity, MarketplacePlan, VirtualMachine
from verifier.emulator.instance import COMPUTE, DERIVED, NETWORK
from verifier.emulator.schema import Json, Leaf, Object, SchemaError, validate

_MAX_BYTES: Final = 262_144
_DEPLOYMENTS: Final = {"resource-manager": False, "classic": True}
_IDENTITY: Final = Object({"clientId": Leaf(), "tenantId": Leaf()})
_FILE: Final = Object(
    {
        "cloud": Leaf(),
        "deployment": Leaf(),
        "compute": Object({name: node for name, node in COMPUTE.members.items() if name not in DERIVED}),
        "network": NETWORK,
        "loadbalancer": LOAD_BALANCER,
        "identity": _IDENTITY,
    },
)
#: Elements of compute that documents contain too. VirtualMachine has separate fields for them.
_IN_DOCUMENTS: Final = frozenset({"vmId", "subscriptionId", "plan", "sku", "licenseType", "location"})


class VirtualMachineError(Exception):
    """The file describes no machine. The message names the file, the key and the fault."""


def read_virtual_machine(file: Path) -> VirtualMachine:
    """Read the machine that `file` describes. Unknown keys are refused. Raises VirtualMachineError."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise VirtualMachineError(f"{file} is larger than {_MAX_BYTES} bytes")
        return _machine(cast("dict[str, Json]", validate(_FILE, tomllib.loads(content.decode("utf-8")))))
    except OSError as error:
        raise VirtualMachineError(f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise VirtualMachineError(f"{file} is not TOML in UTF-8 without a byte order mark: {error}") from error
    except (SchemaError, ValueError) as error:
        raise VirtualMachineError(f"{file}: {error}") from error


def _machine(tables: dict[str, Json]) -> VirtualMachine:
    cloud = _text(tables, "cloud") or AzureCloud.PUBLIC.value
    deployment = _text(tables, "deployment") or "resource-manager"
    if cloud not in set(AzureCloud):
        raise SchemaError(f"cloud must be one of {', '.join(AzureCloud)}")
    if deployment not in _DEPLOYMENTS:
        raise SchemaError(f"deployment must be one of {', '.join(_DEPLOYMENTS)}")
    compute, plan = _table(tables, "compute"), _table(_table(tables, "compute"), "plan")
    identity = _table(tables, "identity")
    interfaces = _table(tables, "network").get("interface", [])
    return VirtualMachine(
        cloud=AzureCloud(cloud),
        is_classic=_DEPLOYMENTS[deployment],
        vm_id=_text(compute, "vmId"),
        subscription_id=_text(compute, "subscriptionId"),
        plan=MarketplacePlan(
            publisher=_text(plan, "publisher"), product=_text(plan, "product"), name=_text(plan, "name")
        ),
        sku=_text(compute, "sku"),
        license_type=_text(compute, "licenseType"),
        region=_text(compute, "location"),
        details={name: value for name, value in compute.items() if name not in _IN_DOCUMENTS},
        interfaces=tuple(cast("list[Json]", interfaces)),
        load_balancer=_table(tables, "loadbalancer") if "loadbalancer" in tables else None,
        identity=ManagedIdentity(tenant_id=_text(identity, "tenantId"), client_id=_text(identity, "clientId"))
        if identity
        else None,
    )


def _table(table: dict[str, Json], name: str) -> dict[str, Json]:
    return cast("dict[str, Json]", table.get(name, {}))


def _text(table: dict[str, Json], name: str) -> str:
    return cast("str", table.get(name, ""))
