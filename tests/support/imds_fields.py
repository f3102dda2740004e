"""The table of fields of `/metadata/instance`, each with its first api-version and the source of that.

It is made from the sources, and not from the emulator's schema. `[]` is each element of an array.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from support.imds_sources import (
    CLOUD_INIT,
    PAGE_2017,
    PAGE_2021,
    PAGE_2026,
    RECORDED_EXTENDED,
    RECORDED_NETWORK,
    SWAGGER,
    Source,
)

PREVIEW = "2017-03-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A leaf or an array of leaves. `is_optional`: absent unless the machine has it. `last` is its last version."""

    path: str
    first: str
    source: Source
    is_optional: bool = False
    last: str = "9999-12-31"

    def is_at(self, version: str) -> bool:
        return self.first <= version <= self.last


def _since(
    source: Source, prefix: str, fields: Mapping[str, tuple[str, ...]], *, optional: bool = False
) -> list[Field]:
    return [
        Field(path=f"{prefix}{name}", first=version, source=source, is_optional=optional)
        for version, names in fields.items()
        for name in names
    ]


def _preview() -> list[Field]:
    interface = "network.interface[]."
    names = (
        *("ipv4.ipaddress[].ipaddress", "ipv4.ipaddress[].publicip", "ipv4.subnet[].address"),
        *("ipv4.subnet[].dnsservers[].ipaddress", "ipv4.subnet[].prefix", "ipv6.ipaddress[].ipaddress", "mac"),
    )
    return [Field(path=interface + name, first=PREVIEW, last=PREVIEW, source=PAGE_2017) for name in names]


_DISK = (
    *("caching", "createOption", "diskSizeGB", "image.uri", "managedDisk.id", "managedDisk.storageAccountType"),
    *("name", "vhd.uri", "writeAcceleratorEnabled"),
)
_KEYS = (
    *("diskEncryptionKey.secretUrl", "diskEncryptionKey.sourceVault.id"),
    *("keyEncryptionKey.keyUrl", "keyEncryptionKey.sourceVault.id"),
)

FIELDS = (
    *_since(
        PAGE_2017,
        "compute.",
        {
            PREVIEW: (
                *("location", "name", "offer", "osType", "platformFaultDomain", "platformUpdateDomain"),
                *("publisher", "sku", "version", "vmId", "vmSize"),
            ),
        },
    ),
    *_since(
        PAGE_2021,
        "compute.",
        {
            "2017-08-01": ("placementGroupId", "resourceGroupName", "subscriptionId", "tags"),
            "2017-12-01": ("vmScaleSetName", "zone"),
            "2018-04-02": (
                *("plan.name", "plan.product", "plan.publisher", "publicKeys[].keyData", "publicKeys[].path"),
            ),
            "2018-10-01": ("azEnvironment", "provider"),
            "2019-02-01": ("customData",),
            "2019-03-11": ("resourceId",),
            "2019-06-04": ("tagsList[].name", "tagsList[].value"),
            "2020-06-01": (
                *("isHostCompatibilityLayerVm", "securityProfile.secureBootEnabled"),
                "securityProfile.virtualTpmEnabled",
            ),
            "2020-07-15": ("osProfile.adminUsername", "osProfile.computerName"),
            "2020-09-01": ("licenseType",),
            "2020-10-01": ("osProfile.disablePasswordAuthentication",),
            "2020-12-01": ("evictionPolicy", "priority"),
        },
    ),
    *_since(
        PAGE_2026,
        "compute.",
        {
            "2021-01-01": ("userData",),
            "2021-03-01": ("extendedLocation.name", "extendedLocation.type", "virtualMachineScaleSet.id"),
            "2021-10-01": ("platformSubFaultDomain",),
            "2021-11-01": ("additionalCapabilities.hibernationEnabled", "securityProfile.encryptionAtHost"),
            "2021-11-15": ("host.id", "hostGroup.id"),
            "2021-12-13": ("securityProfile.securityType",),
        },
    ),
    # The page lists it without this exception. The recording of its first version does not have it.
    Field(path="compute.physicalZone", first="2023-11-15", source=RECORDED_EXTENDED, is_optional=True),
    # The Swagger of the version before does not have it.
    Field(path="compute.isVmInStandbyPool", first="2023-11-15", source=RECORDED_EXTENDED),
    *_since(
        PAGE_2026,
        "compute.storageProfile.imageReference.",
        {
            "2019-06-01": ("id", "offer", "publisher", "sku", "version"),
            "2023-07-01": ("communityGalleryImageId", "exactVersion", "sharedGalleryImageId"),
        },
    ),
    *_since(
        SWAGGER,
        "compute.storageProfile.osDisk.",
        {"2019-06-01": (*_DISK, "diffDiskSettings.option", "encryptionSettings.enabled", "osType")},
    ),
    *_since(PAGE_2026, "compute.storageProfile.osDisk.encryptionSettings.", {"2021-11-01": _KEYS}),
    *_since(PAGE_2021, "compute.storageProfile.osDisk.", {"2019-06-01": ("lun",)}, optional=True),
    *_since(SWAGGER, "compute.storageProfile.dataDisks[].", {"2019-06-01": (*_DISK, "lun")}),
    *_since(
        PAGE_2026,
        "compute.storageProfile.dataDisks[].",
        {
            "2021-05-01": (
                *("bytesPerSecondThrottle", "diskCapacityBytes", "isSharedDisk", "isUltraDisk"),
                "opsPerSecondThrottle",
            ),
        },
    ),
    # The page lists them. The Swagger and the recordings do not have them.
    *_since(
        PAGE_2026,
        "compute.storageProfile.dataDisks[].",
        {"2019-06-01": ("diffDiskSettings.option", "encryptionSettings.enabled", "osType")},
        optional=True,
    ),
    *_since(PAGE_2026, "compute.storageProfile.dataDisks[].encryptionSettings.", {"2021-11-01": _KEYS}, optional=True),
    *_since(PAGE_2026, "compute.storageProfile.resourceDisk.", {"2021-02-01": ("size",)}),
    *_preview(),
    *_since(
        PAGE_2021,
        "network.interface[].",
        {
            "2017-04-02": (
                *("ipv4.ipAddress[].privateIpAddress", "ipv4.ipAddress[].publicIpAddress", "ipv4.subnet[].address"),
                *("ipv4.subnet[].prefix", "ipv6.ipAddress[].privateIpAddress", "macAddress"),
            ),
        },
    ),
    # The recording has empty arrays: the members of their elements are those of a subnet.
    *_since(
        RECORDED_NETWORK,
        "network.interface[].",
        {
            "2025-04-07": (
                *("ipv4.ipAddressBlock[].address", "ipv4.ipAddressBlock[].prefix"),
                *("ipv6.ipAddressBlock[].address", "ipv6.ipAddressBlock[].prefix"),
            ),
        },
    ),
    *_since(CLOUD_INIT, "extended.compute.", {"2021-03-01": ("hasCustomData", "ppsType")}),
)


def paths_of(tree: object, at: str = "") -> Iterator[str]:
    """Yield the path of each leaf of a tree, with `[]` for each index. An empty array has no leaf."""
    if isinstance(tree, dict):
        for name, member in tree.items():
            yield from paths_of(member, f"{at}.{name}" if at else name)
    elif isinstance(tree, list):
        for element in tree:
            yield from paths_of(element, f"{at}[]")
    else:
        yield at
