"""An emulator on a socket: faults on the wire, and its own paths apart from those of IMDS."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from urllib.parse import urlsplit

import pytest
from asn1crypto import cms as asn1_cms
from cryptography import x509
from flask.testing import FlaskClient

from verifier.emulator.control import create_control
from verifier.emulator.controls import Conditions, Controls
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.faults import Fault, FaultKind
from verifier.emulator.imds import create_imds
from verifier.emulator.rules import Admission
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
        octets = None if body is None else json.dumps(body).encode()
        types = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, target, octets, {**types, **headers})
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


def disturb(emulator: RunningEmulator, *faults: Fault) -> None:
    emulator.put(Conditions(faults=faults))


@pytest.mark.parametrize(
    ("kind", "status"), [(FaultKind.GONE, 410), (FaultKind.ERROR, 500), (FaultKind.RATE_LIMITED, 429)]
)
def test_refuses_as_often_as_was_asked(emulator: RunningEmulator, kind: FaultKind, status: int) -> None:
    disturb(emulator, Fault(kind=kind, requests=2))
    statuses = [get(emulator, DOCUMENT)[0].status for _ in range(3)]
    assert statuses == [status, status, 200]


def test_a_request_that_imds_refuses_by_itself_meets_no_fault(emulator: RunningEmulator) -> None:
    disturb(emulator, Fault(kind=FaultKind.GONE, requests=1))
    assert ask(emulator, "GET", DOCUMENT)[0].status == 400
    assert ask(emulator, "POST", DOCUMENT, **METADATA)[0].status == 405
    assert emulator.controls.conditions().faults == (Fault(kind=FaultKind.GONE, requests=1),)


def test_a_cut_answer_is_shorter_than_it_said(emulator: RunningEmulator) -> None:
    disturb(emulator, Fault(kind=FaultKind.CUT, requests=1))
    with pytest.raises(IncompleteRead) as cut:
        get(emulator, DOCUMENT)
    whole = get(emulator, DOCUMENT)[1]
    assert 0 < len(cut.value.partial) < len(whole)
    assert whole.startswith(cut.value.partial[:20])


def test_a_slow_answer_is_the_right_one_later(emulator: RunningEmulator) -> None:
    disturb(emulator, Fault(kind=FaultKind.SLOW, requests=1, seconds=0.4))
    begin = time.monotonic()
    answer, body = get(emulator, f"{DOCUMENT}&nonce=4711")
    assert time.monotonic() - begin >= 0.4
    assert (answer.status, content_of(body)["nonce"]) == (200, "4711")


def wait_for(emulator: RunningEmulator) -> None:
    """Until there is an answer or an end: which of them is not what it is about."""
    with suppress(OSError, HTTPException):
        get(emulator, DOCUMENT)


def test_a_slow_answer_does_not_keep_it_from_ending() -> None:
    begin = time.monotonic()
    with loopback_emulator(
        VirtualMachine(), start=Conditions(faults=(Fault(kind=FaultKind.SLOW, seconds=300),))
    ) as emulator:
        waiting = threading.Thread(target=wait_for, args=(emulator,))
        waiting.start()
    waiting.join(timeout=100)
    assert not waiting.is_alive()
    assert time.monotonic() - begin < 150


def test_managed_identity_has_five_requests_at_once(emulator: RunningEmulator) -> None:
    """Azure page: Rate limiting. Five are kept waiting; a sixth is refused, and when they are done there is room."""
    target = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=r"
    are_waiting, may_go = threading.Semaphore(0), threading.Event()

    def wait(_: float) -> None:
        are_waiting.release()
        may_go.wait(60)

    disturb(emulator, Fault(kind=FaultKind.SLOW, requests=5, seconds=1))
    admission = Admission(monotonic=lambda: 0.0)
    imds = create_imds(vm=emulator.vm, circumstances=emulator.controls, admission=admission, wait=wait)

    def asked() -> int:
        return imds.test_client().get(target, headers=METADATA).status_code

    with ThreadPoolExecutor(5) as pool:
        slow = [pool.submit(asked) for _ in range(5)]
        assert all(are_waiting.acquire(timeout=60) for _ in slow)
        sixth = asked()
        may_go.set()
        # This machine has no identity: 400 is IMDS's own answer, and not that of the limit.
        assert (sixth, [one.result(timeout=60) for one in slow], asked()) == (429, [400] * 5, 400)


def test_a_cached_nonce_is_the_one_before_in_the_document_before(emulator: RunningEmulator) -> None:
    first = get(emulator, f"{DOCUMENT}&nonce=1111111111")[1]
    disturb(emulator, Fault(kind=FaultKind.CACHED_NONCE, requests=2))
    assert get(emulator, f"{DOCUMENT}&nonce=2222222222")[1] == first
    assert get(emulator, f"{DOCUMENT}&nonce=3333333333")[1] == first
    assert content_of(get(emulator, f"{DOCUMENT}&nonce=4444444444")[1])["nonce"] == "4444444444"


def test_a_cached_nonce_where_none_was_is_one_that_nobody_sent() -> None:
    cached = Conditions(faults=(Fault(kind=FaultKind.CACHED_NONCE),))
    with loopback_emulator(VirtualMachine(), start=cached) as emulator:
        nonce = content_of(get(emulator, f"{DOCUMENT}&nonce=2222222222")[1])["nonce"]
    assert isinstance(nonce, str)
    assert len(nonce) == len("20261123-140000")


def test_the_documents_clock_is_off_by_what_was_asked(emulator: RunningEmulator) -> None:
    put = {"clockOffsetSeconds": -86400 * 365}
    year = int(time.strftime("%y", time.gmtime()))
    assert ask(emulator, "PUT", CONTROLS, put)[0].status == 200
    stamp = content_of(get(emulator, DOCUMENT)[1])["timeStamp"]
    assert isinstance(stamp, dict)
    assert int(stamp["createdOn"][6:8]) == year - 1


def test_moves_to_another_chain_and_back_while_it_runs(emulator: RunningEmulator) -> None:
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


def test_tells_the_conditions_that_hold(emulator: RunningEmulator) -> None:
    put = {
        "faults": [{"kind": "gone", "requests": 2}, {"kind": "slow", "seconds": 3.5}],
        "clockOffsetSeconds": -90.0,
        "chain": {"scenario": "staged", "embedIssuer": True, "issuerUrls": ["http://127.0.0.1/ca.crt"]},
    }
    assert json.loads(ask(emulator, "PUT", CONTROLS, put)[1]) == put
    get(emulator, DOCUMENT)
    told = json.loads(ask(emulator, "GET", CONTROLS)[1])
    assert told == {**put, "faults": [{"kind": "gone", "requests": 1}, {"kind": "slow", "seconds": 3.5}]}
    start = {"faults": [], "clockOffsetSeconds": 0.0, "chain": {"scenario": "stable", "embedIssuer": False}}
    assert json.loads(ask(emulator, "DELETE", CONTROLS)[1]) == start


def test_what_is_not_named_is_as_at_the_start(emulator: RunningEmulator) -> None:
    ask(emulator, "PUT", CONTROLS, {"chain": {"scenario": "staged"}})
    ask(emulator, "PUT", CONTROLS, {"clockOffsetSeconds": 1})
    assert emulator.controls.conditions().chain.scenario is Scenario.STABLE


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ([], "the body must be an object"),
        ({"fault": []}, "the body: unknown key fault"),
        ({"faults": {}}, "the body: faults must be an array"),
        ({"faults": ["gone"]}, "a fault must be an object"),
        ({"faults": [{"kind": "x"}]}, "a fault: kind must be one of gone, error, rate-limited"),
        ({"faults": [{}]}, "a fault: kind must be one of"),
        ({"faults": [{"kind": "gone", "requests": True}]}, "a fault: requests must be an integer"),
        ({"faults": [{"kind": "gone", "requests": 0}]}, "a fault is of 1 to"),
        ({"faults": [{"kind": "gone", "times": 1}]}, "a fault: unknown key times"),
        ({"faults": [{"kind": "slow"}]}, "a slow fault, and no other"),
        ({"faults": [{"kind": "slow", "seconds": "1"}]}, "a fault: seconds must be a number"),
        ({"faults": [{"kind": "gone"}] * 33}, "at most 32 faults"),
        ({"clockOffsetSeconds": 4e8}, "a clock is at most 3650 days off"),
        ({"clockOffsetSeconds": 1e300}, "clockOffsetSeconds must be a number of seconds"),
        ({"clockOffsetSeconds": float("nan")}, "clockOffsetSeconds must be a number of seconds"),
        ({"clockOffsetSeconds": 10**400}, "clockOffsetSeconds must be a number of seconds"),
        ({"chain": {"scenario": "x"}}, "chain: scenario must be one of stable, staged"),
        ({"chain": {"issuerUrls": [1]}}, "chain: issuerUrls must be strings"),
        ({"chain": {"embedIssuer": 1}}, "chain: embedIssuer must be true or false"),
        ({"chain": {"issuerUrls": ["x" * 1025]}}, "issuer URLs are at most"),
    ],
)
def test_conditions_that_are_none_change_nothing(emulator: RunningEmulator, body: object, fault: str) -> None:
    before = Conditions(faults=(Fault(kind=FaultKind.GONE),))
    emulator.put(before)
    answer, octets = ask(emulator, "PUT", CONTROLS, body)
    assert (answer.status, fault in json.loads(octets)["error"]) == (400, True), octets
    assert emulator.controls.conditions() == before


def test_its_own_paths_ask_nothing_of_imds_and_count_nothing_against_the_rate(emulator: RunningEmulator) -> None:
    assert [ask(emulator, "GET", CONTROLS)[0].status for _ in range(12)] == [200] * 12
    assert get(emulator, DOCUMENT)[0].status == 200


@pytest.fixture
def control(emulator: RunningEmulator) -> FlaskClient:
    return create_control(emulator.controls, reset=emulator.reset).test_client()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_this_machine_controls_it(control: FlaskClient, address: str) -> None:
    assert control.get("/controls", environ_overrides={"REMOTE_ADDR": address}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "::ffff:192.0.2.1", "2001:db8::1", "", "unix"])
def test_nobody_else_does(control: FlaskClient, address: str, method: str) -> None:
    answer = control.open("/controls", method=method, json={}, environ_overrides={"REMOTE_ADDR": address})
    assert answer.status_code == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_nor_does_who_comes_through_a_proxy_on_this_machine(control: FlaskClient, header: str) -> None:
    assert control.put("/controls", json={}, headers={header: "for=127.0.0.1"}).status_code == 403


def test_a_page_in_a_browser_cannot_put_anything(control: FlaskClient) -> None:
    """Without JSON's content type, which a page of another origin must ask leave for, nothing is read."""
    assert control.put("/controls", data="{}", content_type="text/plain").status_code == 415
    assert control.options("/controls").headers.get("Access-Control-Allow-Origin") is None


def test_anybody_gets_the_issuers_certificates_and_nothing_else(control: FlaskClient) -> None:
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}
    assert control.get("/issuers/emulator-issuing-ca.crt", environ_overrides=elsewhere).status_code == 200
    assert control.get("/issuers/emulator-root.crt", environ_overrides=elsewhere).status_code == 404
    assert control.get("/issuers/..%2f..%2fetc%2fpasswd.crt", environ_overrides=elsewhere).status_code == 404


def test_too_many_octets_are_not_read(control: FlaskClient) -> None:
    answer = control.put("/controls", data=b" " * 65_537, content_type="application/json")
    assert answer.status_code == 413


def test_keeps_a_bounded_number_of_chains_and_one_signer_a_chain(emulator: RunningEmulator) -> None:
    controls = Controls(authorities=emulator.controls.authorities, clock=emulator.controls.now, base_url="http://x")
    first = controls.chain()
    for number in range(99):
        controls.put(Conditions(chain=ChainChoice(issuer_urls=(f"http://127.0.0.1/{number}",))))
    with pytest.raises(ValueError, match="at most 100"):
        controls.put(Conditions(chain=ChainChoice(issuer_urls=())))
    controls.reset()
    assert controls.chain() is first
