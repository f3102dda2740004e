"""Generate the OpenAPI 3.1 document from the table of operations and the types in the code."""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from verifier.api.answers import ProblemJson
from verifier.api.operations import OPERATIONS, Answer, Caller, Operation, Shape
from verifier.api.problems import DOCUMENTATION, Code, Failure, RequestFault
from verifier.api.request_bodies import RequestBody
from verifier.core.reasons import Reason

Json = dict[str, object]

PROBLEM = "application/problem+json"
_COMPONENT = "#/components/schemas/{model}"
_PARAMETERS: dict[str, Json] = {
    "sha256": {
        "description": "The SHA-256 of an authority's certificate in hex, with or without the colons of openssl.",
        "schema": {"type": "string", "pattern": "^[0-9A-Fa-f:]{64,128}$"},
        "example": "5a" * 32,
    },
    "version": {
        "description": "The version of a bundle that the trust feed publishes now.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 2**53},
        "example": 1,
    },
    "what": {
        "description": "The SHA-256 of a public key (subjectPublicKeyInfo), or a serial number, in hex.",
        "schema": {"type": "string", "minLength": 1},
        "example": "5a" * 32,
    },
    "requestId": {
        "description": "The id of a request: `requestId` of a problem, or the header X-Request-Id of an answer.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "example": "5a" * 16,
    },
    "code": {
        "description": "The code of a problem.",
        "schema": {"type": "string", "enum": [code.value for code in DOCUMENTATION]},
    },
}
_STRING: Json = {"type": "string"}
_PLAIN_SHAPES: dict[Shape, Json] = {
    str: _STRING,
    bytes: {"type": "string", "format": "binary"},
    dict: {"type": "object"},
    # JSON of another shape is evidence that the inspection shows as refused.
    object: {"description": "An `AttestationRequest`."},
}


def _header(description: str, schema: Json = _STRING, *, required: bool = False) -> Json:
    return {"description": description, **({"required": True} if required else {}), "schema": schema}


_HEADERS: dict[str, Json] = {
    "X-Request-Id": _header(
        "The id that the service gave this request, in its log and its decision record. They also contain the "
        "X-Request-Id of the caller, as `clientRequestId`.",
        {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        required=True,
    ),
    "Retry-After": _header(
        "Seconds after which the same caller may try again (RFC 9110 section 10.2.3).",
        {"type": "integer", "minimum": 0},
    ),
    "WWW-Authenticate": _header(
        "The authentication scheme (RFC 9110 section 11.6.1).", {"const": "Bearer"}, required=True
    ),
    "RateLimit": _header("The remaining requests of the tenant or agent (draft-ietf-httpapi-ratelimit-headers)."),
    "RateLimit-Policy": _header("The rate of the tenant or agent (draft-ietf-httpapi-ratelimit-headers)."),
    "Cache-Control": _header("How long caches may keep the response.", required=True),
    "ETag": _header("The validator of this version, for If-None-Match.", required=True),
}
_SECURITY: dict[Caller, list[dict[str, list[str]]]] = {
    Caller.ANYBODY: [],
    # The empty requirement: a service without tenants needs no key.
    Caller.TENANT: [{"tenantKey": []}, {}],
    Caller.READER: [{"backendKey": []}, {"adminKey": []}],
    Caller.INSPECTOR: [{"backendKey": []}, {"adminKey": []}, {}],
    Caller.ADMINISTRATOR: [{"adminKey": []}],
}


@cache
def make_document(version: str) -> Json:
    """Generate the document.

    Component names come from the types. Generated clients use these names, so they must not change.
    """
    operations: dict[str, Json] = defaultdict(dict)
    for operation in OPERATIONS:
        operations[operation.path][operation.method] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "imds-verifier",
            "version": version,
            "summary": "Verifies that a virtual machine is what it claims to be.",
            "description": "Appraises attested documents of the Azure Instance Metadata Service (IMDS). Times are "
            "RFC 3339 in UTC. Every error is a problem document (RFC 9457) with a stable `code`. Requests with unknown "
            "fields are refused. Responses may gain fields in later versions, and clients must ignore unknown ones.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in OPERATIONS)],
        "paths": dict(operations),
        "components": {
            "schemas": _describe_models(),
            "headers": _HEADERS,
            "securitySchemes": {
                "tenantKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A backend key or an agent key. Not needed if the service has no tenants.",
                },
                "backendKey": {"type": "http", "scheme": "bearer", "description": "A backend key."},
                "adminKey": {"type": "http", "scheme": "bearer", "description": "An admin key."},
            },
        },
    }


