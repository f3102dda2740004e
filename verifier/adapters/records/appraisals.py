"""A decision as fields of JSON: the same in the log and in the audit trail."""

import json

from verifier.ports.telemetry import AppraisalRecord

_DIGITS = 3


def appraisal_fields(decision: AppraisalRecord) -> dict[str, object]:
    """Every field, each time, so that a query needs no case for one that is missing; empty where it was not reached.
    The moment is not among them: the log has its own."""
    return {
        "requestId": decision.request_id,
        "clientRequestId": decision.client_request_id,
        "tenant": decision.tenant,
        "verdict": decision.verdict.value,
        "code": decision.code,
        "failedCheck": decision.failed_check.value if decision.failed_check else "",
        "vmId": decision.vm_id,
        "subscriptionId": decision.subscription_id,
        "cloud": decision.cloud.value if decision.cloud else "",
        "signerSerial": decision.signer_serial,
        "issuer": decision.issuer,
        "policies": list(decision.policies),
        "documentSha256": decision.document_sha256,
        "milliseconds": round(decision.seconds * 1000, _DIGITS),
        "steps": {check.value: round(seconds * 1000, _DIGITS) for check, seconds in decision.steps},
    }


def line_of(decision: AppraisalRecord) -> str:
    """One JSON object, with its moment first (RFC 3339, UTC), and no line break."""
    moment = decision.at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({"time": moment, **appraisal_fields(decision)}, separators=(",", ":"))
