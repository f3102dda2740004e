"""Write an appraisal record as JSON, with the same fields in the service log and in the appraisal log."""

import json

from verifier.core.encoding.moments import moment_json
from verifier.ports.telemetry import AppraisalRecord

_DIGITS = 3


def appraisal_fields(record: AppraisalRecord) -> dict[str, object]:
    """Return every field except the time, which each log adds itself.

    Unknown values are empty and never missing, so that queries need no special case.
    """
    return {
        "requestId": record.request_id,
        "clientRequestId": record.client_request_id,
        "tenant": record.tenant,
        "verdict": record.verdict.value,
        "code": record.code,
        "failedCheck": record.failed_check.value if record.failed_check else "",
        "vmId": record.vm_id,
        "subscriptionId": record.subscription_id,
        "cloud": record.cloud.value if record.cloud else "",
        "signerSerial": record.signer_serial,
        "issuer": record.issuer,
        "policies": list(record.policies),
        "documentSha256": record.document_sha256,
        "milliseconds": round(record.seconds * 1000, _DIGITS),
        "steps": {check.value: round(seconds * 1000, _DIGITS) for check, seconds in record.steps},
    }


def line_of(record: AppraisalRecord) -> str:
    """Return one line of JSON that starts with the time (RFC 3339, UTC)."""
    fields = {"time": moment_json(record.at, "microseconds"), **appraisal_fields(record)}
    return json.dumps(fields, separators=(",", ":"))
