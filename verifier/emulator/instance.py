"""Instance metadata: the compute and network elements of Azure's page, each with its first api-version.

The versions are those of the page of 2026 and of its OpenAPI description. tests/support/imds_fields.py has the source
of each one.
"""

from dataclasses import replace
from typing import Final

from verifier.emulator.documents import VirtualMachine
from verifier.emulator.schema import FIRST_VERSION, Array, Json, Leaf, Node, Object, render
from verifier.emulator.versions import EXTENDED_INTRODUCED, PREVIEW_VERSION

_TEXT: Final = Leaf()
_URI: Final = Object({"uri": _TEXT})
_ID: Final = Object({"id": _TEXT})
_MANAGED_DISK: Final = Object({"id": _TEXT, "storageAccountType": _TEXT})
_PLAN: Final = {"name": _TEXT, "product": _TEXT, "publisher": _TEXT}
_ENCRYPTION: Final = Object(
    {
        "diskEncryptionKey": Object({"secretUrl": _TEXT, "sourceVault": _ID}, "2021-11-01"),
        "enabled": _TEXT,
        "keyEncryptionKey": Object({"keyUrl": _TEXT, "sourceVault": _ID}, "2021-11-01"),
    },
)
_DIFF_DISK: Final = Object({"option": _TEXT})

_DISK: Final[dict[str, Node]] = {
    "caching": _TEXT,
    "createOption": _TEXT,
    "diskSizeGB": _TEXT,
    "image": _URI,
    "managedDisk": _MANAGED_DISK,
    "name": _TEXT,
    "vhd": _URI,
    "writeAcceleratorEnabled": _TEXT,
}
_OS_DISK: Final[dict[str, Node]] = {
    **_DISK,
    "diffDiskSettings": _DIFF_DISK,
    "encryptionSettings": _ENCRYPTION,
    # The page of 2021 lists it. The OpenAPI description and recordings do not have it.
    "lun": Leaf(is_optional=True),
    "osType": _TEXT,
}
_DATA_DISK: Final[dict[str, Node]] = {
    **_DISK,
    # The page lists these three. The OpenAPI description and recordings do not have them.
    "diffDiskSettings": replace(_DIFF_DISK, is_optional=True),
    "encryptionSettings": replace(_ENCRYPTION, is_optional=True),
    "osType": Leaf(is_optional=True),
    "lun": _TEXT,
    "bytesPerSecondThrottle": Leaf("2021-05-01"),
    "diskCapacityBytes": Leaf("2021-05-01"),
    "isSharedDisk": Leaf("2021-05-01"),
    "isUltraDisk": Leaf("2021-05-01"),
    "opsPerSecondThrottle": Leaf("2021-05-01"),
}

_STORAGE_PROFILE: Final = Object(
    {
        "dataDisks": Array(Object(_DATA_DISK)),
        "imageReference": Object(
            {
                "communityGalleryImageId": Leaf("2023-07-01"),
                "exactVersion": Leaf("2023-07-01"),
                "id": _TEXT,
                "offer": _TEXT,
                "publisher": _TEXT,
                "sharedGalleryImageId": Leaf("2023-07-01"),
                "sku": _TEXT,
                "version": _TEXT,
            },
        ),
        "osDisk": Object(_OS_DISK),
        "resourceDisk": Object({"size": _TEXT}, "2021-02-01"),
    },
    "2019-06-01",
)

COMPUTE: Final = Object(
    {
        "additionalCapabilities": Object({"hibernationEnabled": _TEXT}, "2021-11-01"),
        "azEnvironment": Leaf("2018-10-01"),
        "customData": Leaf("2019-02-01"),
        "evictionPolicy": Leaf("2020-12-01"),
        "extendedLocation": Object({"name": _TEXT, "type": _TEXT}, "2021-03-01"),
        "host": replace(_ID, introduced="2021-11-15"),
        "hostGroup": replace(_ID, introduced="2021-11-15"),
        "isHostCompatibilityLayerVm": Leaf("2020-06-01"),
        # No page lists it. A recording has it, without `physicalZone`.
        "isVmInStandbyPool": Leaf("2023-11-15"),
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
        "physicalZone": Leaf("2023-11-15", is_optional=True),
        "placementGroupId": Leaf("2017-08-01"),
        "plan": Object(_PLAN, "2018-04-02"),
        "platformFaultDomain": _TEXT,
        "platformSubFaultDomain": Leaf("2021-10-01"),
        "platformUpdateDomain": _TEXT,
        "priority": Leaf("2020-12-01"),
        "provider": Leaf("2018-10-01"),
        "publicKeys": Array(Object({"keyData": _TEXT, "path": _TEXT}), "2018-04-02"),
        "publisher": _TEXT,
        "resourceGroupName": Leaf("2017-08-01"),
        "resourceId": Leaf("2019-03-11"),
        "securityProfile": Object(
            {
                "encryptionAtHost": Leaf("2021-11-01"),
                "secureBootEnabled": _TEXT,
                "securityType": Leaf("2021-12-13"),
                "virtualTpmEnabled": _TEXT,
            },
            "2020-06-01",
        ),
        "sku": _TEXT,
        "storageProfile": _STORAGE_PROFILE,
        "subscriptionId": Leaf("2017-08-01"),
        "tags": Leaf("2017-08-01"),
        "tagsList": Array(Object({"name": _TEXT, "value": _TEXT}), "2019-06-04"),
        "userData": Leaf("2021-01-01"),
        "version": _TEXT,
        "virtualMachineScaleSet": replace(_ID, introduced="2021-03-01"),
        "vmId": _TEXT,
        "vmScaleSetName": Leaf("2017-12-01"),
        "vmSize": _TEXT,
        "zone": Leaf("2017-12-01"),
    },
)