def _describe(operation: Operation) -> Json:
    described: Json = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        **({"description": operation.description} if operation.description else {}),
        "security": _SECURITY[operation.caller],
    }
    names = re.findall(r"\{(\w+)\}", operation.path)
    parameters = [{"name": name, "in": "path", "required": True, **_PARAMETERS[name]} for name in names]
    if operation.query is not None:
        parameters += _describe_query(operation.query)
    if parameters:
        described["parameters"] = parameters
    if operation.takes:
        described["requestBody"] = {
            "required": operation.takes_required,
            "content": {media_type: {"schema": _describe_shape(shape)} for media_type, shape in operation.takes},
        }
    answers: dict[str, Json] = {str(answer.status): _describe_answer(operation, answer) for answer in operation.answers}
    by_status: dict[int, list[Code]] = defaultdict(list)
    for code in DOCUMENTATION:
        if code in operation.codes:
            by_status[DOCUMENTATION[code].status].append(code)
    answers |= {str(status): _describe_problems(status, codes) for status, codes in by_status.items()}
    described["responses"] = dict(sorted(answers.items()))
    return described


def _describe_query(query: type[RequestBody]) -> list[Json]:
    """Describe the parameters of a query string. Each one may be absent."""
    parameters: list[Json] = []
    for name, described in TypeAdapter(query).json_schema()["properties"].items():
        schema, *_ = described.pop("anyOf", None) or [described]
        description = described.pop("description")
        schema.pop("title", None)
        parameters.append({"name": name, "in": "query", "description": description, "schema": schema})
    return parameters


def _describe_answer(operation: Operation, answer: Answer) -> Json:
    headers = ["X-Request-Id", "Cache-Control"]
    if RequestFault.RATE_LIMITED in operation.codes:
        headers += ["RateLimit", "RateLimit-Policy"]
    if any(each.status == HTTPStatus.NOT_MODIFIED for each in operation.answers):
        headers.append("ETag")
    described: Json = {"description": answer.description, "headers": _refer_to_headers(headers)}
    if answer.shape is not None:
        described["content"] = {answer.media_type: {"schema": _describe_shape(answer.shape)}}
    return described


def _describe_problems(status: int, codes: list[Code]) -> Json:
    headers = ["X-Request-Id", "Cache-Control"]
    if {*codes} & {Reason.NONCE_MISMATCH, RequestFault.RATE_LIMITED, Failure.STORE_UNAVAILABLE}:
        headers.append("Retry-After")
    if RequestFault.RATE_LIMITED in codes:
        headers += ["RateLimit", "RateLimit-Policy"]
    if RequestFault.UNAUTHENTICATED in codes:
        headers.append("WWW-Authenticate")
    return {
        "description": ". ".join(f"`{code.value}`: {DOCUMENTATION[code].title}" for code in codes) + ".",
        "headers": _refer_to_headers(headers),
        "content": {
            PROBLEM: {
                "schema": {
                    "allOf": [{"$ref": _COMPONENT.format(model="Problem")}],
                    "properties": {"status": {"const": status}, "code": {"enum": [code.value for code in codes]}},
                }
            }
        },
    }


def _refer_to_headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _describe_shape(shape: Shape) -> Json:
    return _PLAIN_SHAPES.get(shape) or {"$ref": _COMPONENT.format(model=_component_name(shape.__name__))}


def _describe_models() -> Json:
    shapes = [shape for operation in OPERATIONS for _, shape in operation.takes]
    shapes += [answer.shape for operation in OPERATIONS for answer in operation.answers if answer.shape]
    models = [shape for shape in dict.fromkeys([*shapes, ProblemJson]) if shape not in _PLAIN_SHAPES]
    _, described = TypeAdapter.json_schemas(
        [(model, "validation", TypeAdapter(model)) for model in models],
        ref_template=_COMPONENT,
        schema_generator=_Components,
    )
    components: dict[str, Json] = described["$defs"]
    for component in components.values():
        _strip(component)
    return dict(sorted(components.items()))


def _component_name(type_name: str) -> str:
    return type_name.removesuffix("Json")


class _Components(GenerateJsonSchema):
    """Name components after their types, without the suffix that only the code needs."""

    def normalize_name(self, name: str) -> str:
        return _component_name(super().normalize_name(name))


def _strip(component: Json) -> None:
    """Remove the titles and defaults that pydantic adds. The service fills no default into an answer."""
    component.pop("title", None)
    members = component.get("properties")
    if isinstance(members, dict):
        for member in members.values():
            member.pop("title", None)
            member.pop("default", None)
