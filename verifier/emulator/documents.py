"""The content of an attested document: what IMDS says about a virtual machine, as the JSON text that it signs."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

INTRODUCED: Final = "2018-10-01"
"""The api-version that brought attested documents (Azure page: Endpoint categories)."""

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
class VirtualMachine:
    """What IMDS knows of the machine that asks; by default one made from a Marketplace image."""

    vm_id: str = "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90"
    subscription_id: str = "0f9d6c2b-3b1e-4c55-8a67-2d94e7b1c3f8"
    plan: Plan = field(
        default_factory=lambda: Plan(publisher="contoso", product="contoso-appliance", name="standard"),
    )
    sku: str = "standard"
    license_type: str = ""
    region: str = "eastus"

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
    if api_version < INTRODUCED:
        raise ValueError(f"there are no attested documents before {INTRODUCED}")
    expires_on = now + LIFE
    fields: dict[str, object] = {
        "nonce": f"{expires_on.astimezone(UTC):%Y%m%d-%H%M%S}" if nonce is None else nonce,
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
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _format_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%m/%d/%y %H:%M:%S} -0000"
