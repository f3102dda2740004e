"""Convert requests from JSON to types, and results and refusals from types to JSON."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter

from verifier.api.answers import (
    AttestationResultJson,
    ChainLinkJson,
    CheckResultJson,
    ClaimsJson,
    JsonWebKeyJson,
    JsonWebKeySetJson,
    NonceJson,
    PinStatus,
    ReadinessJson,
    SignerJson,
)
from verifier.api.problems import RequestFault
from verifier.api.request_bodies import (
    InvalidBodyError,
    RequestBody,
    decode_object,
    parse_body,
    validate_fields,
)
from verifier.core import evidence
from verifier.core.bounds import MAX_NONCE_CHARACTERS
from verifier.core.encoding.moments import moment_json
from verifier.core.model import AttestationResult, ChainLink, Claims, RawDocument
from verifier.core.reasons import CheckResult, QuotingRefused, Reason
from verifier.core.trust.bundle import Origin, State
from verifier.core.trust.certificates import Certificate
from verifier.core.values import dataclass
from verifier.core.vm_ids import VM_ID_PATTERN, parse_vm_id
from verifier.ports.tokens import PublishedKey
from verifier.usecases.appraise import IssuedNonce, NonceBinding
from verifier.usecases.readiness import Condition

#: A JSON object of any shape.
Json = Mapping[str, object]

_HIDDEN = "Send an admin key or a backend key to see the detail."

PolicyName = Annotated[str, Field(min_length=1, max_length=64)]
_VmId = Annotated[
    str,
    AfterValidator(parse_vm_id),
    # For the OpenAPI document only: the message of `parse_vm_id` is clearer than that of a pattern.
    Field(
        description="The GUID that IMDS names, in any case, perhaps in braces. On Gen1 VMs, dmidecode shows the first "
        "three groups in another byte order.",
        json_schema_extra={"pattern": VM_ID_PATTERN},
    ),
]
_PUBLIC_KEY = TypeAdapter(JsonWebKeyJson)
_Body = TypeVar("_Body", bound=RequestBody)


class RequestError(ValueError):
    """The service cannot process the request.

    `fault` is the code of the problem and `detail` one sentence for the caller. `retry_after` is set if the caller may
    send the same request again. `headers` are those of the answer.
    """

    def __init__(
        self,
        fault: RequestFault,
        detail: str,
        *,
        retry_after: timedelta | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.retry_after = retry_after
        self.headers = headers or {}


class NonceRequest(RequestBody):
    """The body of POST /v1/nonces. The body and each of its fields are optional."""

    vmId: _VmId | None = None  # noqa: N815 - IMDS's name
    policy: PolicyName | None = None
    # RFC 7638 section 3: the base64url form of a SHA-256.
    jkt: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")] | None = None


class AttestationRequest(RequestBody):
    """The JSON body of POST /v1/attestations: the unchanged IMDS answer, and optionally `nonce` and `policy`."""

    encoding: str
    signature: str
    nonce: Annotated[str, Field(min_length=1, max_length=MAX_NONCE_CHARACTERS)] | None = None
    policy: PolicyName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What POST /v1/attestations asks for, in any of its input forms."""

    document: RawDocument
    nonce: str | None = None
    policy: str | None = None


#: The media types of evidence. The first characters of a body tell its form, unless it is a JSON object.
EVIDENCE_TYPES = (
    "application/json",
    "text/plain",
    "application/pkcs7-mime",
    "application/cms",
    "application/octet-stream",
)


def read_nonce_request(media_type: str, body: bytes) -> NonceBinding:
    """Read the body of POST /v1/nonces. Raises RequestError."""
    if not body:
        return NonceBinding()
    request = parse_request(NonceRequest, media_type, body)
    return NonceBinding(vm_id=request.vmId or "", policy=request.policy or "", jkt=request.jkt or "")


def parse_request(model: type[_Body], media_type: str, body: bytes) -> _Body:
    """Parse a request body that must be JSON of this shape. Raises RequestError."""
    if media_type != "application/json":
        raise RequestError(
            RequestFault.UNSUPPORTED_MEDIA_TYPE,
            "Send the body as JSON, with Content-Type: application/json.",
            headers={"Accept": "application/json"},
        )
    try:
        return parse_body(model, body)
    except InvalidBodyError as error:
        raise RequestError(RequestFault.MALFORMED_REQUEST, str(error)) from error