_SUBNET: Final[dict[str, Node]] = {"address": _TEXT, "prefix": _TEXT}
_BLOCKS: Final = Array(Object({"address": _TEXT, "prefix": _TEXT}), "2025-04-07")


def _network(subnet: dict[str, Node]) -> Object:
    addresses = Object({"privateIpAddress": _TEXT, "publicIpAddress": _TEXT})
    ipv4 = Object({"ipAddress": Array(addresses), "ipAddressBlock": _BLOCKS, "subnet": Array(Object(subnet))})
    ipv6 = Object({"ipAddress": Array(Object({"privateIpAddress": _TEXT})), "ipAddressBlock": _BLOCKS})
    return Object({"interface": Array(Object({"ipv4": ipv4, "ipv6": ipv6, "macAddress": _TEXT}))})


NETWORK: Final = _network(_SUBNET)

DESCRIBED_NETWORK: Final = _network({**_SUBNET, "dnsservers": Array(Object({"ipaddress": _TEXT}))})
"""What a file can say about the network. Only the preview version answers with `dnsservers`."""

EXTENDED: Final = Object({"compute": Object({"hasCustomData": Leaf(kind=bool), "ppsType": _TEXT})})
"""What the query parameter `extended=true` adds: the only booleans of IMDS are here."""

DERIVED: Final = frozenset({"azEnvironment", "tags"})
"""Elements of compute that the emulator derives from the cloud and from `tagsList`."""


def instance_metadata(vm: VirtualMachine, *, api_version: str, is_extended: bool = False) -> dict[str, Json]:
    """Return `/metadata/instance` at `api_version`. A classic VM has only `network` (Azure page: introduction)."""
    if api_version == PREVIEW_VERSION:
        network: Json = {"interface": [_preview_interface(interface) for interface in vm.interfaces]}
    else:
        network = render(NETWORK, {"interface": list(vm.interfaces)}, api_version=api_version)
    if vm.is_classic:
        return {"network": network}
    # The preview version has the compute elements of the first version after it.
    compute = render(COMPUTE, _compute(vm), api_version=max(api_version, FIRST_VERSION))
    tree = {"compute": compute, "network": network}
    if is_extended and api_version >= EXTENDED_INTRODUCED:
        tree["extended"] = render(EXTENDED, dict(vm.extended), api_version=api_version)
    return tree


def _preview_interface(interface: Json) -> Json:
    """Return an interface with the names of 2017-03-01 (Azure page of March 2017)."""
    ipv4, ipv6 = _member(interface, "ipv4"), _member(interface, "ipv6")
    return {
        "ipv4": {
            "ipaddress": [
                {"ipaddress": _member(one, "privateIpAddress", ""), "publicip": _member(one, "publicIpAddress", "")}
                for one in _elements(ipv4, "ipAddress")
            ],
            "subnet": [
                {
                    "address": _member(one, "address", ""),
                    "dnsservers": _elements(one, "dnsservers"),
                    "prefix": _member(one, "prefix", ""),
                }
                for one in _elements(ipv4, "subnet")
            ],
        },
        "ipv6": {
            "ipaddress": [{"ipaddress": _member(one, "privateIpAddress", "")} for one in _elements(ipv6, "ipAddress")]
        },
        "mac": _member(interface, "macAddress", ""),
    }


def _member(tree: Json, name: str, default: Json | None = None) -> Json:
    """Return a member, or `default` if it is missing, or an empty object without a default."""
    missing: Json = {} if default is None else default
    return tree.get(name, missing) if isinstance(tree, dict) else missing


def _elements(tree: Json, name: str) -> list[Json]:
    found = _member(tree, name, [])
    return found if isinstance(found, list) else []


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
