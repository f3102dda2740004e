"""Compare requests and answers with the OpenAPI document that the service publishes.

Published answers are open, so that a later version can add members. Here they are closed: an answer must have exactly
the members that the document names.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from flask.testing import FlaskClient
from jsonschema_rs import Draft202012Validator
from werkzeug.test import TestResponse

from verifier.api.openapi import make_document

_REFUSED = 300
# Codes that every path may answer, also an unknown one. No operation lists them.
_ANYWHERE = {"not-found", "method-not-allowed", "malformed-request", "internal"}


class Undescribed(AssertionError):
    """The document does not describe this request or this answer."""


def check_answer(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Check that the document lists this answer for the operation, or that it is a problem of no operation.

    Raises Undescribed.
    """
    names = {name.lower(): value for name, value in headers.items()}
    operation = _find(method, path.partition("?")[0])
    if operation is None or (str(status) not in operation["responses"]):
        _check_problem_of_no_operation(method, path, status, names, body)
        return
    described = operation["responses"][str(status)]
    where = f"{method} {path}: {status}"
    _check_headers(where, described, names)
    if method == "HEAD":
        return
    contents = described.get("content")
    if not contents:
        if body:
            raise Undescribed(f"{where} has a body, and none is described")
        return
    media_type = names.get("content-type", "").partition(";")[0].strip()
    if media_type not in contents:
        raise Undescribed(f"{where} is {media_type!r}, described is {', '.join(contents)}")
    if media_type.endswith("json"):
        _check_body(where, contents[media_type]["schema"], body)


def check_request(method: str, path: str, status: int, media_type: str, body: bytes) -> None:
    """Check that the document describes each request that the service accepted.

    Raises Undescribed.
    """
    operation = _find(method, path.partition("?")[0])
    if operation is None or status >= _REFUSED or method == "HEAD":
        return
    where = f"the request {method} {path}"
    if "?" in path and not operation.get("parameters"):
        raise Undescribed(f"{where} has a query string, and none is described")
    described = operation.get("requestBody")
    if not body:
        if described is not None and described.get("required"):
            raise Undescribed(f"{where} lacks its body")
        return
    if described is None:
        raise Undescribed(f"{where} has a body, and none is described")
    named = media_type.partition(";")[0].strip().lower()
    if named not in described["content"]:
        raise Undescribed(f"{where} is {named!r}, described is {', '.join(described['content'])}")
    if named.endswith("json"):
        _check_body(where, described["content"][named]["schema"], body)


class DescribedClient(FlaskClient):
    """A client that compares every accepted request and every answer with the document."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:  # noqa: ANN401 - the signature is the library's
        answer = super().open(*args, **kwargs)
        request = answer.request
        check_answer(request.method, request.path, answer.status_code, dict(answer.headers), answer.data)
        sent = request.environ["wsgi.input"]
        sent.seek(0)
        query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
        check_request(request.method, request.path + query, answer.status_code, request.content_type or "", sent.read())
        return answer


def _check_headers(where: str, described: Mapping[str, Any], names: Mapping[str, str]) -> None:
    for name, reference in described.get("headers", {}).items():
        header = _document()["components"]["headers"][reference["$ref"].rsplit("/", 1)[-1]]
        value = names.get(name.lower())
        if value is None:
            if header.get("required"):
                raise Undescribed(f"{where} lacks the header {name}")
            continue
        instance = int(value) if header["schema"].get("type") == "integer" else value
        if not _validator(header["schema"]).is_valid(instance):
            raise Undescribed(f"{where} has an odd header {name}: {value}")


def _check_problem_of_no_operation(method: str, path: str, status: int, names: Mapping[str, str], body: bytes) -> None:
    where = f"{method} {path}: {status}"
    if names.get("content-type") != "application/problem+json":
        raise Undescribed(f"{where} is not described, and is no problem document either")
    if method == "HEAD":
        return
    _check_body(where, {"$ref": "#/components/schemas/Problem"}, body)
    code = json.loads(body)["code"]
    if code not in _ANYWHERE:
        raise Undescribed(f"{where} with the code {code} is not described")


def _check_body(where: str, schema: Mapping[str, Any], body: bytes) -> None:
    try:
        instance = json.loads(body)
    except ValueError as error:
        raise Undescribed(f"{where} is no JSON") from error
    for fault in _validator(schema).iter_errors(instance):
        raise Undescribed(f"{where} is not as described at {fault.instance_path}: {fault.message[:300]}")


def _validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    return _compile(json.dumps(schema, sort_keys=True))


@cache
def _compile(schema: str) -> Draft202012Validator:
    # References point into the whole document.
    return Draft202012Validator({**json.loads(schema), "components": _document()["components"]})


@cache
def _document() -> Mapping[str, Any]:
    """Return the document as it is served, with closed answers."""
    document: Mapping[str, Any] = json.loads(json.dumps(make_document("1.2.3")))
    for component in document["components"]["schemas"].values():
        if "properties" in component:
            component.setdefault("additionalProperties", False)
    return document


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    paths = sorted(_document()["paths"], key=lambda path: "{" in path)
    return tuple((re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), path) for path in paths)


def _find(method: str, path: str) -> Mapping[str, Any] | None:
    for pattern, template in _patterns():
        if pattern.fullmatch(path):
            methods: Mapping[str, Any] = _document()["paths"][template]
            described: Mapping[str, Any] | None = methods.get("get" if method == "HEAD" else method.lower())
            return described
    return None