def read_attestation(media_type: str, body: bytes) -> Attestation:
    """Read the body of POST /v1/attestations.

    Raises RequestError for the media type and FormatRefused for the evidence.
    """
    if media_type == "application/json":
        return _read_json_attestation(body)
    if media_type in EVIDENCE_TYPES:
        return Attestation(document=evidence.from_file(body))
    accepted = ", ".join(EVIDENCE_TYPES)
    # RFC 9110 section 15.5.16 asks for Accept.
    raise RequestError(
        RequestFault.UNSUPPORTED_MEDIA_TYPE,
        f"Send evidence with a Content-Type of {accepted}.",
        headers={"Accept": accepted},
    )


def _read_json_attestation(body: bytes) -> Attestation:
    text = evidence.object_text(body)
    if text is None:
        return Attestation(document=evidence.from_file(body))
    try:
        fields = decode_object(text)
        evidence.refuse_other_answers(fields)
        request = validate_fields(AttestationRequest, fields)
    except InvalidBodyError as error:
        raise QuotingRefused(Reason.MALFORMED_EVIDENCE, str(error)) from error
    document = evidence.from_fields(encoding=request.encoding, signature=request.signature)
    return Attestation(document=document, nonce=request.nonce, policy=request.policy)


def nonce_json(issued: IssuedNonce) -> NonceJson:
    return {
        "nonce": issued.nonce,
        "issuedAt": moment_json(issued.issued_at),
        "expiresAt": moment_json(issued.expires_at),
    }


def result_json(result: AttestationResult, *, token: str = "") -> AttestationResultJson:
    """Build the answer for an accepted document, with `token` last if the service issued one."""
    content = result.content
    answer: AttestationResultJson = {
        "verdict": "verified",
        "cloud": content.cloud,
        "claims": claims_json(result.claims),
        "document": dict(content.document),
        "signer": signer_json(content.signer, content.signer_names),
        "chain": [chain_link_json(link) for link in content.chain],
        "checks": checks_json(result.checks),
        "policies": list(result.policies),
        "trustGeneration": content.trust_generation,
        "evaluatedAt": moment_json(result.evaluated_at),
    }
    if token:
        answer["token"] = token
    return answer


def key_set_json(keys: Sequence[PublishedKey]) -> JsonWebKeySetJson:
    """Build the key set (RFC 7517 section 5). Only the members that `JsonWebKeyJson` names are published."""
    return {"keys": [_PUBLIC_KEY.validate_python(dict(key.jwk)) for key in keys]}


def claims_json(claims: Claims) -> ClaimsJson:
    plan = claims.plan
    return {
        "vmId": claims.vm_id,
        "subscriptionId": claims.subscription_id,
        "sku": claims.sku,
        "licenseType": claims.license_type,
        "nonce": claims.nonce,
        "plan": None if plan is None else {"publisher": plan.publisher, "product": plan.product, "name": plan.name},
        "createdOn": None if claims.created_on is None else moment_json(claims.created_on),
        "expiresOn": None if claims.expires_on is None else moment_json(claims.expires_on),
    }


def signer_json(signer: Certificate, names: Sequence[str]) -> SignerJson:
    return {
        "subject": signer.subject,
        "names": list(names),
        "issuer": signer.issuer,
        "serialNumber": signer.serial_hex,
        "sha256": signer.sha256,
        "notAfter": moment_json(signer.not_after),
    }


def chain_link_json(link: ChainLink) -> ChainLinkJson:
    return {
        "subject": link.subject,
        "sha256": link.sha256,
        "notAfter": moment_json(link.not_after),
        "pin": _pin_status(link),
    }


def _pin_status(link: ChainLink) -> PinStatus:
    if link.origin is Origin.ADMITTED:
        return link.origin
    if link.state is State.ACTIVE or link.state is State.EXPIRING:
        return link.state
    raise ValueError(f"a chain contains a certificate that is {link.state}")


def checks_json(checks: Sequence[CheckResult]) -> list[CheckResultJson]:
    return [_check_json(check) for check in checks]


def _check_json(check: CheckResult) -> CheckResultJson:
    answer: CheckResultJson = {"name": check.name, "outcome": check.outcome}
    if check.detail:
        answer["detail"] = check.detail
    return answer


def readiness_json(conditions: Sequence[Condition], *, detailed: bool) -> ReadinessJson:
    """Build the answer. Details may name files and hosts, so it has them only if `detailed`."""
    return {
        "status": "ready" if all(condition.ready for condition in conditions) else "not-ready",
        "conditions": [
            {
                "name": condition.name,
                "ready": condition.ready,
                "detail": condition.detail if detailed or not condition.detail else _HIDDEN,
            }
            for condition in conditions
        ],
    }
