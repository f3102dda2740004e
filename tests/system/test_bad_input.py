"""Whatever is posted, the answer is a problem with a documented code, soon; and the next request is served."""

import base64
import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import documents, raw_http
from support.applications import Application, make_application
from support.bad_input import DER, JSON, TEXT, BadInput, bad_inputs, nested_der
from support.live_documents import current_document
from support.problems import read_problem
from support.services import Answer, RunningServer
from werkzeug.test import TestResponse

from verifier.core import evidence
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.envelope import read_envelope
from verifier.core.reasons import FormatRefused

KINDS = list(bad_inputs())
SAMPLES = ("public-southcentralus-2022-04-19", "public-eastus-2026-07-28", "azure-page-2018")
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Application:
    return make_application(tmp_path_factory.mktemp("application"))


@pytest.fixture(scope="module")
def client(application: Application) -> FlaskClient:
    return application.client


def post(client: FlaskClient, body: bytes, media_type: str | None) -> TestResponse:
    return client.post("/v1/attestations", data=body, content_type=media_type)


def problem_of(response: TestResponse) -> dict[str, object]:
    return read_problem(response.status_code, dict(response.headers), response.data)


def forms(der: bytes) -> Iterator[tuple[str, bytes]]:
    """A document in every form that is taken, with its media type."""
    text = base64.b64encode(der)
    yield DER, der
    yield TEXT, text
    yield TEXT, b"-----BEGIN PKCS7-----\n" + text + b"\n-----END PKCS7-----\n"
    yield JSON, json.dumps(documents.imds_answer(der)).encode()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_refuses_with_its_documented_code(client: FlaskClient, kind: BadInput) -> None:
    assert problem_of(post(client, kind.body, kind.media_type))["code"] == kind.code


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_refuses_under_another_media_type_too(client: FlaskClient, kind: BadInput) -> None:
    for media_type in (JSON, TEXT, DER):
        assert problem_of(post(client, kind.body, media_type))["status"] in {400, 413, 422}


def test_never_fails_inside(application: Application) -> None:
    """`failed` is told of what is answered with 5xx, and nothing here may be."""
    for kind in KINDS:
        post(application.client, kind.body, kind.media_type)
    assert application.records.failures == []


@pytest.mark.parametrize(
    ("name", "taken"), [("azure-page-2018", {DER, TEXT, JSON}), ("public-eastus-2026-07-28", {DER, JSON})]
)
def test_refuses_every_prefix_of_a_document_as_malformed(client: FlaskClient, name: str, taken: set[str]) -> None:
    for media_type, body in forms(documents.sample(name)):
        if media_type not in taken:
            continue
        for length in range(len(body.rstrip())):
            problem = problem_of(post(client, body[:length], media_type))
            assert problem["code"] == "malformed-evidence", (media_type, length)


def test_refuses_random_bytes_in_every_form(client: FlaskClient) -> None:
    chance = random.Random(4711)  # noqa: S311 - the same bytes in every run
    for _ in range(300):
        data = chance.randbytes(chance.choice((1, 2, 16, 1024, 12_000)))
        for media_type, body in forms(data):
            assert problem_of(post(client, body, media_type))["code"] == "malformed-evidence"
        assert problem_of(post(client, data, JSON))["code"] == "malformed-evidence"


@settings(max_examples=300, deadline=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=MAX_EVIDENCE_BYTES + 10), media_type=st.sampled_from([JSON, TEXT, DER, "", None]))
def test_answers_arbitrary_bytes_with_a_problem(client: FlaskClient, body: bytes, media_type: str | None) -> None:
    assert problem_of(post(client, body, media_type))["status"] in {400, 413, 415}


_MUTATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("replace"), st.integers(0, 4000), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("insert"), st.integers(0, 4000), st.binary(min_size=1, max_size=300)),
        st.tuples(st.just("delete"), st.integers(0, 4000), st.binary(min_size=1, max_size=40)),
    ),
    min_size=1,
    max_size=4,
)


