"""Types to JSON and back: what requests say, and what results and refusals look like."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from verifier.api.problems import DOCUMENTATION, Code, RequestFault, type_uri
from verifier.core import evidence
from verifier.core.bounds import MAX_NONCE_CHARACTERS, MAX_VM_ID_CHARACTERS
from verifier.core.encoding import strict_json
from verifier.core.encoding.strict_json import JsonError
from verifier.core.model import AttestationResult, Claims, RawDocument
from verifier.core.reasons import CheckResult, FormatRefused, Reason, Refused
from verifier.core.trust.bundle import Origin
from verifier.core.trust.certificates import Certificate
from verifier.ports.tokens import PublishedKey
from verifier.usecases.appraise import IssuedNonce, NonceBinding

Json = dict[str, object]

_PolicyName = Annotated[str, Field(min_length=1, max_length=64)]


class RequestError(ValueError):
    """A request that is not understood, or not taken; `fault` is its code, the message one sentence for who sent it.
    `retry_after` is set where the same request may be sent again."""

    def __init__(self, fault: RequestFault, detail: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.retry_after = retry_after


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NonceRequest(_Request):
    """The body of POST /v1/nonces; everything in it is optional, and so is the body."""

    vmId: Annotated[str, Field(min_length=1, max_length=MAX_VM_ID_CHARACTERS)] | None = None  # noqa: N815 - IMDS's name
    policy: _PolicyName | None = None
    # RFC 7638 section 3: the base64url of a SHA-256.
    jkt: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")] | None = None


class AttestationRequest(_Request):
    """The body of POST /v1/attestations as JSON: the IMDS answer, untouched, and two fields beside it."""

    encoding: str
    signature: str
    nonce: Annotated[str, Field(min_length=1, max_length=MAX_NONCE_CHARACTERS)] | None = None
    policy: _PolicyName | None = None


class Attestation(BaseModel):
    """What POST /v1/attestations asks for, whichever form it came in."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    document: RawDocument
    nonce: str | None = None
    policy: str | None = None


_BINARY_TYPES = frozenset({"application/pkcs7-mime", "application/cms", "application/octet-stream"})


def read_nonce_request(media_type: str, body: bytes) -> NonceBinding:
    """Raises RequestError."""
    if not body:
        return NonceBinding()
    if media_type != "application/json":
        raise RequestError(RequestFault.UNSUPPORTED_MEDIA_TYPE, "The body of this request is application/json.")
    try:
        request = NonceRequest.model_validate(strict_json.decode(body))
    except JsonError as error:
        raise RequestError(RequestFault.MALFORMED_REQUEST, f"The body is not understood: {error}.") from error
    except ValidationError as error:
        raise RequestError(RequestFault.MALFORMED_REQUEST, _explain(error)) from error
    return NonceBinding(vm_id=request.vmId or "", policy=request.policy or "", jkt=request.jkt or "")


def read_attestation(media_type: str, body: bytes) -> Attestation:
    """Raises RequestError for the media type, FormatRefused for the evidence."""
    if media_type == "application/json":
        return _read_json_attestation(body)
    if media_type == "text/plain":
        return Attestation(document=evidence.from_text(body))
    if media_type in _BINARY_TYPES:
        return Attestation(document=evidence.from_der(body))
    raise RequestError(
        RequestFault.UNSUPPORTED_MEDIA_TYPE,
        "Evidence is JSON, text/plain, application/pkcs7-mime, application/cms or application/octet-stream.",
    )


def _read_json_attestation(body: bytes) -> Attestation:
    try:
        request = AttestationRequest.model_validate(strict_json.decode(body))
    except JsonError as error:
        raise FormatRefused(Reason.MALFORMED_EVIDENCE, f"The body is not understood: {error}.") from error
    except ValidationError as error:
        raise FormatRefused(Reason.MALFORMED_EVIDENCE, _explain(error)) from error
    document = evidence.from_fields(encoding=request.encoding, signature=request.signature)
    return Attestation(document=document, nonce=request.nonce, policy=request.policy)


def _explain(error: ValidationError) -> str:
    """Which field is wrong and how, without what it holds; a field that is not known is not repeated either."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "extra_forbidden":
        return "The body has a field that is not known."
    return f"The field '{'.'.join(str(part) for part in first['loc'])}' is wrong: {first['msg']}."


def nonce_json(issued: IssuedNonce) -> Json:
    return {
        "nonce": issued.nonce,
        "issuedAt": moment_json(issued.issued_at),
        "expiresAt": moment_json(issued.expires_at),
    }


def result_json(result: AttestationResult, *, token: str = "") -> Json:
    """The attestation result. Everything but `policies`, `checks` and `evaluatedAt` is signed, or is who signed.
    `token`, where there is one, comes last."""
    content = result.content
    signed = content.decoded.named.signed
    return {
        "verdict": "verified",
        "cloud": content.cloud.value,
        "claims": claims_json(result.claims),
        "document": dict(content.document),
        "signer": signer_json(signed.signer, content.signer_names),
        "chain": [
            {
                "subject": link.subject,
                "sha256": link.sha256,
                "notAfter": moment_json(link.not_after),
                "pin": link.origin.value if link.origin is Origin.ADMITTED else link.state.value,
            }
            for link in content.chain
        ],
        "checks": checks_json(result.checks),
        "policies": list(result.policies),
        "trustGeneration": content.trust_generation,
        "evaluatedAt": moment_json(result.evaluated_at),
        **({"token": token} if token else {}),
    }


def key_set_json(keys: Sequence[PublishedKey]) -> Json:
    """RFC 7517 section 5."""
    return {"keys": [dict(key.jwk) for key in keys]}


def claims_json(claims: Claims) -> Json:
    """Every claim that is known of; null where the document does not carry it."""
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


def signer_json(signer: Certificate, names: Sequence[str]) -> Json:
    return {
        "subject": signer.subject,
        "names": list(names),
        "issuer": signer.issuer,
        "serialNumber": signer.serial_hex,
        "sha256": signer.sha256,
        "notAfter": moment_json(signer.not_after),
    }


def checks_json(checks: Sequence[CheckResult]) -> list[Json]:
    return [
        {"name": check.name.value, "outcome": check.outcome.value, **({"detail": check.detail} if check.detail else {})}
        for check in checks
    ]


def problem_json(code: Code, detail: str, *, request_id: str = "") -> Json:
    """RFC 9457, for everything that is not a result."""
    documentation = DOCUMENTATION[code]
    return {
        "type": type_uri(code),
        "title": documentation.title,
        "status": documentation.status,
        "detail": detail,
        "code": code.value,
        "checks": [],
        "retryable": False,
        "requestId": request_id,
    }


def refusal_json(refused: Refused, *, request_id: str = "") -> Json:
    """The problem of a refusal; `retryAfterSeconds` stands where `retryable` is true."""
    problem = problem_json(refused.reason, refused.detail, request_id=request_id)
    problem["checks"] = checks_json(refused.checks)
    if refused.retry_after is not None:
        problem |= {"retryable": True, "retryAfterSeconds": int(refused.retry_after.total_seconds())}
    return problem


def moment_json(moment: datetime) -> str:
    """RFC 3339, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
