"""What the service can be asked, one row an operation: what it takes, what it answers, and which codes it can give."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel

from verifier.api import schemas
from verifier.api.problems import Code, Failure, RequestFault
from verifier.api.trust_wire import PinRequest
from verifier.api.wire import AttestationRequest, NonceRequest
from verifier.core.reasons import Reason

JSON = "application/json"
TEXT = "text/plain"
OCTETS = "application/octet-stream"

#: What a body can be: a JSON object of this type or of any, text, or octets.
Shape = type[BaseModel] | type[str] | type[bytes] | type[dict[str, object]]


class Caller(StrEnum):
    """Who may ask."""

    ANYBODY = "anybody"
    TENANT = "tenant"
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`shape` is None where there is no body."""

    description: str
    shape: Shape | None = None
    media_type: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `answers` are those that are no problem, by status; `takes` the bodies, by media type."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str = ""
    caller: Caller = Caller.ANYBODY
    takes: tuple[tuple[str, Shape], ...] = ()
    takes_required: bool = True
    answers: tuple[tuple[int, Answer], ...]
    codes: frozenset[Code]


_ANY: frozenset[Code] = frozenset({Failure.INTERNAL})
_BODY: frozenset[Code] = _ANY | {
    RequestFault.MALFORMED_REQUEST,
    RequestFault.REQUEST_TIMEOUT,
    Reason.TOO_LARGE,
    RequestFault.UNSUPPORTED_MEDIA_TYPE,
}
_KEY: frozenset[Code] = _BODY | {RequestFault.UNAUTHENTICATED, RequestFault.FORBIDDEN, Failure.STORE_UNAVAILABLE}
_TENANT: frozenset[Code] = _KEY | {RequestFault.RATE_LIMITED}
_NOT_CHANGED = Answer(description="What the caller has, by its ETag, is what there is.")
_SURVEY = Answer(description="What stands now.", shape=schemas.TrustSurvey)


def _administration(method: str, path: str, name: str, summary: str, *codes: Code) -> Operation:
    return Operation(
        method=method,
        path=f"/v1/trust{path}",
        name=name,
        tag="Trust",
        summary=summary,
        caller=Caller.ADMINISTRATOR,
        takes=((JSON, PinRequest),) if path == "/pins" else (),
        answers=((200, _SURVEY),),
        codes=_KEY | frozenset(codes),
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="post",
        path="/v1/nonces",
        name="issueNonce",
        tag="Attestation",
        summary="Get a nonce for one document",
        description="The body is optional, and so is everything in it. What it names binds the nonce: a document for "
        "another VM, or for another policy, does not pass with it.",
        caller=Caller.TENANT,
        takes=((JSON, NonceRequest),),
        takes_required=False,
        answers=((201, Answer(description="The nonce.", shape=schemas.Nonce)),),
        codes=_TENANT,
    ),
    Operation(
        method="post",
        path="/v1/attestations",
        name="appraise",
        tag="Attestation",
        summary="Have a document appraised",
        description="Post the answer of IMDS as it came. 200 is the only verdict that admits a VM; a refusal says why, "
        "and whether the same agent may try again.",
        caller=Caller.TENANT,
        takes=(
            (JSON, AttestationRequest),
            (TEXT, str),
            ("application/pkcs7-mime", bytes),
            ("application/cms", bytes),
            (OCTETS, bytes),
        ),
        answers=((200, Answer(description="The document is accepted.", shape=schemas.AttestationResult)),),
        codes=_TENANT | frozenset(Reason),
    ),
    _administration("get", "", "showTrust", "What stands about trust"),
    _administration(
        "post",
        "/discovered/{sha256}/approve",
        "approveAuthority",
        "Pin an authority that was discovered",
        RequestFault.NOT_FOUND,
    ),
    _administration(
        "post",
        "/discovered/{sha256}/reject",
        "rejectAuthority",
        "Reject an authority, discovered or not",
    ),
    _administration("post", "/pins", "pinAuthority", "Pin an authority by its certificate"),
    _administration("delete", "/pins/{sha256}", "unpinAuthority", "Take back a pin", RequestFault.NOT_FOUND),
    _administration("put", "/denied/{what}", "denyKeyOrSerial", "Deny a key or a serial number at once"),
    _administration("delete", "/denied/{what}", "allowKeyOrSerial", "Take back a denial", RequestFault.NOT_FOUND),
    Operation(
        method="get",
        path="/.well-known/jwks.json",
        name="showKeys",
        tag="Attestation",
        summary="The public keys of the result tokens",
        description="The one that signs is first. A token names its key by `kid`.",
        answers=(
            (
                200,
                Answer(
                    description="The keys, if there are any.",
                    shape=schemas.JsonWebKeySet,
                    media_type="application/jwk-set+json",
                ),
            ),
            (304, _NOT_CHANGED),
        ),
        codes=_ANY,
    ),
    Operation(
        method="get",
        path="/healthz",
        name="showLiveness",
        tag="Operation",
        summary="Whether the process answers",
        answers=((200, Answer(description="It does.", shape=schemas.Alive)),),
        codes=_ANY,
    ),
    Operation(
        method="get",
        path="/readyz",
        name="showReadiness",
        tag="Operation",
        summary="Whether the service can decide",
        answers=(
            (200, Answer(description="It can.", shape=schemas.Readiness)),
            (503, Answer(description="It cannot, and says what is missing.", shape=schemas.Readiness)),
        ),
        codes=_ANY,
    ),
    Operation(
        method="get",
        path="/metrics",
        name="showMetrics",
        tag="Operation",
        summary="Counts and durations, for Prometheus",
        answers=((200, Answer(description="Prometheus's text format.", shape=str, media_type=TEXT)),),
        codes=_ANY,
    ),
    Operation(
        method="get",
        path="/problems/{code}",
        name="explainCode",
        tag="Documentation",
        summary="What a code means, and what to do",
        answers=((200, Answer(description="For a person.", shape=str, media_type=TEXT)),),
        codes=_ANY | {RequestFault.NOT_FOUND},
    ),
    Operation(
        method="get",
        path="/openapi.json",
        name="showOpenApi",
        tag="Documentation",
        summary="This description",
        answers=((200, Answer(description="OpenAPI 3.1.", shape=dict)), (304, _NOT_CHANGED)),
        codes=_ANY,
    ),
    Operation(
        method="get",
        path="/docs",
        name="showDocumentation",
        tag="Documentation",
        summary="This description, for people",
        answers=((200, Answer(description="A page.", shape=str, media_type="text/html")), (304, _NOT_CHANGED)),
        codes=_ANY,
    ),
)
