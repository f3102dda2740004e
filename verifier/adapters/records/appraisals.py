"""Write an appraisal record as JSON, with the same fields in the service log, in the stores and in the API."""

from typing import Final

from verifier.core.encoding.json_text import encode_json
from verifier.core.encoding.moments import moment_json
from verifier.core.model import Claims
from verifier.core.policy import Denial
from verifier.ports.decisions import AppraisalRecord

#: The version of the form. A later release reads this one.
VERSION: Final = 1
_DIGITS = 3


def appraisal_fields(record: AppraisalRecord) -> dict[str, object]:
    """Return every field except the time, which each log adds itself. Enumerations stay: they are texts too.

    Unknown values are empty and never missing, so that queries need no special case.
    """
    return {
        "requestId": record.request_id,
        "clientRequestId": record.client_request_id,
        "tenant": record.tenant,
        "key": record.key,
        "route": record.route,
        "verdict": record.verdict,
        "code": record.code,
        "detail": record.detail,
        "failedCheck": record.failed_check or "",
        **_claims(record.claims),
        "cloud": record.cloud or "",
        "signerSerial": record.signer_serial,
        "issuer": record.issuer,
        "policies": list(record.policies),
        "denial": None if record.denial is None else _denial(record.denial),
        "documentSha256": record.document_sha256,
        "milliseconds": round(record.seconds * 1000, _DIGITS),
        "steps": {check.value: round(seconds * 1000, _DIGITS) for check, seconds in record.steps},
    }


def line_of(record: AppraisalRecord) -> str:
    """Return one line of JSON that starts with the version and the time (RFC 3339, UTC)."""
    fields = {"version": VERSION, "time": moment_json(record.at, "microseconds"), **appraisal_fields(record)}
    return encode_json(fields).decode("ascii")


def _claims(claims: Claims | None) -> dict[str, object]:
    plan = claims.plan if claims else None
    return {
        "vmId": claims.vm_id if claims else "",
        "subscriptionId": (claims.subscription_id or "") if claims else "",
        "plan": {
            "publisher": (plan.publisher or "") if plan else "",
            "product": (plan.product or "") if plan else "",
            "name": (plan.name or "") if plan else "",
        },
        "sku": (claims.sku or "") if claims else "",
        "licenseType": (claims.license_type or "") if claims else "",
    }


def _denial(denial: Denial) -> dict[str, object]:
    return {
        "policy": denial.policy,
        "rule": denial.rule,
        "found": denial.found,
        "allowed": list(denial.allowed),
        "allowedCount": denial.allowed_count,
    }
