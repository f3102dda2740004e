"""A running emulator injects faults, and has its own paths beside those of IMDS."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from urllib.parse import urlsplit

import pytest
from asn1crypto import cms as asn1_cms
from cryptography import x509
from flask.testing import FlaskClient

from verifier.emulator.control_api import LOCAL_ADDRESS, create_control_api
from verifier.emulator.controls import Conditions, Controls
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.faults import Fault, FaultKind
from verifier.emulator.imds import create_imds
from verifier.emulator.rules import RequestLimiter
from verifier.emulator.scenarios import ChainChoice, Scenario
from verifier.emulator.server import RunningEmulator, loopback_emulator

DOCUMENT = "/metadata/attested/document?api-version=2020-09-01"
CONTROLS = "/emulator/controls"
METADATA = {"Metadata": "true"}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningEmulator]:
    with loopback_emulator(VirtualMachine()) as made:
        yield made


@pytest.fixture
def emulator(running: RunningEmulator) -> RunningEmulator:
    running.reset()
    return running


def ask(
    emulator: RunningEmulator, method: str, target: str, body: object = None, **headers: str
) -> tuple[HTTPResponse, bytes]:
    parts = urlsplit(emulator.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        content = None if body is None else json.dumps(body).encode()
        types = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, target, content, {**types, **headers})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def get(emulator: RunningEmulator, target: str) -> tuple[HTTPResponse, bytes]:
    return ask(emulator, "GET", target, **METADATA)


def content_of(body: bytes) -> dict[str, object]:
    evidence = asn1_cms.ContentInfo.load(base64.b64decode(json.loads(body)["signature"], validate=True))
    fields: dict[str, object] = json.loads(evidence["content"]["encap_content_info"]["content"].native)
    return fields


def set_faults(emulator: RunningEmulator, *faults: Fault) -> None:
    emulator.put(Conditions(faults=faults))


@pytest.mark.parametrize(
    ("kind", "status"), [(FaultKind.GONE, 410), (FaultKind.ERROR, 500), (FaultKind.RATE_LIMITED, 429)]
)
def test_fault_applies_to_the_planned_number_of_requests(
    emulator: RunningEmulator, kind: FaultKind, status: int
) -> None:
    set_faults(emulator, Fault(kind=kind, requests=2))
    statuses = [get(emulator, DOCUMENT)[0].status for _ in range(3)]
    assert statuses == [status, status, 200]


def test_request_that_imds_refuses_uses_up_no_fault(emulator: RunningEmulator) -> None:
    set_faults(emulator, Fault(kind=FaultKind.GONE, requests=1))
    assert ask(emulator, "GET", DOCUMENT)[0].status == 400
    assert ask(emulator, "POST", DOCUMENT, **METADATA)[0].status == 405
    assert emulator.controls.conditions().faults == (Fault(kind=FaultKind.GONE, requests=1),)


def test_cut_response_is_shorter_than_its_content_length(emulator: RunningEmulator) -> None:
    set_faults(emulator, Fault(kind=FaultKind.CUT, requests=1))
    with pytest.raises(IncompleteRead) as cut:
        get(emulator, DOCUMENT)
    whole = get(emulator, DOCUMENT)[1]
    assert 0 < len(cut.value.partial) < len(whole)
    assert whole.startswith(cut.value.partial[:20])


def test_slow_response_is_correct_and_delayed(emulator: RunningEmulator) -> None:
    set_faults(emulator, Fault(kind=FaultKind.SLOW, requests=1, seconds=0.4))
    begin = time.monotonic()
    answer, body = get(emulator, f"{DOCUMENT}&nonce=4711")
    assert time.monotonic() - begin >= 0.4
    assert (answer.status, content_of(body)["nonce"]) == (200, "4711")


def wait_for(emulator: RunningEmulator) -> None:
    with suppress(OSError, HTTPException):
        get(emulator, DOCUMENT)


def test_slow_response_does_not_delay_the_shutdown() -> None:
    begin = time.monotonic()
    with loopback_emulator(
        VirtualMachine(), start=Conditions(faults=(Fault(kind=FaultKind.SLOW, seconds=300),))
    ) as emulator:
        waiting = threading.Thread(target=wait_for, args=(emulator,))
        waiting.start()
    waiting.join(timeout=100)
    assert not waiting.is_alive()
    assert time.monotonic() - begin < 150


@pytest.fixture
def connection(emulator: RunningEmulator) -> Iterator[HTTPConnection]:
    """Return an open connection, on which one request was answered."""
    parts = urlsplit(emulator.url)
    opened = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    opened.request("GET", "/metadata/versions", headers=METADATA)
    assert opened.getresponse().read()
    yield opened
    opened.close()


def test_request_with_a_body_is_answered_and_closes_the_connection(connection: HTTPConnection) -> None:
    """The application does not read this body, and its rest must not be taken for a request."""
    body = "GET /metadata/unknown HTTP/1.1\r\n\r\n"
    connection.request("GET", "/metadata/versions", body, METADATA)
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (200, "close")
    assert b"apiVersions" in answer.read()


def test_chunked_request_is_answered_and_closes_the_connection(connection: HTTPConnection) -> None:
    types = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    connection.request("PUT", CONTROLS, iter([b'{"clockOffset', b'Seconds": 5}']), types, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (200, "close")
    assert json.loads(answer.read())["clockOffsetSeconds"] == 5


def test_cut_response_closes_an_open_connection(emulator: RunningEmulator, connection: HTTPConnection) -> None:
    set_faults(emulator, Fault(kind=FaultKind.CUT, requests=1))
    connection.request("GET", DOCUMENT, headers=METADATA)
    with pytest.raises(IncompleteRead):
        connection.getresponse().read()


def test_client_of_http_1_0_gets_a_closed_connection(emulator: RunningEmulator) -> None:
    parts = urlsplit(emulator.url)
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=30) as raw:
        raw.sendall(b"GET /metadata/versions HTTP/1.0\r\nMetadata: true\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    assert b"\r\nConnection: close\r\n" in answer


def test_head_is_answered_without_a_body_on_an_open_connection(connection: HTTPConnection) -> None:
    connection.request("HEAD", DOCUMENT, headers=METADATA)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (405, b"")
    connection.request("GET", "/metadata/versions", headers=METADATA)
    assert connection.getresponse().status == 200


def test_open_connection_gets_no_answer_after_the_stop() -> None:
    with loopback_emulator(VirtualMachine()) as emulator:
        parts = urlsplit(emulator.url)
        opened = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        opened.request("GET", "/metadata/versions", headers=METADATA)
        opened.getresponse().read()
    assert opened.sock is not None
    # The end of the stream, and not the end of a time limit.
    assert opened.sock.recv(1) == b""
    opened.close()


def test_managed_identity_allows_five_concurrent_requests(emulator: RunningEmulator) -> None:
    """Azure page, Rate limiting: while five requests run, a sixth is refused. Afterwards one is admitted."""
    target = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=r"
    are_waiting, may_go = threading.Semaphore(0), threading.Event()

    def wait(_: float) -> None:
        are_waiting.release()
        may_go.wait(60)

    set_faults(emulator, Fault(kind=FaultKind.SLOW, requests=5, seconds=1))
    limiter = RequestLimiter(monotonic=lambda: 0.0)
    imds = create_imds(vm=emulator.vm, controls=emulator.controls, limiter=limiter, wait=wait)

    def status() -> int:
        return imds.test_client().get(target, headers=METADATA).status_code

    with ThreadPoolExecutor(5) as pool:
        slow = [pool.submit(status) for _ in range(5)]
        assert all(are_waiting.acquire(timeout=60) for _ in slow)
        sixth = status()
        may_go.set()
        # This machine has no identity, so IMDS answers 400 to admitted requests.
        assert (sixth, [one.result(timeout=60) for one in slow], status()) == (429, [400] * 5, 400)


def test_cached_nonce_serves_the_previous_document(emulator: RunningEmulator) -> None:
    first = get(emulator, f"{DOCUMENT}&nonce=1111111111")[1]
    set_faults(emulator, Fault(kind=FaultKind.CACHED_NONCE, requests=2))
    assert get(emulator, f"{DOCUMENT}&nonce=2222222222")[1] == first
    assert get(emulator, f"{DOCUMENT}&nonce=3333333333")[1] == first
    assert content_of(get(emulator, f"{DOCUMENT}&nonce=4444444444")[1])["nonce"] == "4444444444"


def test_cached_nonce_without_a_previous_document_has_a_default_nonce() -> None:
    cached = Conditions(faults=(Fault(kind=FaultKind.CACHED_NONCE),))
    with loopback_emulator(VirtualMachine(), start=cached) as emulator:
        nonce = content_of(get(emulator, f"{DOCUMENT}&nonce=2222222222")[1])["nonce"]
    assert isinstance(nonce, str)
    assert len(nonce) == len("20261123-140000")


def test_clock_offset_changes_the_times_of_documents(emulator: RunningEmulator) -> None:
    year = timedelta(days=365)
    assert ask(emulator, "PUT", CONTROLS, {"clockOffsetSeconds": -year.total_seconds()})[0].status == 200
    stamp = content_of(get(emulator, DOCUMENT)[1])["timeStamp"]
    assert isinstance(stamp, dict)
    age = datetime.now(UTC) - datetime.strptime(stamp["createdOn"], "%m/%d/%y %H:%M:%S %z")
    assert year <= age < year + timedelta(minutes=5)


def test_chain_can_change_and_change_back(emulator: RunningEmulator) -> None:
    def signer() -> x509.Certificate:
        evidence = asn1_cms.ContentInfo.load(base64.b64decode(json.loads(get(emulator, DOCUMENT)[1])["signature"]))
        embedded = [x509.load_der_x509_certificate(one.dump()) for one in evidence["content"]["certificates"]]
        (info,) = evidence["content"]["signer_infos"]
        (found,) = [one for one in embedded if one.serial_number == info["sid"].chosen["serial_number"].native]
        assert len(embedded) == embedding
        return found

    embedding = 1
    stable = signer()
    embedding = 2
    chain = {"scenario": "unknown-issuer", "embedIssuer": True}
    assert ask(emulator, "PUT", CONTROLS, {"chain": chain})[0].status == 200
    moved = signer()
    assert moved.issuer != stable.issuer
    issuer = ask(emulator, "GET", "/emulator/issuers/emulator-unknown-ca.crt")[1]
    moved.verify_directly_issued_by(x509.load_der_x509_certificate(issuer))
    assert ask(emulator, "DELETE", CONTROLS)[0].status == 200
    embedding = 1
    assert signer() == stable


def test_controls_return_the_current_conditions(emulator: RunningEmulator) -> None:
    put = {
        "faults": [{"kind": "gone", "requests": 2}, {"kind": "slow", "seconds": 3.5}],
        "clockOffsetSeconds": -90.0,
        "chain": {"scenario": "staged", "embedIssuer": True, "issuerUrls": ["http://127.0.0.1/ca.crt"]},
    }
    assert json.loads(ask(emulator, "PUT", CONTROLS, put)[1]) == put
    get(emulator, DOCUMENT)
    current = json.loads(ask(emulator, "GET", CONTROLS)[1])
    assert current == {**put, "faults": [{"kind": "gone", "requests": 1}, {"kind": "slow", "seconds": 3.5}]}
    start = {"faults": [], "clockOffsetSeconds": 0.0, "chain": {"scenario": "stable", "embedIssuer": False}}
    assert json.loads(ask(emulator, "DELETE", CONTROLS)[1]) == start


def test_missing_members_get_their_defaults(emulator: RunningEmulator) -> None:
    ask(emulator, "PUT", CONTROLS, {"chain": {"scenario": "staged"}})
    ask(emulator, "PUT", CONTROLS, {"clockOffsetSeconds": 1})
    assert emulator.controls.conditions().chain.scenario is Scenario.STABLE


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ([], "Input should be an object"),
        ({"fault": []}, "fault: Extra inputs are not permitted"),
        ({"faults": {}}, "faults: Input should be a valid array"),
        ({"faults": ["gone"]}, "faults.0: Input should be an object"),
        ({"faults": [{"kind": "x"}]}, "faults.0.kind: Input should be 'gone', 'error', 'rate-limited'"),
        ({"faults": [{}]}, "faults.0.kind: Field required"),
        ({"faults": [{"kind": "gone", "requests": True}]}, "faults.0.requests: Input should be a valid integer"),
        ({"faults": [{"kind": "gone", "requests": 0}]}, "requests of a fault must be 1 to"),
        ({"faults": [{"kind": "gone", "times": 1}]}, "faults.0.times: Extra inputs are not permitted"),
        ({"faults": [{"kind": "slow"}]}, "seconds are required for the fault slow"),
        ({"faults": [{"kind": "slow", "seconds": "1"}]}, "faults.0.seconds: Input should be a valid number"),
        ({"faults": [{"kind": "gone"}] * 33}, "at most 32 faults"),
        ({"clockOffsetSeconds": 4e8}, "the clock offset must be at most 3650 days"),
        ({"clockOffsetSeconds": 1e300}, "clockOffsetSeconds: Input should be less than"),
        ({"clockOffsetSeconds": float("nan")}, "clockOffsetSeconds: Input should be a finite number"),
        ({"clockOffsetSeconds": 10**400}, "clockOffsetSeconds: Input should be"),
        ({"chain": {"scenario": "x"}}, "chain.scenario: Input should be 'stable', 'staged'"),
        ({"chain": {"issuerUrls": [1]}}, "chain.issuerUrls.0: Input should be a valid string"),
        ({"chain": {"embedIssuer": 1}}, "chain.embedIssuer: Input should be a valid boolean"),
        ({"chain": {"issuerUrls": ["x" * 1025]}}, "at most 8 issuer URLs"),
    ],
)
def test_invalid_conditions_change_nothing(emulator: RunningEmulator, body: object, fault: str) -> None:
    before = Conditions(faults=(Fault(kind=FaultKind.GONE),))
    emulator.put(before)
    answer, content = ask(emulator, "PUT", CONTROLS, body)
    assert (answer.status, fault in json.loads(content)["error"]) == (400, True), content
    assert emulator.controls.conditions() == before


def test_controls_need_no_metadata_header_and_do_not_count_against_the_rate(emulator: RunningEmulator) -> None:
    assert [ask(emulator, "GET", CONTROLS)[0].status for _ in range(12)] == [200] * 12
    assert get(emulator, DOCUMENT)[0].status == 200


@pytest.fixture
def control(emulator: RunningEmulator) -> FlaskClient:
    return create_control_api(emulator.controls, reset=emulator.reset).test_client()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_client_on_this_machine_may_use_the_controls(control: FlaskClient, address: str) -> None:
    assert control.get("/controls", environ_overrides={"REMOTE_ADDR": address}).status_code == 200


@pytest.mark.parametrize(
    ("client", "local"),
    [
        ("169.254.169.254", "169.254.169.254"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:DB8:0::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_client_with_the_address_that_it_connected_to_may_use_the_controls(
    control: FlaskClient, client: str, local: str
) -> None:
    addresses = {"REMOTE_ADDR": client, LOCAL_ADDRESS: local}
    assert control.get("/controls", environ_overrides=addresses).status_code == 200
    forwarded = control.get("/controls", headers={"X-Forwarded-For": client}, environ_overrides=addresses)
    assert forwarded.status_code == 403


@pytest.mark.parametrize("local", ["192.0.2.2", "0.0.0.0", "127.0.0.1", "", None])  # noqa: S104 - compared, not bound
def test_client_with_another_address_than_it_connected_to_is_refused(control: FlaskClient, local: str | None) -> None:
    addresses = {"REMOTE_ADDR": "192.0.2.1", LOCAL_ADDRESS: local}
    assert control.get("/controls", environ_overrides=addresses).status_code == 403


def test_text_that_is_no_address_is_refused_even_if_both_are_equal(control: FlaskClient) -> None:
    addresses = {"REMOTE_ADDR": "unix", LOCAL_ADDRESS: "unix"}
    assert control.get("/controls", environ_overrides=addresses).status_code == 403


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "::ffff:192.0.2.1", "2001:db8::1", "", "unix"])
def test_client_on_another_machine_is_refused(control: FlaskClient, address: str, method: str) -> None:
    answer = control.open("/controls", method=method, json={}, environ_overrides={"REMOTE_ADDR": address})
    assert answer.status_code == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_client_behind_a_local_proxy_is_refused(control: FlaskClient, header: str) -> None:
    assert control.put("/controls", json={}, headers={header: "for=127.0.0.1"}).status_code == 403


def test_page_in_a_browser_cannot_change_the_conditions(control: FlaskClient) -> None:
    """A page of another origin cannot send the content type of JSON without a CORS permission."""
    assert control.put("/controls", data="{}", content_type="text/plain").status_code == 415
    assert control.options("/controls").headers.get("Access-Control-Allow-Origin") is None


def test_any_client_gets_issuer_certificates_and_no_other_file(control: FlaskClient) -> None:
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}
    assert control.get("/issuers/emulator-issuing-ca.crt", environ_overrides=elsewhere).status_code == 200
    assert control.get("/issuers/emulator-root.crt", environ_overrides=elsewhere).status_code == 404
    assert control.get("/issuers/..%2f..%2fetc%2fpasswd.crt", environ_overrides=elsewhere).status_code == 404


def test_body_over_the_limit_is_refused(control: FlaskClient) -> None:
    answer = control.put("/controls", data=b" " * 65_537, content_type="application/json")
    assert answer.status_code == 413


def test_number_of_chains_is_bounded_and_each_keeps_its_signer(emulator: RunningEmulator) -> None:
    controls = Controls(authorities=emulator.controls.authorities, clock=emulator.controls.now, base_url="http://x")
    first = controls.chain()
    for number in range(99):
        controls.put(Conditions(chain=ChainChoice(issuer_urls=(f"http://127.0.0.1/{number}",))))
    with pytest.raises(ValueError, match="at most 100"):
        controls.put(Conditions(chain=ChainChoice(issuer_urls=())))
    controls.reset()
    assert controls.chain() is first
