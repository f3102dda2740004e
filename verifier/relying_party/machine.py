"""Read the claims of a result token into typed values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3]):\d{2}:\d{2}(?:\.\d{1,6})?Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The start of the year 9000: a leeway can be added to each time before it.
_LAST_SECOND = 221_845_392_000


class ClaimsError(ValueError):
    """Report a claim that is missing or has the wrong type. The message names it, and quotes no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Hold the Marketplace plan of the VM's image."""

    publisher: str | None
    product: str | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedMachine:
    """Hold what the verifier signed about a VM. Each claim that the document does not carry is None.

    `key_thumbprint` is the RFC 7638 thumbprint of the VM's key, if the token is bound to one and the proof passed.
    Not claimed: the VM's software, hardware or configuration, on which the document is silent.
    """

    vm_id: str
    subscription_id: str | None
    sku: str | None
    license_type: str | None
    plan: Plan | None
    cloud: str
    created_on: datetime | None
    expires_on: datetime | None
    trust_generation: str
    signer_sha256: str
    nonce: str
    tenant: str
    policies: tuple[str, ...]
    token_id: str
    token_issued_at: datetime
    token_expires_at: datetime
    key_thumbprint: str | None


def member(fields: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = fields.get(name)
    if not isinstance(value, dict):
        raise ClaimsError(f"the claim {name!r} is missing or is not an object")
    return value


def text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ClaimsError(f"the claim {name!r} is missing or is not a string")
    return value


def optional_text(fields: Mapping[str, object], name: str) -> str | None:
    """Return the string or None for null. The claim must be present."""
    value = fields.get(name, False)
    if value is not None and not isinstance(value, str):
        raise ClaimsError(f"the claim {name!r} is missing or is neither a string nor null")
    return value


def texts(fields: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = fields.get(name)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ClaimsError(f"the claim {name!r} is missing or is not a list of strings")
    return tuple(value)


def numeric_date(fields: Mapping[str, object], name: str) -> float:
    """Return a NumericDate (RFC 7519 section 2): seconds, of full precision for comparisons."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_SECOND:
        raise ClaimsError(f"the claim {name!r} is missing or is not a time")
    return value


def seconds_of(time: datetime) -> float:
    """Return a time as a NumericDate. Raises TypeError for a time without a zone, which may mean any zone."""
    return (time - _EPOCH).total_seconds()


def moment(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


def optional_moment(fields: Mapping[str, object], name: str) -> datetime | None:
    value = optional_text(fields, name)
    if value is None:
        return None
    try:
        if _MOMENT.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise ClaimsError(f"the claim {name!r} is not a time in UTC")


def optional_plan(fields: Mapping[str, object], name: str) -> Plan | None:
    if name in fields and fields[name] is None:
        return None
    plan = member(fields, name)
    return Plan(
        publisher=optional_text(plan, "publisher"),
        product=optional_text(plan, "product"),
        name=optional_text(plan, "name"),
    )
