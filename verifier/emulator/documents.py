"""The content of an attested document: what IMDS says about a virtual machine, as the JSON text that it signs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from verifier.emulator.clouds import Cloud
from verifier.emulator.schema import Json
from verifier.emulator.versions import ATTESTED_INTRODUCED

LIFE: Final = timedelta(hours=6)
"""Of every real document seen; the page's example has 5 s."""

# Azure page: Attested data, the table of fields with the version that introduced each.
_SUBSCRIPTION_ID_INTRODUCED: Final = "2019-04-30"
_SKU_INTRODUCED: Final = "2019-11-01"
_LICENSE_TYPE_INTRODUCED: Final = "2020-09-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An Azure Marketplace plan: publisher, product (offer) and plan name; all empty for other images."""

    publisher: str = ""
    product: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedIdentity:
    """The system-assigned identity of a machine (Azure page: Managed identity)."""

    tenant_id: str
    client_id: str


def _typical_details() -> Mapping[str, Json]:
    return {
        "name": "emulated-vm",
        "osType": "Linux",
        "provider": "Microsoft.Compute",
        "resourceGroupName": "emulated",
        "vmSize": "Standard_D2s_v5",
    }


def _typical_interfaces() -> tuple[Json, ...]:
    # RFC 5737 and a locally administered MAC address: nobody's.
    addresses: list[Json] = [{"privateIpAddress": "10.1.0.4", "publicIpAddress": "192.0.2.4"}]
    subnet: list[Json] = [{"address": "10.1.0.0", "prefix": "24"}]
    return ({"ipv4": {"ipAddress": addresses, "subnet": subnet}, "macAddress": "020000000004"},)


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """What IMDS knows of the machine that asks; by default one made from a Marketplace image.

    `details` and `interfaces` are the rest of its instance metadata, in the names and the shape of IMDS; that they
    are is for whoever reads them to check. None as `load_balancer` or `identity`: it has none.
    """

    vm_id: str = "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90"
    subscription_id: str = "0f9d6c2b-3b1e-4c55-8a67-2d94e7b1c3f8"
    plan: Plan = field(
        default_factory=lambda: Plan(publisher="contoso", product="contoso-appliance", name="standard"),
    )
    sku: str = "standard"
    license_type: str = ""
    region: str = "eastus"
    cloud: Cloud = Cloud.PUBLIC
    is_classic: bool = False
    details: Mapping[str, Json] = field(default_factory=_typical_details)
    interfaces: tuple[Json, ...] = field(default_factory=_typical_interfaces)
    load_balancer: Mapping[str, Json] | None = None
    identity: ManagedIdentity | None = None

    def __post_init__(self) -> None:
        if not self.vm_id:
            raise ValueError("a virtual machine needs a vmId: it is the one field that is always populated")
        if not self.region:
            raise ValueError("a virtual machine needs a region: it is part of the signer's name")


def make_content(vm: VirtualMachine, *, now: datetime, api_version: str, nonce: str | None = None) -> bytes:
    """The fields of `api_version` about `vm`, created at `now` (to the second), expiring 6 hours later.

    The text is that of the real documents: one line, keys in alphabetical order. A missing `nonce` becomes expiresOn
    as YYYYMMDD-HHMMSS, as in the real ones (the page says: the current time). The nonce's form is not checked.
    """
    if now.tzinfo is None:
        raise ValueError("a document needs an aware datetime")
    if api_version < ATTESTED_INTRODUCED:
        raise ValueError(f"there are no attested documents before {ATTESTED_INTRODUCED}")
    expires_on = now + LIFE
    if nonce is None:
        nonce = f"{expires_on.astimezone(UTC):%Y%m%d-%H%M%S}"
    if vm.is_classic:
        # "For Classic VMs, only the vmId is guaranteed": the least that a verifier has to live with, and the nonce.
        return _encode({"nonce": nonce, "vmId": vm.vm_id})
    fields: dict[str, object] = {
        "nonce": nonce,
        "plan": {"name": vm.plan.name, "product": vm.plan.product, "publisher": vm.plan.publisher},
        "timeStamp": {"createdOn": _format_time(now), "expiresOn": _format_time(expires_on)},
        "vmId": vm.vm_id,
    }
    if api_version >= _SUBSCRIPTION_ID_INTRODUCED:
        fields["subscriptionId"] = vm.subscription_id
    if api_version >= _SKU_INTRODUCED:
        fields["sku"] = vm.sku
    if api_version >= _LICENSE_TYPE_INTRODUCED:
        fields["licenseType"] = vm.license_type
    return _encode(fields)


def _encode(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _format_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%m/%d/%y %H:%M:%S} -0000"
