"""Every code that an answer can carry, with its status and its documentation (RFC 9457). The one place where
a reason becomes HTTP."""

from dataclasses import dataclass
from enum import StrEnum

from verifier.core.reasons import Reason


class RequestFault(StrEnum):
    """What is wrong with a request, apart from its evidence."""

    MALFORMED_REQUEST = "malformed-request"
    REQUEST_TIMEOUT = "request-timeout"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate-limited"


class Failure(StrEnum):
    """What went wrong on this side: never a verdict."""

    STORE_UNAVAILABLE = "store-unavailable"
    INTERNAL = "internal"


Code = Reason | RequestFault | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Documentation:
    """What one code means. `meaning` and `remedy` are for the person who meets it."""

    status: int
    title: str
    meaning: str
    remedy: str


DOCUMENTATION: dict[Code, Documentation] = {
    Reason.MALFORMED_EVIDENCE: Documentation(
        status=400,
        title="The evidence is malformed",
        meaning="What was posted is not one DER-encoded CMS SignedData with one signer, whose content is one strict "
        "JSON object, or its wrapping (JSON, base64, PEM) is broken.",
        remedy="Post the answer of GET /metadata/attested/document as IMDS gave it, byte for byte.",
    ),
    Reason.UNSUPPORTED_ENCODING: Documentation(
        status=400,
        title="The encoding is not supported",
        meaning="The field `encoding` names something other than pkcs7.",
        remedy="Post the answer of IMDS untouched; it says pkcs7.",
    ),
    Reason.TOO_LARGE: Documentation(
        status=413,
        title="The evidence is too large",
        meaning="The body is larger than the service reads: 16 KiB unless set otherwise. Real documents have 1.4 to 4.4 KB.",
        remedy="Post one attested document and nothing else.",
    ),
    Reason.SIGNATURE_INVALID: Documentation(
        status=422,
        title="The signature does not fit the content",
        meaning="The content, the signature or the signer's key was changed after signing.",
        remedy="Fetch the document from IMDS again, and post it unchanged. If it happens again, something between "
        "IMDS and this service changes documents.",
    ),
    Reason.ALGORITHM_REFUSED: Documentation(
        status=422,
        title="An algorithm or key is too weak, or not accepted",
        meaning="The document or its signer's certificate uses a broken digest (MD2, MD5, SHA-1), an RSA key outside 2048 to "
        "8192 bits, another curve than P-256, P-384 or P-521, or algorithms that contradict each other.",
        remedy="Nothing that an agent can do: Azure does not sign like this. Look at the document with `imds-verifier inspect`.",
    ),
    Reason.SIGNER_NAME_MISMATCH: Documentation(
        status=422,
        title="The signer is not an Azure metadata service by name",
        meaning="The signer's common name or alternative names are not in the domain of one Azure cloud, "
        "or its certificate is not one of a TLS server.",
        remedy="Post a document from IMDS at 169.254.169.254, not from something that imitates it.",
    ),
    Reason.CLAIMS_INCOMPLETE: Documentation(
        status=422,
        title="The document lacks what is needed",
        meaning="The signed content names no VM, carries no nonce where one is required, or has no times where nothing else "
        "shows that it is fresh.",
        remedy="Ask IMDS with the nonce issued here, and with api-version 2018-10-01 or later.",
    ),
    Reason.DOCUMENT_EXPIRED: Documentation(
        status=422,
        title="The document is expired or too old",
        meaning="Its expiresOn has passed, or its createdOn lies further back than the maximum age (6 h unless set otherwise).",
        remedy="Fetch a new document. If new ones are refused too, compare this service's clock with UTC.",
    ),
    Reason.DOCUMENT_NOT_YET_VALID: Documentation(
        status=422,
        title="The document lies in the future",
        meaning="Its createdOn is later than this service's clock, by more than the skew allowed (60 s unless set otherwise).",
        remedy="Compare this service's clock with UTC.",
    ),
    Reason.CHAIN_UNTRUSTED: Documentation(
        status=422,
        title="The signer does not chain to a trusted root",
        meaning="No chain of usable certificates leads from the signer to an anchor of the cloud that it names, at this moment.",
        remedy="If documents of all VMs are refused, look at the trust bundle; if only this one is, it is not from Azure.",
    ),
    Reason.ISSUER_UNPINNED: Documentation(
        status=422,
        title="The signer's issuer is not pinned",
        meaning="The signer names an issuer that is not among the pinned authorities of its cloud: Azure has changed its "
        "authorities, or the document is forged.",
        remedy="Compare the issuer named in the detail with Azure's page of certificate authorities, and pin it if it is there.",
    ),
    Reason.NONCE_MISMATCH: Documentation(
        status=422,
        title="The nonce is not the right one",
        meaning="The document carries another nonce than the request names (IMDS may answer from its cache), or its nonce was "
        "issued later than the document was made, for another VM or for another policy.",
        remedy="Where `retryable` is true: wait as long as Retry-After says, and ask IMDS again.",
    ),
    Reason.NONCE_UNKNOWN: Documentation(
        status=422,
        title="The nonce was not issued here, or is expired",
        meaning="The document's nonce is not one that this service issued to this caller within its lifetime (300 s unless "
        "set otherwise).",
        remedy="Get a nonce from POST /v1/nonces, ask IMDS with it, and post the document at once.",
    ),
    Reason.NONCE_REPLAYED: Documentation(
        status=409,
        title="The nonce was used before",
        meaning="A document with this nonce was appraised before: this is a replay, or a second post of the same document. "
        "Where nonces are optional: one with this content was, and IMDS may have answered from its cache.",
        remedy="Get a new nonce and a new document; each is good for one acceptance.",
    ),
    Reason.POLICY_DENIED: Documentation(
        status=403,
        title="The policy does not allow this VM",
        meaning="The document is authentic and fresh, but a claim is not what the policy named in the detail asks for, or is absent; "
        "or that policy was taken away after the nonce was issued for it.",
        remedy="Compare the claims with the policy; a claim that is absent needs a later api-version of IMDS.",
    ),
    RequestFault.MALFORMED_REQUEST: Documentation(
        status=400,
        title="The request is malformed",
        meaning="The body is not the JSON object that this path takes, has fields that it does not know, or the request has a "
        "query string where none belongs, names a policy that is not there, or a certificate that cannot be pinned.",
        remedy="Send the request as the documentation of the path shows it.",
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
        title="There is nothing at this path",
        meaning="The path is not one of this service, or names an authority that is neither discovered, pinned nor denied here.",
        remedy="Look at the paths in the documentation, and at GET /v1/trust for the authorities.",
    ),
    RequestFault.METHOD_NOT_ALLOWED: Documentation(
        status=405,
        title="The method is not allowed here",
        meaning="The path exists, and takes the methods that the Allow header lists.",
        remedy="Use one of the methods in the Allow header.",
    ),
    RequestFault.UNSUPPORTED_MEDIA_TYPE: Documentation(
        status=415,
        title="The media type is not supported",
        meaning="Evidence is taken as application/json, text/plain, application/pkcs7-mime, application/cms or "
        "application/octet-stream; other requests as application/json; nothing is taken compressed.",
        remedy="Name the type of the body in Content-Type.",
    ),
    RequestFault.UNAUTHENTICATED: Documentation(
        status=401,
        title="A key is needed",
        meaning="The request has no Authorization header, more than one, or a key that this service does not know. Paths of trust "
        "take an admin key; where the service has tenants, nonces and attestations take a tenant's.",
        remedy="Send `Authorization: Bearer KEY`, once. Who runs the service adds the SHA-256 of a key to its settings; a "
        "service without admin keys takes none, and is administered by `imds-verifier trust` beside it.",
    ),
    RequestFault.FORBIDDEN: Documentation(
        status=403,
        title="The key is of the other kind",
        meaning="A tenant's key was sent to a path of trust, or an admin key to one of a tenant: neither opens the other's.",
        remedy="Use an admin key for trust, and a tenant's key for nonces and attestations.",
    ),
    RequestFault.RATE_LIMITED: Documentation(
        status=429,
        title="Too many requests",
        meaning="The tenant has sent more requests to this path than its rate allows; the header RateLimit-Policy says which that "
        "is. Nothing of the request was looked at: a nonce in it is as it was.",
        remedy="Wait as long as Retry-After says, and send the same request again.",
    ),
    Failure.STORE_UNAVAILABLE: Documentation(
        status=503,
        title="A store is away",
        meaning="Nonces cannot be issued or redeemed now, or what operators decided about trust cannot be read or changed; "
        "there is no verdict without either.",
        remedy="Wait as long as Retry-After says, and send the same request again.",
    ),
    Failure.INTERNAL: Documentation(
        status=500,
        title="Something went wrong here",
        meaning="A fault of this service, which its log tells under the requestId.",
        remedy="Report the requestId to whoever runs this service.",
    ),
}


def find_code(text: str) -> Code:
    """The code with this text. Raises KeyError."""
    for code in DOCUMENTATION:
        if code.value == text:
            return code
    raise KeyError(text)


def type_uri(code: Code) -> str:
    """RFC 9457 3.1.1: a reference to the code's documentation, which every instance of the service serves."""
    return f"/problems/{code.value}"
