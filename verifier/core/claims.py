"""Decode what the signed content says about its VM: check 4 (Azure page, "Attested data", table of fields)."""

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from verifier.core.bounds import MAX_NONCE_CHARACTERS, MAX_VM_ID_CHARACTERS
from verifier.core.encoding import strict_json
from verifier.core.encoding.strict_json import JsonError
from verifier.core.model import Claims, DecodedClaims, NamedContent, Plan
from verifier.core.reasons import ClaimsRefused, Reason

# `MM/DD/YY HH:MM:SS -0000`, always UTC.
_TIME = re.compile(r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d [+-]0000", re.ASCII)


def decode_claims(named: NamedContent) -> DecodedClaims:
    """Decode one JSON object that has a non-empty `vmId` and known fields of the right types. Raises ClaimsRefused.

    A field that is absent or null becomes None. `document` keeps unknown fields.
    Not checked: whether the document is in its validity window, and whether its claims are true.
    """
    claims, document = read_claims(named.signed.content)
    return DecodedClaims(named=named, claims=claims, document=MappingProxyType(document))


def read_claims(content: bytes) -> tuple[Claims, dict[str, object]]:
    """Return the claims in the content, and the whole object. Raises ClaimsRefused.

    Not checked: everything that `decode_claims` does not check, and whether anybody signed the content.
    """
    try:
        document = strict_json.decode(content)
    except JsonError as error:
        raise _malformed(f"The signed content is not one strict JSON object: {error}.") from error
    times = _times(document)
    claims = Claims(
        vm_id=_vm_id(document),
        subscription_id=_text(document, "subscriptionId"),
        sku=_text(document, "sku"),
        license_type=_text(document, "licenseType"),
        nonce=_bounded_text(document, "nonce", MAX_NONCE_CHARACTERS),
        plan=_plan(document),
        created_on=_time(times, "createdOn"),
        expires_on=_time(times, "expiresOn"),
    )
    return claims, document


def _vm_id(document: Mapping[str, object]) -> str:
    vm_id = _bounded_text(document, "vmId", MAX_VM_ID_CHARACTERS)
    if not vm_id:
        raise ClaimsRefused(Reason.CLAIMS_INCOMPLETE, "The document names no VM: its vmId is missing or empty.")
    return vm_id


def _bounded_text(document: Mapping[str, object], name: str, limit: int) -> str | None:
    text = _text(document, name)
    if text is not None and len(text) > limit:
        raise _malformed(f"The signed {name} is longer than {limit} characters.")
    return text


def _plan(document: Mapping[str, object]) -> Plan | None:
    if document.get("plan") is None:
        return None
    plan = _object(document, "plan")
    return Plan(publisher=_text(plan, "publisher"), product=_text(plan, "product"), name=_text(plan, "name"))


def _times(document: Mapping[str, object]) -> Mapping[str, object]:
    """Return the object with the two times.

    Documents call it `timeStamp`, and the table of the Azure page calls it `timestamp`. Both at once are refused.
    """
    spellings = [name for name in ("timeStamp", "timestamp") if document.get(name) is not None]
    match spellings:
        case []:
            return {}
        case [spelling]:
            return _object(document, spelling)
        case _:
            raise _malformed("The signed content has both timeStamp and timestamp.")


def _time(times: Mapping[str, object], name: str) -> datetime | None:
    text = _text(times, name)
    if not text:
        return None
    if _TIME.fullmatch(text) is None:
        raise _malformed(f"The signed {name} is not of the form MM/DD/YY HH:MM:SS -0000.")
    month, day, year, time = text[:2], text[3:5], text[6:8], text[9:17]
    if time.startswith("24"):  # from Python 3.14 on, fromisoformat reads 24:00:00 as the next day
        raise _no_moment(name)
    try:
        return datetime.fromisoformat(f"20{year}-{month}-{day}T{time}+00:00")
    except ValueError as error:
        raise _no_moment(name) from error


def _no_moment(name: str) -> ClaimsRefused:
    return _malformed(f"The signed {name} is not a date and time that exists.")


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise _malformed(f"The signed {name} is not a string.")


def _object(fields: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = fields.get(name)
    if not isinstance(value, dict):
        raise _malformed(f"The signed {name} is not an object.")
    return value


def _malformed(detail: str) -> ClaimsRefused:
    return ClaimsRefused(Reason.MALFORMED_EVIDENCE, detail)
