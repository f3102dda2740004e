"""Read the description of a virtual machine from a TOML file with the names of IMDS, or from a recorded answer of IMDS.

`compute`, `network`, `loadbalancer` and `extended` have the members of IMDS. `cloud`, `deployment` and `identity` are
optional. Elements that the file does not set are empty strings, as in IMDS. `examples/emulator` has a file for each
kind.
"""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from verifier.emulator.ascii_case import fold_case
from verifier.emulator.categories import LOAD_BALANCER
from verifier.emulator.clouds import AzureCloud
from verifier.emulator.documents import REGION_RULE, ManagedIdentity, MarketplacePlan, VirtualMachine, is_region
from verifier.emulator.instance import COMPUTE, DERIVED, DESCRIBED_NETWORK, EXTENDED
from verifier.emulator.recordings import decode_recording, description_of
from verifier.emulator.schema import Array, Json, Leaf, Object, SchemaError, validate

_MAX_BYTES: Final = 262_144
_DEPLOYMENTS: Final = {"resource-manager": False, "classic": True}
_USER_ASSIGNED: Final = Object({"clientId": Leaf(), "objectId": Leaf(), "resourceId": Leaf()})
_IDENTITY: Final = Object(
    {"clientId": Leaf(), "objectId": Leaf(), "tenantId": Leaf(), "userAssigned": Array(_USER_ASSIGNED)}
)
_FILE: Final = Object(
    {
        "cloud": Leaf(),
        "deployment": Leaf(),
        "compute": Object({name: node for name, node in COMPUTE.members.items() if name not in DERIVED}),
        "network": DESCRIBED_NETWORK,
        "loadbalancer": LOAD_BALANCER,
        "identity": _IDENTITY,
        "extended": EXTENDED,
    },
)
#: Elements of compute that documents contain too. VirtualMachine has separate fields for them.
_IN_DOCUMENTS: Final = frozenset({"vmId", "subscriptionId", "plan", "sku", "licenseType", "location"})


class VirtualMachineError(Exception):
    """The file describes no machine. The message names the file, the key and the fault."""


def read_virtual_machine(file: Path, *, note: Callable[[str], None] = lambda _: None) -> VirtualMachine:
    """Read the machine that `file` describes. Raises VirtualMachineError.

    Unknown keys of a TOML file are refused. Those of a recorded answer are dropped, and `note` gets a sentence for each
    one.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise VirtualMachineError(f"{file} is larger than {_MAX_BYTES} bytes")
        recording = decode_recording(content)
        if recording is None:
            described: object = tomllib.loads(content.decode("utf-8"))
        else:
            described = _description(file, recording, note)
        return _machine(cast("dict[str, Json]", validate(_FILE, described)))
    except OSError as error:
        raise VirtualMachineError(f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise VirtualMachineError(f"{file} is not TOML in UTF-8 without a byte order mark: {error}") from error
    except (SchemaError, ValueError) as error:
        raise VirtualMachineError(f"{file}: {error}") from error


def _description(file: Path, recording: str, note: Callable[[str], None]) -> object:
    try:
        return description_of(recording, shape=_FILE, note=lambda text: note(f"{file}: {text}"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise VirtualMachineError(f"{file} is not JSON: {error}") from error


def _machine(tables: dict[str, Json]) -> VirtualMachine:
    cloud = _text(tables, "cloud") or AzureCloud.PUBLIC.value
    deployment = _text(tables, "deployment") or "resource-manager"
    if cloud not in set(AzureCloud):
        raise SchemaError(f"cloud must be one of {', '.join(AzureCloud)}")
    if deployment not in _DEPLOYMENTS:
        raise SchemaError(f"deployment must be one of {', '.join(_DEPLOYMENTS)}")
    compute, plan = _table(tables, "compute"), _table(_table(tables, "compute"), "plan")
    region = _text(compute, "location")
    # VirtualMachine refuses an empty one.
    if region and not is_region(region):
        raise SchemaError(f"compute.location {REGION_RULE}")
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
        region=region,
        details={name: value for name, value in compute.items() if name not in _IN_DOCUMENTS},
        interfaces=tuple(cast("list[Json]", interfaces)),
        load_balancer=_table(tables, "loadbalancer") if "loadbalancer" in tables else None,
        identity=_system_assigned(identity),
        user_identities=_user_assigned(identity),
        **({"extended": _table(tables, "extended")} if "extended" in tables else {}),
    )


def _system_assigned(table: dict[str, Json]) -> ManagedIdentity | None:
    """Return the system-assigned identity. A table with user-assigned ones needs none."""
    if not table or ("userAssigned" in table and "clientId" not in table):
        return None
    if not _text(table, "clientId"):
        raise SchemaError("identity needs a clientId: every token answer has it")
    return ManagedIdentity(
        tenant_id=_text(table, "tenantId"), client_id=_text(table, "clientId"), object_id=_text(table, "objectId")
    )


def _user_assigned(table: dict[str, Json]) -> tuple[ManagedIdentity, ...]:
    made = tuple(
        ManagedIdentity(
            tenant_id=_text(table, "tenantId"),
            client_id=_text(one, "clientId"),
            object_id=_text(one, "objectId"),
            resource_id=_text(one, "resourceId"),
        )
        for one in cast("list[dict[str, Json]]", table.get("userAssigned", []))
    )
    if not all(one.client_id for one in made):
        raise SchemaError("each identity.userAssigned needs a clientId: every token answer has it")
    for key, values in {
        "clientId": [one.client_id for one in made],
        "objectId": [one.object_id for one in made if one.object_id],
        "resourceId": [one.resource_id for one in made if one.resource_id],
    }.items():
        if len(set(map(fold_case, values))) < len(values):
            raise SchemaError(f"two identities of identity.userAssigned have the same {key}: a request selects one")
    return made


def _table(table: dict[str, Json], name: str) -> dict[str, Json]:
    return cast("dict[str, Json]", table.get(name, {}))


def _text(table: dict[str, Json], name: str) -> str:
    return cast("str", table.get(name, ""))