def mutate(data: bytes, mutations: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, piece in mutations:
        start = place % (len(data) + 1)
        end = start if kind == "insert" else start + len(piece)
        data = data[:start] + (b"" if kind == "delete" else piece) + data[end:]
    return data


# pyca warns of some names that it will refuse some day; a warning is an error in this suite, and a line elsewhere.
@pytest.mark.filterwarnings("ignore:Attribute's length must be:UserWarning")
@settings(max_examples=400, deadline=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(SAMPLES), mutations=_MUTATIONS, form=st.integers(0, 3), inside=st.booleans())
def test_answers_mutated_real_documents_with_a_problem(
    client: FlaskClient, name: str, mutations: list[tuple[str, int, bytes]], form: int, *, inside: bool
) -> None:
    """None is accepted: at this clock the real ones themselves are refused."""
    der = documents.sample(name)
    media_type, body = list(forms(mutate(der, mutations) if inside else der))[form]
    response = post(client, body if inside else mutate(body, mutations), media_type)
    assert problem_of(response)["status"] in {400, 422}


@pytest.mark.parametrize("depth", [33, 1_000, 10_000])
def test_reads_deep_nesting_without_depth_of_its_own(depth: int) -> None:
    """Beyond the limit on bodies too, which a setting may raise. The first level is not that of a document."""
    with pytest.raises(FormatRefused, match="0x30 instead of 0x06"):
        read_envelope(evidence.from_der(nested_der(depth)))


@pytest.mark.parametrize(
    "media_type",
    ["", "text/html", "application/jose", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "/"],
)
def test_takes_no_other_media_type(client: FlaskClient, media_type: str) -> None:
    body = json.dumps(documents.imds_answer(documents.document())).encode()
    assert problem_of(post(client, body, media_type))["code"] == "unsupported-media-type"


def test_takes_evidence_under_no_media_type_at_all(client: FlaskClient) -> None:
    assert problem_of(post(client, documents.document(), None))["code"] == "unsupported-media-type"


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "GZIP"])
@pytest.mark.parametrize("path", ["/v1/attestations", "/v1/nonces"])
def test_takes_nothing_compressed(client: FlaskClient, path: str, encoding: str) -> None:
    response = client.post(path, data=b"{}", content_type=JSON, headers={"Content-Encoding": encoding})
    assert problem_of(response)["code"] == "unsupported-media-type"


@pytest.mark.parametrize("path", ["/v1/attestations?policy=default", "/v1/nonces?x", "/v1/attestations?=&&="])
def test_takes_no_query_string(client: FlaskClient, path: str) -> None:
    assert problem_of(client.post(path, data=b"{}", content_type=JSON))["code"] == "malformed-request"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "X"])
@pytest.mark.parametrize("path", ["/v1/attestations", "/v1/nonces"])
def test_names_the_methods_that_a_path_takes(client: FlaskClient, path: str, method: str) -> None:
    response = client.open(path, method=method)
    assert problem_of(response)["code"] == "method-not-allowed"
    assert "POST" in response.headers["Allow"].split(", ")


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1", "/v1/attestations/", "//v1/attestations", "/v1/../v1/nonces", "/v1/attestations%00", "/%ff%fe"),
        *("/problems/", "/problems/none", "/problems/..%2f..%2fetc", "/V1/nonces", "/static/x", "/" + "a" * 900),
    ],
)
def test_has_nothing_at_other_paths(client: FlaskClient, path: str) -> None:
    assert problem_of(client.get(path))["code"] == "not-found"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", "malformed-request"),
        (b"{", "malformed-request"),
        (b"\xff", "malformed-request"),
        (b'{"vmId": 5}', "malformed-request"),
        (b'{"vmId": ""}', "malformed-request"),
        (b'{"vmId": "x", "vmId": "y"}', "malformed-request"),
        (b'{"vmID": "x"}', "malformed-request"),
        (b'{"jkt": "short"}', "malformed-request"),
        (b'{"policy": "none of that name"}', "malformed-request"),
        (b'{"policy": "' + b"p" * 10_000 + b'"}', "malformed-request"),
        (b'{"vmId": "' + b"v" * 129 + b'"}', "malformed-request"),
        (b"[" * 10_000, "malformed-request"),
        (b" " * (MAX_EVIDENCE_BYTES + 1), "too-large"),
    ],
)
def test_refuses_bad_requests_for_a_nonce(client: FlaskClient, body: bytes, code: str) -> None:
    assert problem_of(client.post("/v1/nonces", data=body, content_type=JSON))["code"] == code


