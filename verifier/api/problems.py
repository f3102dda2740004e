"""Map each reason and fault to its HTTP status and its documentation (RFC 9457)."""

from enum import StrEnum

from verifier.core.reasons import Reason
from verifier.core.values import dataclass


class RequestFault(StrEnum):
    """Faults of a request that do not concern its evidence."""

    MALFORMED_REQUEST = "malformed-request"
    REQUEST_TIMEOUT = "request-timeout"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate-limited"


class Failure(StrEnum):
    """Failures of the service. They are never verdicts."""

    STORE_UNAVAILABLE = "store-unavailable"
    INTERNAL = "internal"


Code = Reason | RequestFault | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Documentation:
    """Explain one code to the person who receives it."""

    #: By default that of evidence that the service can read and refuses (RFC 9110 section 15.5.21).
    status: int = 422
    title: str
    meaning: str
    remedy: str


DOCUMENTATION: dict[Code, Documentation] = {
    Reason.MALFORMED_EVIDENCE: Documentation(
        status=400,
        title="The evidence is malformed",
        meaning="The body is not an attested document. A document is one DER-encoded CMS SignedData with one signer, and its "
        "content is one strict JSON object. Or the JSON, base64 or PEM around the document is malformed. Or the body is another "
        "answer, such as an error of IMDS, instance metadata or an access token; the detail names it.",
        remedy="Post the answer of GET /metadata/attested/document. A byte order mark, UTF-16 with one, line breaks and base64url "
        "are accepted.",
    ),
    Reason.UNSUPPORTED_ENCODING: Documentation(
        status=400,
        title="The encoding is not supported",
        meaning="The field `encoding` is not `pkcs7`.",
        remedy="Post the answer of IMDS unchanged. Its `encoding` is `pkcs7`.",
    ),
    Reason.TOO_LARGE: Documentation(
        status=413,
        title="The evidence is too large",
        meaning="The body exceeds the limit of this service, which is 16 KiB by default. Real documents have 1.4 to 4.4 KB.",
        remedy="Post only one attested document.",
    ),
    Reason.SIGNATURE_INVALID: Documentation(
        title="The signature is not valid",
        meaning="The signature does not match the content. The content, the signature or the signer's key was changed after signing.",
        remedy="Get a new document from IMDS and post it unchanged. If the error persists, look for software between IMDS and "
        "this service that changes documents.",
    ),
    Reason.ALGORITHM_REFUSED: Documentation(
        title="An algorithm or key is not accepted",
        meaning="The document or its signer's certificate uses a broken digest (MD2, MD5, SHA-1), an RSA key outside 2048 to "
        "8192 bits, an elliptic curve other than P-256, P-384 or P-521, or algorithms that contradict each other.",
        remedy="The agent cannot fix this: Azure does not sign this way. Examine the document with `imds-verifier inspect`.",
    ),
    Reason.SIGNER_NAME_MISMATCH: Documentation(
        title="The signer's name is not that of an Azure metadata service",
        meaning="The signer's common name or alternative names are not in the domain of one Azure cloud, or its certificate is "
        "not a TLS server certificate.",
        remedy="Post a document from IMDS at 169.254.169.254. Look for software on the VM that imitates IMDS.",
    ),
    Reason.CLAIMS_INCOMPLETE: Documentation(
        title="The document lacks required claims",
        meaning="The signed content has no vmId, lacks the required nonce, or has no times although no other check proves its "
        "freshness.",
        remedy="Ask IMDS with `&nonce=` and a nonce of this service, and with api-version 2018-10-01 or later.",
    ),
    Reason.DOCUMENT_EXPIRED: Documentation(
        title="The document is expired or too old",
        meaning="The time in expiresOn has passed, or createdOn is older than the maximum age (6 h by default).",
        remedy="Get a new nonce and a new document. If the service refuses new documents too, compare its clock with UTC. "
        "Appraise an archived document as of an earlier time, with `imds-verifier verify --at`.",
    ),
    Reason.DOCUMENT_NOT_YET_VALID: Documentation(
        title="The document is from the future",
        meaning="The time in createdOn is ahead of this service's clock by more than the allowed skew (60 s by default).",
        remedy="Compare the clock of this service with UTC. For an archived document, name a moment in its lifetime with "
        "`imds-verifier verify --at`.",
    ),
    Reason.CHAIN_UNTRUSTED: Documentation(
        title="The signer does not chain to a trusted root",
        meaning="No chain of currently usable certificates leads from the signer to a trust anchor of its cloud. Or the service "
        "does not serve that cloud (VERIFIER_CLOUDS), or the manifest has closed it. Or the signer's own certificate is at fault, "
        "such as one without an authority key identifier or with a serial number over 20 bytes.",
        remedy="If the service refuses the documents of all VMs, check the trust bundle. If it refuses only this one, the document "
        "is not from Azure.",
    ),
    Reason.ISSUER_UNPINNED: Documentation(
        title="The signer's issuer is not pinned",
        meaning="The trust of this cloud does not contain the signer's issuer, or all pinned certificates of the issuer have "
        "expired. Azure rotated its CAs, or the document is forged.",
        remedy="Look for the issuer that the detail names on Azure's page of certificate authorities: "
        "https://learn.microsoft.com/azure/security/fundamentals/azure-certificate-authority-details. If the page lists it, pin it.",
    ),
    Reason.NONCE_MISMATCH: Documentation(
        title="The nonce does not match",
        meaning="The document carries another nonce than the request names; IMDS may have answered from its cache. Or the service "
        "issued the nonce after the document was created, or for another VM.",
        remedy="If `retryable` is true, wait for the seconds in Retry-After and request a new document from IMDS. If the nonce is "
        "for another VM, get one with the vmId of IMDS: dmidecode shows it in another byte order on Gen1 VMs.",
    ),
    Reason.NONCE_UNKNOWN: Documentation(
        title="The nonce is unknown or expired",
        meaning="This service did not issue the document's nonce to this caller, or the nonce has expired (after 300 s by default). "
        "Or IMDS was asked without a nonce: the document then carries IMDS's default nonce, a time.",
        remedy="Get a nonce from POST /v1/nonces, ask IMDS with `&nonce=` and this nonce, and post the document immediately.",
    ),
    Reason.NONCE_REPLAYED: Documentation(
        status=409,
        title="The nonce was used before",
        meaning="The service has already appraised a document with this nonce. This is a replay, or a second post of the same "
        "document. If nonces are optional: the service has already accepted this content, and IMDS may have answered from its cache.",
        remedy="Get a new nonce and a new document. The service accepts each of them once.",
    ),
    Reason.POLICY_DENIED: Documentation(
        status=403,
        title="A policy does not allow this VM",
        meaning="The document is authentic and fresh, but does not satisfy a policy. The detail names the rule: a claim is absent or "
        "has another value. The policies of the tenant, the nonce and the request all apply. Or the nonce is bound to a policy that "
        "no longer exists.",
        remedy="Compare the claims with the policy. If a claim is absent, use a later api-version of IMDS. If the plan is empty, "
        "the VM was not made from a Marketplace image.",
    ),
    RequestFault.MALFORMED_REQUEST: Documentation(
        status=400,
        title="The request is malformed",
        meaning="The body is not the JSON object that this path requires, or has an unknown field. Or the request has a query "
        "string that the path does not accept, names an unknown policy, or contains a certificate that cannot be pinned.",
        remedy="Correct what the detail names; it also names the known field that is nearest to an unknown one. GET /docs shows "
        "the requests of each path.",
    ),
    RequestFault.REQUEST_TIMEOUT: Documentation(
        status=408,
        title="The body is incomplete",
        meaning="The body ended before its announced length, or did not arrive in time (20 s unless set otherwise). The request was "
        "not processed, and its nonce is still valid.",
        remedy="Send the request again, with the whole body at once.",
    ),
    RequestFault.NOT_FOUND: Documentation(
        status=404,
        title="Not found",
        meaning="This service does not have this path. Or the path names an authority that is not discovered or pinned, or a "
        "denial that does not exist.",
        remedy="Compare the path with GET /docs, and authorities and denials with GET /v1/trust.",
    ),
    RequestFault.METHOD_NOT_ALLOWED: Documentation(
        status=405,
        title="The method is not allowed",
        meaning="The path exists, but does not accept this method.",
        remedy="Use one of the methods in the Allow header.",
    ),
    RequestFault.UNSUPPORTED_MEDIA_TYPE: Documentation(
        status=415,
        title="The media type is not supported",
        meaning="Evidence must be application/json, text/plain, application/pkcs7-mime, application/cms or "
        "application/octet-stream. Other bodies must be application/json. The service accepts no compressed body.",
        remedy="Set Content-Type to the type of the body, one of those in the Accept header. Send the body uncompressed.",
    ),
    RequestFault.UNAUTHENTICATED: Documentation(
        status=401,
        title="A valid API key is required",
        meaning="The request has no Authorization header, more than one, or an unknown key. `/v1/trust` requires an admin key, and "
        "`/v1/decisions` and `/v1/usage` a backend key or an admin key. If the service has tenants, `/v1/inspections` requires one of "
        "these two too, and nonces and attestations a backend key or an agent key.",
        remedy="Send `Authorization: Bearer KEY` once. To add a key, the operator adds its SHA-256 to the settings. Without "
        "admin keys, `/v1/trust` refuses every request; use `imds-verifier trust` on the host of the service.",
    ),
    RequestFault.FORBIDDEN: Documentation(
        status=403,
        title="This kind of key is not allowed here",
        meaning="The key is known, but is not of a kind that this endpoint accepts.",
        remedy="Use an admin key for `/v1/trust`, a backend key or an admin key for `/v1/decisions`, `/v1/usage` and "
        "`/v1/inspections`, and a backend key or an agent key for nonces and attestations.",
    ),
    RequestFault.RATE_LIMITED: Documentation(
        status=429,
        title="Too many requests",
        meaning="The caller has sent more requests to this path than its rate allows; RateLimit-Policy names the rate. With an agent "
        "key, the rate is that of the source address. The request was not processed, and its nonce is still valid. Or the agent's "
        "address or tenant has too many outstanding nonces. Or the VM has posted too many documents; the detail says so, and the "
        "nonce of this document is used.",
        remedy="Wait for the seconds in Retry-After, then send the same request again. If the detail says that the nonce is used, "
        "get a new nonce and a new document.",
    ),
    Failure.STORE_UNAVAILABLE: Documentation(
        status=503,
        title="The service is temporarily unavailable",
        meaning="A store is unavailable, so the service cannot issue or redeem nonces, or read or change operators' trust decisions. "
        "Or the HSM of the signing key is unavailable, so the service cannot sign a result. This is not a verdict.",
        remedy="Wait for the seconds in Retry-After, then send the same request again. The log of the service names the store, "
        "with its file or servers and its setting, or the signing key.",
    ),
    Failure.INTERNAL: Documentation(
        status=500,
        title="Internal error",
        meaning="The service failed. Its log has the error under the requestId. This is not a verdict.",
        remedy="Quote the requestId when you report the error to the operator of the service.",
    ),
}


def find_code(text: str) -> Code:
    """Return the code with this text. Raises KeyError."""
    return {code.value: code for code in DOCUMENTATION}[text]


def type_uri(code: Code) -> str:
    """Return the path of the page that explains the code, for the member `type` (RFC 9457 section 3.1.1)."""
    return f"/problems/{code.value}"
