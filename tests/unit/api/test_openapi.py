"""Test the OpenAPI document and the documentation page."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema_rs
import pytest
from flask.testing import FlaskClient
from support.applications import make_application
from support.openapi_checks import Undescribed, check_answer, check_request

from verifier.api.openapi import make_document
from verifier.api.operations import OPERATIONS
from verifier.api.problems import DOCUMENTATION, RequestFault

#: Codes that occur before a request is matched to an operation.
_OF_NO_OPERATION = {RequestFault.METHOD_NOT_ALLOWED}


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return make_application(tmp_path).client


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_every_code_belongs_to_an_operation() -> None:
    told = {code for operation in OPERATIONS for code in operation.codes}
    assert told | _OF_NO_OPERATION == set(DOCUMENTATION)


def test_operation_names_are_unique() -> None:
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)


def test_schemas_are_valid_and_references_resolve() -> None:
    document = json.loads(json.dumps(make_document("1.2.3")))
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    for reference in re.findall(r'"#/([^"]+)"', json.dumps(document)):
        place = document
        for part in reference.split("/"):
            place = place[part]


def test_answers_are_open_and_requests_are_closed() -> None:
    requests = {shape.__name__ for operation in OPERATIONS for _, shape in operation.takes} - {"str", "bytes", "object"}
    closed = {
        name
        for name, schema in json.loads(json.dumps(make_document("1.2.3")))["components"]["schemas"].items()
        if "additionalProperties" in schema
    }
    assert closed == requests == {"AttestationRequest", "NonceRequest", "PinRequest"}


def test_components_have_names_without_the_suffix_of_the_code() -> None:
    schemas = make_document("1.2.3")["components"]["schemas"]  # type: ignore[index]  # a JSON object
    assert {"AttestationResult", "Problem", "TrustSurvey", "JsonWebKeySet"} <= set(schemas)
    assert [name for name in schemas if name.endswith("Json")] == []


def test_serves_the_document_of_this_version(client: FlaskClient) -> None:
    answer = client.get("/openapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json == json.loads(json.dumps(make_document("1.2.3")))


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_document_and_page_are_cacheable(client: FlaskClient, path: str) -> None:
    first = client.get(path)
    assert first.headers["Cache-Control"] == "public, max-age=3600"
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_page_loads_no_other_resource(client: FlaskClient) -> None:
    elements = _Elements()
    elements.feed(client.get("/docs").text)
    assert {tag for tag, _ in elements.found}.isdisjoint({"script", "link", "img", "iframe", "form", "object", "base"})
    for _, attributes in elements.found:
        assert "style" not in attributes
        assert not {name for name in attributes if name.startswith("on")}
        assert re.fullmatch(r"#[\w-]+|/[\w./-]+", attributes.get("href") or "#none")


def test_page_allows_only_its_own_style(client: FlaskClient) -> None:
    answer = client.get("/docs")
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "url(" not in style
    assert "@import" not in style


def test_page_shows_every_operation_and_type_and_its_links_resolve(client: FlaskClient) -> None:
    elements = _Elements()
    elements.feed(client.get("/docs").text)
    ids = {attributes["id"] for _, attributes in elements.found if "id" in attributes}
    document = json.loads(json.dumps(make_document("1.2.3")))
    assert {operation.name for operation in OPERATIONS} <= ids
    assert {f"type-{name}" for name in document["components"]["schemas"]} <= ids
    links = {str(attributes["href"]) for tag, attributes in elements.found if tag == "a"}
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= ids
    assert all(client.get(link).status_code == 200 for link in links if link.startswith("/"))


class TestAnswerChecks:
    """Test that the checks of `openapi_checks` find wrong answers."""

    HEADERS = {"Content-Type": "application/json", "X-Request-Id": "a" * 32, "Cache-Control": "no-store"}  # noqa: RUF012 - never changed

    @pytest.mark.parametrize(
        ("status", "headers", "body"),
        [
            (200, {}, b'{"status": "alive", "more": 1}'),
            (200, {}, b"{}"),
            (200, {}, b"no JSON"),
            (200, {"Content-Type": "text/html"}, b'{"status": "alive"}'),
            (202, {}, b'{"status": "alive"}'),
            (409, {"Content-Type": "application/problem+json"}, b'{"code": "nonce-replayed"}'),
        ],
    )
    def test_wrong_answer_is_found(self, status: int, headers: dict[str, str], body: bytes) -> None:
        with pytest.raises(Undescribed):
            check_answer("GET", "/healthz", status, self.HEADERS | headers, body)

    def test_missing_header_is_found(self) -> None:
        headers = {"Content-Type": "application/json", "X-Request-Id": "a" * 32}
        with pytest.raises(Undescribed, match="Cache-Control"):
            check_answer("GET", "/healthz", 200, headers, b'{"status": "alive"}')

    def test_described_answer_passes(self) -> None:
        check_answer("GET", "/healthz", 200, self.HEADERS, b'{"status": "alive"}')


@pytest.mark.parametrize(
    ("method", "path", "media_type", "body"),
    [
        ("POST", "/v1/nonces", "application/json", b'{"unknown": 1}'),
        ("POST", "/v1/nonces", "text/plain", b"{}"),
        ("POST", "/v1/attestations", "application/json", b'{"encoding": "pkcs7"}'),
        ("POST", "/v1/attestations", "application/pdf", b"%PDF"),
        ("POST", "/v1/attestations", "application/json", b""),
        ("POST", "/v1/nonces?policy=gold", "", b""),
        ("GET", "/healthz", "application/json", b"{}"),
    ],
)
def test_accepted_request_that_is_not_described_is_found(method: str, path: str, media_type: str, body: bytes) -> None:
    with pytest.raises(Undescribed):
        check_request(method, path, 200, media_type, body)


VM_ID = b"{5C1A0B3E-7D42-4F0A-9B57-1F6D2E8C4A90}"


def test_described_request_passes() -> None:
    check_request("POST", "/v1/nonces", 201, "", b"")
    check_request("POST", "/v1/nonces", 201, "application/json; charset=utf-8", b'{"vmId": "%s"}' % VM_ID)
    check_request("POST", "/v1/attestations", 200, "application/json", b'{"encoding": "pkcs7", "signature": "MA=="}')