def test_refuses_a_request_for_a_nonce_of_another_media_type(client: FlaskClient) -> None:
    response = client.post("/v1/nonces", data=b"{}", content_type=TEXT)
    assert problem_of(response)["code"] == "unsupported-media-type"


# What follows is about HTTP itself, and so about the server that ships.


def assert_serves(service: RunningServer) -> None:
    answer = service.post_json("/v1/attestations", documents.imds_answer(current_document(service.issue_nonce())))
    assert answer.status == 200


def code_of(answer: Answer) -> object:
    return read_problem(answer.status, answer.headers, answer.body)["code"]


def assert_is_last(connection: raw_http.Connection, code: str) -> None:
    """The problem says that the connection ends, and nothing follows it."""
    answer = connection.receive()
    assert (code_of(answer), answer.headers["Connection"]) == (code, "close")
    assert connection.is_closed()


def test_keeps_the_connection_over_refusals(service: RunningServer) -> None:
    """All kinds on one connection, but those so large that the server may close it."""
    parts = urlsplit(service.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=raw_http.CLIENT_SECONDS)
    connection.connect()
    kept = connection.sock
    for kind in KINDS:
        connection.request("POST", "/v1/attestations", kind.body, {"Content-Type": kind.media_type})
        response = connection.getresponse()
        read_problem(response.status, dict(response.getheaders()), response.read())
        assert connection.sock is kept
    connection.close()
    assert_serves(service)


@pytest.mark.parametrize("path", ["/v1/attestations", "/v1/nonces"])
def test_tells_the_sender_of_a_megabyte_that_it_is_too_large(service: RunningServer, path: str) -> None:
    with raw_http.Connection(service.url) as connection:
        connection.send(raw_http.request(b"x" * MEGABYTE, path=path))
        assert code_of(connection.receive()) == "too-large"
        # It was read to its end, so that the connection goes on.
        connection.send(raw_http.request(b"{}", path=path))
        assert connection.receive().status in {201, 400}


