"""The content of an attested document: the JSON about a virtual machine that IMDS signs."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from verifier.emulator.clouds import AzureCloud
from verifier.emulator.schema import Json
from verifier.emulator.versions import ATTESTED_INTRODUCED

# One label of the signer's name (RFC 1035 2.3.4).
_REGION: Final = re.compile(r"[0-9A-Za-z-]{1,63}", re.ASCII)
REGION_RULE: Final = "must be 1 to 63 ASCII letters, digits and hyphens: the name of the signer contains it"

# As in every real document that we have. The example on the page has 5 s.
_LIFETIME: Final = timedelta(hours=6)

# Azure page: Attested data, the table of fields.
_SUBSCRIPTION_ID_INTRODUCED: Final = "2019-04-30"
_SKU_INTRODUCED: Final = "2019-11-01"
_LICENSE_TYPE_INTRODUCED: Final = "2020-09-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketplacePlan:
    """An Azure Marketplace plan: publisher, product (offer) and plan name. All are empty for other images."""

    publisher: str = ""
    product: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedIdentity:
    """An identity of a machine (Azure page: Managed identity). A system-assigned one has no `resource_id`."""

    tenant_id: str
    client_id: str
    object_id: str = ""
    resource_id: str = ""


def _typical_details() -> Mapping[str, Json]:
    return {
        "name": "emulated-vm",
        "osType": "Linux",
        "provider": "Microsoft.Compute",
        "resourceGroupName": "emulated",
        "vmSize": "Standard_D2s_v5",
    }


def _typical_interfaces() -> tuple[Json, ...]:
    # An address for documentation (RFC 5737) and a locally administered MAC address.
    addresses: list[Json] = [{"privateIpAddress": "10.1.0.4", "publicIpAddress": "192.0.2.4"}]
    subnet: list[Json] = [{"address": "10.1.0.0", "prefix": "24"}]
    return ({"ipv4": {"ipAddress": addresses, "subnet": subnet}, "macAddress": "020000000004"},)


def _typical_extension() -> Mapping[str, Json]:
    return {"compute": {"hasCustomData": False, "ppsType": "None"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """What IMDS knows about its machine. The default machine was created from a Marketplace image.

    `details` and `interfaces` are the rest of its instance metadata, with the names and the shape of IMDS. Not checked
    here: their shape. `extended` is what `extended=true` adds for `compute`. `identity` is the system-assigned one,
    beside `user_identities`. `load_balancer` or `identity` None: the machine has none.
    """

    vm_id: str = "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90"
    subscription_id: str = "0f9d6c2b-3b1e-4c55-8a67-2d94e7b1c3f8"
    plan: MarketplacePlan = field(
        default_factory=lambda: MarketplacePlan(publisher="contoso", product="contoso-appliance", name="standard"),
    )
    sku: str = "standard"
    license_type: str = ""
    region: str = "eastus"
    cloud: AzureCloud = AzureCloud.PUBLIC
    is_classic: bool = False
    details: Mapping[str, Json] = field(default_factory=_typical_details)
    interfaces: tuple[Json, ...] = field(default_factory=_typical_interfaces)
    load_balancer: Mapping[str, Json] | None = None
    identity: ManagedIdentity | None = None
    user_identities: tuple[ManagedIdentity, ...] = ()
    extended: Mapping[str, Json] = field(default_factory=_typical_extension)

    def __post_init__(self) -> None:
        if not self.vm_id:
            raise ValueError("a virtual machine needs a vmId: every document has it")
        if not self.region:
            raise ValueError("a virtual machine needs a region: the name of the signer contains it")
        if not is_region(self.region):
            raise ValueError(f"the region {REGION_RULE}")

    @property
    def identities(self) -> tuple[ManagedIdentity, ...]:
        """All identities, the system-assigned one first."""
        return ((self.identity,) if self.identity else ()) + self.user_identities


def is_region(text: str) -> bool:
    """Return True if the name of a signer can contain this region. Not checked: whether Azure has it."""
    return _REGION.fullmatch(text) is not None


def make_content(vm: VirtualMachine, *, now: datetime, api_version: str, nonce: str | None = None) -> bytes:
    """Return the fields of `api_version`, created at `now` (in whole seconds) and valid for 6 hours.

    As in real documents, the JSON is one line with sorted keys, and a missing `nonce` becomes expiresOn as
    YYYYMMDD-HHMMSS (the page says: the current time). Not checked: the form of the nonce.
    """
    if now.tzinfo is None:
        raise ValueError("now must be an aware datetime")
    if api_version < ATTESTED_INTRODUCED:
        raise ValueError(f"attested documents need api-version {ATTESTED_INTRODUCED} or later")
    expires_on = now + _LIFETIME
    if nonce is None:
        nonce = f"{expires_on.astimezone(UTC):%Y%m%d-%H%M%S}"
    if vm.is_classic:
        # "For Classic VMs, only the vmId is guaranteed": a verifier must accept this minimum.
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
