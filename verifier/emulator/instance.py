"""Instance metadata: the compute and network elements of Azure's page, each with its first api-version.

The page of 2021 lists versions up to 2020-12-01. Elements of later versions are marked FROM MEMORY: they follow later
revisions of the page and were not compared with a VM.
"""

from typing import Final

from verifier.emulator.documents import VirtualMachine
from verifier.emulator.schema import Array, Json, Leaf, Node, Object, render

_TEXT: Final = Leaf()
_URI: Final = Object({"uri": _TEXT})
_MANAGED_DISK: Final = Object({"id": _TEXT, "storageAccountType": _TEXT})
_PLAN: Final = {"name": _TEXT, "product": _TEXT, "publisher": _TEXT}

# Azure page: Storage profile. The nested objects are from its samples.
_DISK: Final[dict[str, Node]] = {
    "caching": _TEXT,
    "createOption": _TEXT,
    "diffDiskSettings": Object({"option": _TEXT}),
    "diskSizeGB": _TEXT,
    "encryptionSettings": Object({"enabled": _TEXT}),
    "image": _URI,
    "managedDisk": _MANAGED_DISK,
    "name": _TEXT,
    "osType": _TEXT,
    "vhd": _URI,
    "writeAcceleratorEnabled": _TEXT,
}
_ULTRA_DISK: Final[dict[str, Node]] = {  # FROM MEMORY
    name: Leaf("2021-05-01")
    for name in ("bytesPerSecondThrottle", "diskCapacityBytes", "isSharedDisk", "isUltraDisk", "opsPerSecondThrottle")
}

_STORAGE_PROFILE: Final = Object(
    {
        "dataDisks": Array(Object({**_DISK, **_ULTRA_DISK, "lun": _TEXT})),
        "imageReference": Object(
            {"id": _TEXT, "offer": _TEXT, "publisher": _TEXT, "sku": _TEXT, "version": _TEXT},
        ),
        "osDisk": Object({**_DISK, "lun": _TEXT}),
        # FROM MEMORY: 2021-08-01 has it; an earlier version may have it too.
        "resourceDisk": Object({"size": _TEXT}, "2021-08-01"),
    },
    "2019-06-01",
)

COMPUTE: Final = Object(
    {
        "additionalCapabilities": Object({"hibernationEnabled": _TEXT}, "2021-11-01"),  # FROM MEMORY
        "azEnvironment": Leaf("2018-10-01"),
        "customData": Leaf("2019-02-01"),
        "evictionPolicy": Leaf("2020-12-01"),
        "extendedLocation": Object({"name": _TEXT, "type": _TEXT}, "2021-03-01"),  # FROM MEMORY
        "host": Object({"id": _TEXT}, "2021-11-15"),  # FROM MEMORY
        "hostGroup": Object({"id": _TEXT}, "2021-11-15"),  # FROM MEMORY
        "isHostCompatibilityLayerVm": Leaf("2020-06-01"),
        "isVmInStandbyPool": Leaf("2024-07-17"),  # FROM MEMORY
        "licenseType": Leaf("2020-09-01"),
        "location": _TEXT,
        "name": _TEXT,
        "offer": _TEXT,
        "osProfile": Object(
            {
                "adminUsername": _TEXT,
                "computerName": _TEXT,
                "disablePasswordAuthentication": Leaf("2020-10-01"),
            },
            "2020-07-15",
        ),
        "osType": _TEXT,
        "physicalZone": Leaf("2023-11-15"),  # FROM MEMORY
        "placementGroupId": Leaf("2017-08-01"),
        "plan": Object(_PLAN, "2018-04-02"),
        "platformFaultDomain": _TEXT,
        "platformSubFaultDomain": Leaf("2021-10-01"),  # FROM MEMORY
        "platformUpdateDomain": _TEXT,
        "priority": Leaf("2020-12-01"),
        "provider": Leaf("2018-10-01"),
        "publicKeys": Array(Object({"keyData": _TEXT, "path": _TEXT}), "2018-04-02"),
        "publisher": _TEXT,
        "resourceGroupName": Leaf("2017-08-01"),
        "resourceId": Leaf("2019-03-11"),
        "securityProfile": Object(
            {
                "encryptionAtHost": Leaf("2021-11-01"),  # FROM MEMORY
                "secureBootEnabled": _TEXT,
                "securityType": Leaf("2021-12-13"),  # FROM MEMORY
                "virtualTpmEnabled": _TEXT,
            },
            "2020-06-01",
        ),
        "sku": _TEXT,
        "storageProfile": _STORAGE_PROFILE,
        "subscriptionId": Leaf("2017-08-01"),
        "tags": Leaf("2017-08-01"),
        "tagsList": Array(Object({"name": _TEXT, "value": _TEXT}), "2019-06-04"),
        "userData": Leaf("2021-01-01"),  # FROM MEMORY
        "version": _TEXT,
        "virtualMachineScaleSet": Object({"id": _TEXT}, "2021-03-01"),  # FROM MEMORY
        "vmId": _TEXT,
        "vmScaleSetName": Leaf("2017-12-01"),
        "vmSize": _TEXT,
        "zone": Leaf("2017-12-01"),
    },
)

_ADDRESSES: Final = Object({"privateIpAddress": _TEXT, "publicIpAddress": _TEXT})
NETWORK: Final = Object(
    {
        "interface": Array(
            Object(
                {
                    "ipv4": Object(
                        {
                            "ipAddress": Array(_ADDRESSES),
                            "subnet": Array(Object({"address": _TEXT, "prefix": _TEXT})),
                        },
                    ),
                    "ipv6": Object({"ipAddress": Array(Object({"privateIpAddress": _TEXT}))}),
                    "macAddress": _TEXT,
                },
            ),
        ),
    },
)

DERIVED: Final = frozenset({"azEnvironment", "tags"})
"""Elements of compute that the emulator derives from the cloud and from `tagsList`."""


def instance_metadata(vm: VirtualMachine, *, api_version: str) -> dict[str, Json]:
    """Return `/metadata/instance` at `api_version`. A classic VM has only `network` (Azure page: introduction)."""
    network = render(NETWORK, {"interface": list(vm.interfaces)}, api_version=api_version)
    if vm.is_classic:
        return {"network": network}
    return {"compute": render(COMPUTE, _compute(vm), api_version=api_version), "network": network}


def _compute(vm: VirtualMachine) -> dict[str, Json]:
    return {
        **vm.details,
        "azEnvironment": vm.cloud.value,
        "licenseType": vm.license_type,
        "location": vm.region,
        "plan": {"name": vm.plan.name, "product": vm.plan.product, "publisher": vm.plan.publisher},
        "sku": vm.sku,
        "subscriptionId": vm.subscription_id,
        "tags": _tags(vm.details.get("tagsList", [])),
        "vmId": vm.vm_id,
    }


def _tags(tags: Json) -> str:
    """Join tags as `name:value` with semicolons, without escaping (Azure page: Sample 3)."""
    pairs = tags if isinstance(tags, list) else []
    return ";".join(f"{tag.get('name', '')}:{tag.get('value', '')}" for tag in pairs if isinstance(tag, dict))