def test_tells_the_sender_of_a_megabyte_in_chunks_that_it_is_too_large(service: RunningServer) -> None:
    with raw_http.Connection(service.url) as connection:
        connection.send(raw_http.chunked_head())
        for _ in range(64):
            connection.send(raw_http.chunk(b"x" * (MEGABYTE // 64)))
        connection.send(raw_http.chunk(b""))
        assert code_of(connection.receive()) == "too-large"


def test_takes_a_document_in_chunks(service: RunningServer) -> None:
    body = json.dumps(documents.imds_answer(current_document(service.issue_nonce()))).encode()
    pieces = b"".join(raw_http.chunk(body[start : start + 100]) for start in range(0, len(body), 100))
    answer = raw_http.exchange(service.url, raw_http.chunked_head() + pieces + raw_http.chunk(b""))
    assert answer.status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-1\r\n{}\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"2\r\n{}XX0\r\n\r\n",
        b"2;" + b"x" * 20_000 + b"\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
)
def test_refuses_chunks_that_are_none(service: RunningServer, data: bytes) -> None:
    with raw_http.Connection(service.url) as connection:
        connection.send(raw_http.chunked_head() + data)
        connection.end_sending()
        assert_is_last(connection, "malformed-request")
    assert_serves(service)


def announced(length: bytes) -> bytes:
    return raw_http.request().replace(b"Content-Length: 0", b"Content-Length: " + length)


CUT_BODIES = [
    *(announced(length) + b"{}" for length in (b"100", b"16384", b"1048576")),
    *(raw_http.chunked_head() + data for data in (b"", b"5\r\n{}", b"2\r\n{}\r\n", b"2\r\n{}\r\n0\r\nX: y\r\n")),
    raw_http.chunked_head() + b"ffffffffffffffff\r\n{}",
]


@pytest.mark.parametrize("data", CUT_BODIES)
def test_refuses_a_body_that_ends_early(service: RunningServer, data: bytes) -> None:
    with raw_http.Connection(service.url) as connection:
        connection.send(data)
        connection.end_sending()
        assert_is_last(connection, "request-timeout")


@pytest.mark.parametrize("data", CUT_BODIES)
def test_does_not_wait_for_ever_for_a_body_that_stalls(service: RunningServer, data: bytes) -> None:
    with raw_http.Connection(service.url) as connection:
        connection.send(data)
        assert_is_last(connection, "request-timeout")


def test_does_not_wait_for_ever_for_a_head_that_stalls(service: RunningServer) -> None:
    with raw_http.Connection(service.url) as connection:
        connection.send(b"POST /v1/attestations HTTP/1.1\r\nHost: te")
        assert connection.is_closed()


def test_serves_others_while_requests_stall(service: RunningServer) -> None:
    head = raw_http.request().replace(b"Content-Length: 0", b"Content-Length: 100")
    with ExitStack() as open_connections:
        stalled = [open_connections.enter_context(raw_http.Connection(service.url)) for _ in range(32)]
        for connection in stalled:
            connection.send(head)
        assert_serves(service)
        for connection in stalled:
            assert code_of(connection.receive()) == "request-timeout"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n",
        b"\x00" * 2_000 + b"\r\n\r\n",
        b"POST\r\n\r\n",
        b"POST /v1/attestations HTTP/9.9\r\nHost: test\r\n\r\n",
        b"POST /v1/attestations SPDY\r\nHost: test\r\n\r\n",
        b"post /v1/attestations HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /" + b"a" * 2_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: test\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: test\r\n" + b"X: y\r\n" * 100 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: test\r\nno colon\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: test\r\nX: a\r\n folded\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: test\r\nX Y: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: test\r\nX: a\x00b\r\n\r\n",
        b"POST /v1/nonces HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/nonces HTTP/1.1\r\nHost: test\r\nContent-Length: 9" + b"9" * 5_000 + b"\r\n\r\n",
        b"POST /v1/nonces HTTP/1.1\r\nHost: test\r\nContent-Length: two\r\n\r\n",
        b"POST /v1/nonces HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v1/nonces HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /v1/nonces HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /v1/nonces HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        b"POST /v1/nonces HTTP/1.1\r\nHost: test\r\nExpect: a-miracle\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_refuses_what_is_not_http(service: RunningServer, data: bytes) -> None:
    with raw_http.Connection(service.url) as connection:
        connection.send(data)
        assert_is_last(connection, "malformed-request")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/x"},
        {"SCRIPT_NAME": "/v1", "X-Script-Name": "/v1"},
        {"Accept": "\xff", "Accept-Language": "a" * 1_000, "Accept-Encoding": "*;q=-1"},
        {"Authorization": "Bearer " + "x" * 5_000, "Cookie": "a=" + "b" * 5_000},
        {"Range": "bytes=0-", "If-Match": '"x"', "If-Modified-Since": "never"},
        {"Host": "evil.example:99999"},
        {"Host": ""},
        {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABkAAQAAP__"},
        {"X-HTTP-Method-Override": "DELETE"},
    ],
)
def test_is_not_led_astray_by_headers(service: RunningServer, headers: dict[str, str]) -> None:
    data = raw_http.request(b"{}", path="/v1/nonces", headers=[("Content-Type", JSON), *headers.items()])
    if "Host" in headers:
        data = data.replace(b"Host: test\r\n", b"")
    assert raw_http.exchange(service.url, data).status == 201


@pytest.mark.parametrize("media_type", ["application/json;" + "x=y;" * 500, "application/json; charset=\xff", "\xff"])
def test_answers_odd_media_types(service: RunningServer, media_type: str) -> None:
    answer = raw_http.exchange(service.url, raw_http.request(b"{}", headers=[("Content-Type", media_type)]))
    assert code_of(answer) in {"malformed-evidence", "unsupported-media-type"}


def test_answers_a_method_that_is_not_allowed_and_keeps_the_connection(service: RunningServer) -> None:
    with raw_http.Connection(service.url) as connection:
        connection.send(raw_http.request(b"{}", method="PUT"))
        answer = connection.receive()
        assert code_of(answer) == "method-not-allowed"
        assert "POST" in answer.headers["Allow"]
        connection.send(raw_http.request(method="GET", path="/healthz"))
        assert connection.receive().status == 200


def test_leaves_the_nonce_unused_by_what_it_refuses(tmp_path: Path) -> None:
    own = make_application(tmp_path)
    own.give_out(documents.NONCE)
    der = documents.document()
    for place in range(0, len(der), 7):
        response = post(own.client, der[:place] + bytes([der[place] ^ 1]) + der[place + 1 :], DER)
        assert problem_of(response)["status"] in {400, 422}
    assert post(own.client, der, DER).status_code == 200
