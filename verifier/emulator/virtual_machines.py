"""A virtual machine that one TOML file describes, in the names of IMDS.

    cloud = "AzurePublicCloud"
    deployment = "resource-manager"        # or "classic"
    [compute]                              # as /metadata/instance/compute, less azEnvironment and tags, which follow
    vmId = "…"
    location = "eastus"
    [[network.interface]]                  # as /metadata/instance/network
    [loadbalancer]                         # as /metadata/loadbalancer; absent: 404
    [identity]                             # clientId and tenantId; absent: it has none

What the file does not name is empty, as IMDS tells what is missing. `examples/emulator` has one of each kind.
"""

import tomllib
from pathlib import Path
from typing import Final, cast

from verifier.emulator.categories import LOAD_BALANCER
from verifier.emulator.clouds import Cloud
from verifier.emulator.documents import ManagedIdentity, Plan, VirtualMachine
from verifier.emulator.instance import COMPUTE, DERIVED, NETWORK
from verifier.emulator.schema import Json, Leaf, Object, SchemaError, check

_LIMIT_OCTETS: Final = 262_144
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
#: Elements of compute that are in documents too: they have fields of their own in VirtualMachine.
_IN_DOCUMENTS: Final = frozenset({"vmId", "subscriptionId", "plan", "sku", "licenseType", "location"})


class VirtualMachineError(Exception):
    """There is no such machine; the message names the file, the key and the fault."""


def read_virtual_machine(file: Path) -> VirtualMachine:
    """The machine that `file` describes. A key that is none is refused by name. Raises VirtualMachineError."""
    try:
        with file.open("rb") as stream:
            octets = stream.read(_LIMIT_OCTETS + 1)
        if len(octets) > _LIMIT_OCTETS:
            raise VirtualMachineError(f"{file} is larger than {_LIMIT_OCTETS} octets")
        told = check(_FILE, tomllib.loads(octets.decode("utf-8")), place="the file")
        return _machine(cast("dict[str, Json]", told))
    except OSError as error:
        raise VirtualMachineError(f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise VirtualMachineError(f"{file} is not TOML: {error}") from error
    except (SchemaError, ValueError) as error:
        raise VirtualMachineError(f"{file}: {error}") from error


def _machine(told: dict[str, Json]) -> VirtualMachine:
    cloud = _text(told, "cloud") or Cloud.PUBLIC.value
    deployment = _text(told, "deployment") or "resource-manager"
    if cloud not in set(Cloud):
        raise SchemaError(f"cloud is one of {', '.join(Cloud)}")
    if deployment not in _DEPLOYMENTS:
        raise SchemaError(f"deployment is one of {', '.join(_DEPLOYMENTS)}")
    compute, plan = _table(told, "compute"), _table(_table(told, "compute"), "plan")
    identity = _table(told, "identity")
    interfaces = _table(told, "network").get("interface", [])
    return VirtualMachine(
        cloud=Cloud(cloud),
        is_classic=_DEPLOYMENTS[deployment],
        vm_id=_text(compute, "vmId"),
        subscription_id=_text(compute, "subscriptionId"),
        plan=Plan(publisher=_text(plan, "publisher"), product=_text(plan, "product"), name=_text(plan, "name")),
        sku=_text(compute, "sku"),
        license_type=_text(compute, "licenseType"),
        region=_text(compute, "location"),
        details={name: value for name, value in compute.items() if name not in _IN_DOCUMENTS},
        interfaces=tuple(cast("list[Json]", interfaces)),
        load_balancer=_table(told, "loadbalancer") if "loadbalancer" in told else None,
        identity=ManagedIdentity(tenant_id=_text(identity, "tenantId"), client_id=_text(identity, "clientId"))
        if identity
        else None,
    )


def _table(told: dict[str, Json], name: str) -> dict[str, Json]:
    """Empty where it is not there. That it is a table was checked."""
    return cast("dict[str, Json]", told.get(name, {}))


def _text(told: dict[str, Json], name: str) -> str:
    return cast("str", told.get(name, ""))
