"""List every operation of the HTTP API, with its request bodies, answers and problem codes."""

from enum import StrEnum

from verifier.api.answers import (
    AliveJson,
    AttestationResultJson,
    JsonWebKeySetJson,
    NonceJson,
    ReadinessJson,
)
from verifier.api.decision_answers import DecisionJson, DecisionPageJson, UsageJson
from verifier.api.decision_queries import DecisionQuery, UsageQuery
from verifier.api.inspection_answers import InspectionJson
from verifier.api.inspection_routes import InspectionQuery
from verifier.api.json_codec import AttestationRequest, NonceRequest
from verifier.api.problems import Code, Failure, RequestFault
from verifier.api.request_bodies import RequestBody
from verifier.api.trust_answers import TrustSurveyJson
from verifier.api.trust_json_codec import PinRequest
from verifier.core.reasons import Reason
from verifier.core.values import dataclass

JSON = "application/json"
TEXT = "text/plain"
BYTES = "application/octet-stream"

#: The type of a body: a request model, a TypedDict of `answers`, or `str`, `bytes`, `dict` (a JSON object) or `object`
#: (any JSON).
Shape = type


class Caller(StrEnum):
    """Who may call an operation."""

    ANYBODY = "anybody"
    TENANT = "tenant"
    #: A backend key or an admin key, but no agent key.
    READER = "reader"
    #: A reader, or anybody if the service has no tenants.
    INSPECTOR = "inspector"
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer that is not a problem. `shape` is None if it has no body."""

    description: str
    status: int = 200
    shape: Shape | None = None
    media_type: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `answers` lists the answers that are not problems, and `takes` the accepted bodies."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str = ""
    caller: Caller = Caller.ANYBODY
    takes: tuple[tuple[str, Shape], ...] = ()
    takes_required: bool = True
    query: type[RequestBody] | None = None
    answers: tuple[Answer, ...]
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
_READER: frozenset[Code] = _ANY | {
    RequestFault.MALFORMED_REQUEST,
    RequestFault.UNAUTHENTICATED,
    RequestFault.FORBIDDEN,
    RequestFault.NOT_FOUND,
    RequestFault.RATE_LIMITED,
    Failure.STORE_UNAVAILABLE,
}
_NOT_CHANGED = Answer(description="The caller already has this version (ETag).", status=304)
_SURVEY = Answer(description="The trust after the operation.", shape=TrustSurveyJson)


def _administration(method: str, path: str, name: str, summary: str, *codes: Code) -> Operation:
    return Operation(
        method=method,
        path=f"/v1/trust{path}",
        name=name,
        tag="Trust",
        summary=summary,
        caller=Caller.ADMINISTRATOR,
        takes=((JSON, PinRequest),) if path == "/pins" else (),
        answers=(_SURVEY,),
        codes=_KEY | frozenset(codes),
    )


def _public(tag: str, path: str, name: str, summary: str, *answers: Answer, codes: frozenset[Code] = _ANY) -> Operation:
    return Operation(method="get", path=path, name=name, tag=tag, summary=summary, answers=answers, codes=codes)


def _reading(
    path: str,
    name: str,
    summary: str,
    description: str,
    answer: Answer,
    *,
    query: type[RequestBody] | None = None,
) -> Operation:
    return Operation(
        method="get",
        path=path,
        name=name,
        tag="Decisions",
        summary=summary,
        description=description,
        caller=Caller.READER,
        query=query,
        answers=(answer,),
        codes=_READER,
    )


_UNKNOWN = RequestFault.NOT_FOUND
_EVIDENCE: tuple[tuple[str, Shape], ...] = (
    (JSON, AttestationRequest),
    (TEXT, str),
    ("application/pkcs7-mime", bytes),
    ("application/cms", bytes),
    (BYTES, bytes),
)
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="post",
        path="/v1/nonces",
        name="issueNonce",
        tag="Attestation",
        summary="Get a nonce for one document",
        description="The body and its fields are optional. With `vmId`, the nonce is only valid for a document of that "
        "VM. `policy` names a policy that the document must satisfy in addition to the tenant's.",
        caller=Caller.TENANT,
        takes=((JSON, NonceRequest),),
        takes_required=False,
        answers=(Answer(description="The nonce.", status=201, shape=NonceJson),),
        codes=_TENANT,
    ),
    Operation(
        method="post",
        path="/v1/attestations",
        name="appraise",
        tag="Attestation",
        summary="Appraise a document",
        description="Post the answer of IMDS unchanged. Admit the VM only if the status is 200. A refusal says why, "
        "and whether the agent may retry. The document must satisfy the policies of the tenant, the nonce and the "
        "request.",
        caller=Caller.TENANT,
        takes=_EVIDENCE,
        answers=(Answer(description="The document is accepted.", shape=AttestationResultJson),),
        codes=_TENANT | frozenset(Reason),
    ),
    Operation(
        method="post",
        path="/v1/inspections",
        name="inspect",
        tag="Inspection",
        summary="Show what an appraisal finds",
        description="For people. The body is that of `/v1/attestations`, and the answer is 200 also for a refused "
        "document. It shows each check, what is in the document, and its structure. An inspection redeems no nonce and "
        "issues no token, so it never replaces an appraisal. It compares a nonce in the body.",
        caller=Caller.INSPECTOR,
        takes=((JSON, object), *_EVIDENCE[1:]),
        query=InspectionQuery,
        answers=(Answer(description="The findings.", shape=InspectionJson),),
        codes=_TENANT,
    ),
    _reading(
        "/v1/decisions",
        "searchDecisions",
        "Search decisions",
        "Newest first. A page looks at about 10,000 records at most, and fewer decisions than `limit` may match: go on "
        "with `cursor` until it is null. Searches by request id, `vmId` and `subscriptionId` use an index.",
        Answer(description="A page of decisions.", shape=DecisionPageJson),
        query=DecisionQuery,
    ),
    _reading(
        "/v1/decisions/{requestId}",
        "showDecision",
        "Show the decision of one request",
        "The `requestId` is in each problem, and in the header X-Request-Id of each answer.",
        Answer(description="The decision.", shape=DecisionJson),
    ),
    _reading(
        "/v1/usage",
        "countMachines",
        "Count the distinct VMs that were verified",
        "For operations, not for billing: to bill, export decisions.",
        Answer(description="The numbers of VMs.", shape=UsageJson),
        query=UsageQuery,
    ),
    _administration("get", "", "showTrust", "Show the trust in force"),
    _administration("post", "/discovered/{sha256}/approve", "approveAuthority", "Pin a discovered authority", _UNKNOWN),
    _administration(
        "post", "/discovered/{sha256}/reject", "rejectAuthority", "Reject a CA with all its certificates", _UNKNOWN
    ),
    _administration(
        "post", "/feed/{version}/approve", "approveFeed", "Put a version of the trust feed in force", _UNKNOWN
    ),
    _administration("post", "/feed/{version}/reject", "rejectFeed", "Reject a version of the trust feed", _UNKNOWN),
    _administration("post", "/pins", "pinAuthority", "Pin an authority by its certificate"),
    _administration("delete", "/pins/{sha256}", "unpinAuthority", "Remove a pin", _UNKNOWN),
    _administration("put", "/denied/{what}", "denyKeyOrSerial", "Deny a key or a serial number"),
    _administration("delete", "/denied/{what}", "allowKeyOrSerial", "Remove a denial", _UNKNOWN),
    Operation(
        method="get",
        path="/.well-known/jwks.json",
        name="showKeys",
        tag="Attestation",
        summary="Get the public keys of the result tokens",
        description="The signing key is first. A token names its key in `kid`.",
        answers=(
            Answer(
                description="The keys. The list is empty if the service signs no results.",
                shape=JsonWebKeySetJson,
                media_type="application/jwk-set+json",
            ),
            _NOT_CHANGED,
        ),
        codes=_ANY,
    ),
    _public(
        "Operation",
        "/healthz",
        "showLiveness",
        "Check that the process answers",
        Answer(description="The process answers.", shape=AliveJson),
    ),
    _public(
        "Operation",
        "/readyz",
        "showReadiness",
        "Check that the service can appraise documents",
        Answer(description="The service is ready.", shape=ReadinessJson),
        Answer(
            description="The service is not ready. `conditions` shows why, with details for callers that send a key.",
            status=503,
            shape=ReadinessJson,
        ),
    ),
    _public(
        "Operation",
        "/metrics",
        "showMetrics",
        "Get the metrics",
        Answer(description="The Prometheus text format.", shape=str, media_type=TEXT),
    ),
    _public(
        "Documentation",
        "/problems/{code}",
        "explainCode",
        "Explain a problem code",
        Answer(description="The meaning of the code and what to do.", shape=str, media_type=TEXT),
        codes=_ANY | {_UNKNOWN},
    ),
    _public(
        "Documentation",
        "/openapi.json",
        "showOpenApi",
        "Get this OpenAPI document",
        Answer(description="OpenAPI 3.1.", shape=dict),
        _NOT_CHANGED,
    ),
    _public(
        "Documentation",
        "/docs",
        "showDocumentation",
        "Show this documentation",
        Answer(description="An HTML page.", shape=str, media_type="text/html"),
        _NOT_CHANGED,
    ),
)
