"""The emulator follows the rules of Azure's page."""

import base64
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from asn1crypto import cms as asn1_cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.verification import PolicyBuilder, Store
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from verifier.emulator.controls import Controls
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.imds import create_imds
from verifier.emulator.pki import Pki
from verifier.emulator.rules import RequestLimiter
from verifier.emulator.scenarios import Authorities
from verifier.emulator.versions import API_VERSIONS
from verifier.emulator.virtual_machines import read_virtual_machine

DOCUMENT = "/metadata/attested/document"
METADATA = {"Metadata": "true"}
NEWEST = ["2025-04-07", "2024-07-17", "2024-03-15"]
VM = VirtualMachine()
EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "emulator").glob("*.toml"))


class Seconds:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def monotonic() -> Seconds:
    return Seconds()


@pytest.fixture(scope="module")
def authorities(pki: Pki) -> Authorities:
    return Authorities.from_ca(pki.issuing_ca, cloud=VM.cloud, region=VM.region)


def make_client(
    authorities: Authorities, *, clock: Callable[[], datetime], monotonic: Callable[[], float], vm: VirtualMachine = VM
) -> FlaskClient:
    controls = Controls(authorities=authorities, clock=clock, base_url="http://127.0.0.1")
    limiter = RequestLimiter(monotonic=monotonic)
    return create_imds(vm=vm, controls=controls, limiter=limiter, wait=lambda _: None).test_client()


@pytest.fixture
def client(authorities: Authorities, now: datetime, monotonic: Seconds) -> FlaskClient:
    return make_client(authorities, clock=lambda: now, monotonic=monotonic)


def content_of(answer: TestResponse) -> dict[str, object]:
    assert answer.status_code == 200, answer.text
    evidence = asn1_cms.ContentInfo.load(base64.b64decode(answer.get_json()["signature"], validate=True), strict=True)
    content: dict[str, object] = json.loads(evidence["content"]["encap_content_info"]["content"].native)
    return content


def error_of(answer: TestResponse) -> tuple[int, str]:
    assert answer.mimetype == "application/json"
    body = answer.get_json()
    assert isinstance(body["error"], str)
    return answer.status_code, body["error"]


def test_document_verifies_under_the_pki(client: FlaskClient, pki: Pki, now: datetime) -> None:
    answer = client.get(f"{DOCUMENT}?api-version=2020-09-01&nonce=1234567890", headers=METADATA)
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    body = answer.get_json()
    assert set(body) == {"encoding", "signature"}
    assert body["encoding"] == "pkcs7"

    signed_data = asn1_cms.ContentInfo.load(base64.b64decode(body["signature"], validate=True), strict=True)["content"]
    (embedded,), (info,) = signed_data["certificates"], signed_data["signer_infos"]
    signer = x509.load_der_x509_certificate(embedded.dump())
    verifier = PolicyBuilder().store(Store([pki.root.certificate])).time(now)
    verifier.build_server_verifier(x509.DNSName("eastus.metadata.azure.com")).verify(
        signer, [pki.issuing_ca.certificate]
    )
    key = signer.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    content = signed_data["encap_content_info"]["content"].native
    key.verify(info["signature"].native, content, padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(content)["vmId"] == VM.vm_id


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
def test_case_of_the_metadata_header_does_not_matter(client: FlaskClient, value: str) -> None:
    assert client.get(f"{DOCUMENT}?api-version=2020-09-01", headers={"Metadata": value}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Metadata": "false"}, {"Metadata": ""}, {"Metadata": "true,true"}])
def test_request_without_the_metadata_header_is_refused(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.get(f"{DOCUMENT}?api-version=2020-09-01", headers=headers)
    assert error_of(answer) == (400, "Bad request. Required metadata header not specified")


@pytest.mark.parametrize("value", ["10.0.0.1", ""])
def test_forwarded_request_is_refused(client: FlaskClient, value: str) -> None:
    answer = client.get(f"{DOCUMENT}?api-version=2020-09-01", headers={**METADATA, "X-Forwarded-For": value})
    status, error = error_of(answer)
    assert status == 400
    assert "X-Forwarded-For" in error


@pytest.mark.parametrize("query", ["", "?nonce=1234567890", "?api-version="])
def test_request_without_an_api_version_is_refused_with_the_text_of_the_page(client: FlaskClient, query: str) -> None:
    answer = client.get(f"{DOCUMENT}{query}", headers=METADATA)
    assert answer.status_code == 400
    assert answer.get_json() == {
        "error": (
            "Bad request. api-version is invalid or was not specified in the request. For more information refer to "
            "aka.ms/azureimds"
        ),
        "newest-versions": NEWEST,
    }


@pytest.mark.parametrize("version", ["2020-09-02", "2099-01-01", "latest", "2020-09-01 "])
def test_unsupported_version_is_refused_with_the_newest_ones(client: FlaskClient, version: str) -> None:
    answer = client.get(DOCUMENT, query_string={"api-version": version}, headers=METADATA)
    assert answer.status_code == 400
    assert answer.get_json()["newest-versions"] == NEWEST


@pytest.mark.parametrize("version", [v for v in API_VERSIONS if v < "2018-10-01"])
def test_versions_before_attested_data_have_no_documents(client: FlaskClient, version: str) -> None:
    assert error_of(client.get(f"{DOCUMENT}?api-version={version}", headers=METADATA)) == (404, "Not Found")


@pytest.mark.parametrize("version", [v for v in API_VERSIONS if v >= "2018-10-01"])
def test_every_later_version_has_documents(client: FlaskClient, version: str) -> None:
    fields = content_of(client.get(f"{DOCUMENT}?api-version={version}", headers=METADATA))
    assert ("licenseType" in fields) == (version >= "2020-09-01")


def test_supported_versions_are_sorted_and_distinct() -> None:
    assert list(API_VERSIONS) == sorted(set(API_VERSIONS))
    assert len(API_VERSIONS) == 35


def test_query_string_with_raw_bytes_is_refused(client: FlaskClient) -> None:
    overrides = {"QUERY_STRING": "api-version=2020-09-01&x=\xff"}
    answer = client.get("/metadata/instance", headers={"Metadata": "true"}, environ_overrides=overrides)
    assert answer.status_code == 400
    assert "not ASCII" in answer.get_json()["error"]


@pytest.mark.parametrize("query", ["api-version=2020-09-01", "nonce=1", "format=json"])
def test_duplicate_query_parameters_are_refused(client: FlaskClient, query: str) -> None:
    answer = client.get(f"{DOCUMENT}?api-version=2020-09-01&nonce=1&format=json&{query}", headers=METADATA)
    status, error = error_of(answer)
    assert status == 400
    assert "Duplicate" in error


@pytest.mark.parametrize("nonce", ["1", "1234567890", "a" * 32, "ABCabc123"])
def test_nonce_is_signed_as_sent(client: FlaskClient, nonce: str) -> None:
    answer = client.get(DOCUMENT, query_string={"api-version": "2020-09-01", "nonce": nonce}, headers=METADATA)
    assert content_of(answer)["nonce"] == nonce


@pytest.mark.parametrize("query", ["", "&nonce="])
def test_missing_nonce_becomes_the_expiry(client: FlaskClient, query: str) -> None:
    answer = client.get(f"{DOCUMENT}?api-version=2020-09-01{query}", headers=METADATA)
    assert content_of(answer)["nonce"] == "20261123-140000"


@pytest.mark.parametrize("nonce", ["a" * 33, "a-b", "a b", "\u0661", "a\n", '"'])
def test_nonce_that_is_not_alphanumeric_is_refused(client: FlaskClient, nonce: str) -> None:
    answer = client.get(DOCUMENT, query_string={"api-version": "2020-09-01", "nonce": nonce}, headers=METADATA)
    status, error = error_of(answer)
    assert status == 400
    assert "nonce" in error
    assert nonce not in error


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(client: FlaskClient, method: str) -> None:
    answer = client.open(f"{DOCUMENT}?api-version=2020-09-01", method=method, headers=METADATA)
    assert error_of(answer) == (405, "Method Not Allowed")
    assert answer.headers["Allow"] == "GET"


def test_head_is_refused(client: FlaskClient) -> None:
    answer = client.head(f"{DOCUMENT}?api-version=2020-09-01", headers=METADATA)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET"


@pytest.mark.parametrize(
    "path", ["/", "/metadata", "/metadata/attested", f"{DOCUMENT}//", "/metadata//attested/document"]
)
def test_other_paths_are_not_found(client: FlaskClient, path: str) -> None:
    assert error_of(client.get(f"{path}?api-version=2020-09-01", headers=METADATA)) == (404, "Not Found")


def test_path_with_a_slash_at_its_end_is_answered(client: FlaskClient) -> None:
    answer = client.get(f"{DOCUMENT}/?api-version=2020-09-01&nonce=1234567890", headers=METADATA)
    assert content_of(answer)["nonce"] == "1234567890"


def test_internal_error_is_answered_in_json(authorities: Authorities, now: datetime, monotonic: Seconds) -> None:
    # The clock works once, at the start.
    client = make_client(authorities, clock=iter([now]).__next__, monotonic=monotonic)
    answer = client.get(f"{DOCUMENT}?api-version=2020-09-01", headers=METADATA)
    assert error_of(answer) == (500, "Internal Server Error")


def ask(client: FlaskClient) -> int:
    return client.get(f"{DOCUMENT}?api-version=2020-09-01", headers=METADATA).status_code


def test_five_requests_per_second_are_admitted(client: FlaskClient, monotonic: Seconds) -> None:
    assert [ask(client) for _ in range(6)] == [200] * 5 + [429]
    monotonic.now += 0.999
    assert ask(client) == 429
    monotonic.now += 0.001
    assert [ask(client) for _ in range(6)] == [200] * 5 + [429]


def test_rate_limit_uses_a_sliding_second(client: FlaskClient, monotonic: Seconds) -> None:
    def spread(pauses: list[float], act: Callable[[FlaskClient], int]) -> list[int]:
        statuses = []
        for pause in pauses:
            monotonic.now += pause
            statuses.append(act(client))
        return statuses

    # Requests at 0, .5, .5, .5, .5. The sixth at .75 is refused. At 1.0 the first one leaves the window.
    assert spread([0, 0.5, 0, 0, 0, 0.25, 0.25, 0], ask) == [200] * 5 + [429, 200, 429]


def test_refused_requests_count_against_the_rate(client: FlaskClient) -> None:
    assert [client.get("/").status_code for _ in range(6)] == [400] * 5 + [429]


def test_time_of_documents_comes_from_the_clock(authorities: Authorities, now: datetime, monotonic: Seconds) -> None:
    later = now + timedelta(minutes=1)
    client = make_client(authorities, clock=lambda: later, monotonic=monotonic)
    fields = content_of(client.get(f"{DOCUMENT}?api-version=2020-09-01", headers=METADATA))
    assert fields["timeStamp"] == {"createdOn": "11/23/26 08:01:00 -0000", "expiresOn": "11/23/26 14:01:00 -0000"}


def elements(tree: object, route: str = "") -> Iterator[tuple[str, object]]:
    """Yield every element of a tree with its route."""
    yield route, tree
    members = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, member in members:
        yield from elements(member, f"{route}/{name}")


@pytest.fixture(params=EXAMPLES, ids=lambda file: file.stem)
def ask_instance(
    request: pytest.FixtureRequest, authorities: Authorities, now: datetime, monotonic: Seconds
) -> Callable[[str], TestResponse]:
    """Return a function that requests a path of an example's instance metadata, one second after the last request."""
    vm = read_virtual_machine(request.param)
    client = make_client(authorities, clock=lambda: now, monotonic=monotonic, vm=vm)

    def ask_later(target: str) -> TestResponse:
        monotonic.now += 1
        return client.get(f"/metadata/instance{target}", headers=METADATA)

    return ask_later


def test_every_element_is_available_by_its_route(ask_instance: Callable[[str], TestResponse]) -> None:
    for route, element in elements(ask_instance("?api-version=2025-04-07").get_json()):
        as_json = ask_instance(f"{route}?api-version=2025-04-07")
        as_text = ask_instance(f"{route}?api-version=2025-04-07&format=text")
        assert as_text.mimetype == "text/plain"
        if isinstance(element, dict | list):
            assert as_json.get_json() == element
            names = [name.rstrip("/") for name in as_text.text.split("\n") if name]
            assert names == [str(name) for name in (element if isinstance(element, dict) else range(len(element)))]
        else:
            assert (as_json.status_code, as_text.text) == (400, element)


def test_each_version_has_the_elements_of_the_previous_one(ask_instance: Callable[[str], TestResponse]) -> None:
    before: dict[str, object] = {}
    for version in API_VERSIONS[1:]:
        tree = ask_instance(f"?api-version={version}").get_json()
        leaves: dict[str, object] = {route: leaf for route, leaf in elements(tree) if isinstance(leaf, str)}
        assert before.items() <= leaves.items(), version
        before = leaves


@pytest.fixture(scope="module")
def unlimited_client(authorities: Authorities, now: datetime) -> FlaskClient:
    """Return a client of an IMDS whose clock advances a minute per request, so that its rate limit never applies."""
    minutes = itertools.count(0, 60)
    return make_client(authorities, clock=lambda: now, monotonic=lambda: float(next(minutes)))


NAMES = st.sampled_from(["api-version", "nonce", "format", "resource", "x"])
VALUES = st.one_of(st.sampled_from([*API_VERSIONS, "text", "json", ""]), st.text(max_size=40))
STEPS = st.one_of(
    st.sampled_from(["metadata", "instance", "compute", "network", "interface", "attested", "document", "identity"]),
    st.sampled_from(["versions", "scheduledevents", "loadbalancer", "oauth2", "token", "info", "0", "-1", "", "."]),
    st.text(max_size=8),
)


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(STEPS, max_size=7),
    query=st.lists(st.tuples(NAMES, VALUES), max_size=4),
    method=st.sampled_from(["GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "TRACE"]),
)
def test_any_request_is_answered_or_refused(
    unlimited_client: FlaskClient, steps: list[str], query: list[tuple[str, str]], method: str
) -> None:
    # PEP 3333: the unquoted bytes of the path as Latin-1. Passed as `path`, the client would parse "//" as a host.
    path = "/" + "/".join(steps).encode().decode("latin-1")
    answer = unlimited_client.open(
        method=method, query_string=urlencode(query), headers=METADATA, environ_overrides={"PATH_INFO": path}
    )
    assert answer.status_code in {200, 400, 404, 405}
    if method != "HEAD":
        assert answer.mimetype == "text/plain" or answer.get_json() is not None
    if answer.status_code == 200:
        assert method == "GET"
