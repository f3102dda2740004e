"""The IMDS client keeps the page's rules, and tells the page's errors apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Thread

import pytest
from unit.agent.servers import Reply, Script, dead_url, json_reply, serving
from werkzeug.serving import make_server

from verifier.agent.imds import AttestedDocument, ImdsClient, ImdsRefusedError, ImdsUnavailableError
from verifier.agent.transport import Endpoint, MalformedAnswerError
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.imds import create_app
from verifier.emulator.pki import make_pki

DOCUMENT = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
TOO_MANY = json_reply({"error": "Too many requests"}, status=429)
GONE = json_reply({"error": "Gone"}, status=410)


class Waits(list[float]):
    """Remembers the waits and does not wait."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


def client(script: Script, waits: Waits) -> ImdsClient:
    return ImdsClient(endpoint=Endpoint.parse(script.url), wait=waits)


def test_asks_by_the_rules_of_the_page(waits: Waits) -> None:
    with serving(DOCUMENT) as script:
        document = client(script, waits).attested_document("1234567890")
    (request,) = script.requests
    assert request.method == "GET"
    assert request.target == "/metadata/attested/document?api-version=2020-09-01&nonce=1234567890"
    assert request.headers["Metadata"] == "true"
    assert "X-Forwarded-For" not in request.headers
    assert document.raw == DOCUMENT.body
    assert document.fields() == {"encoding": "pkcs7", "signature": "AAAA"}
    assert waits == []


def test_asks_for_the_version_that_it_is_told(waits: Waits) -> None:
    with serving(DOCUMENT) as script:
        endpoint = Endpoint.parse(script.url)
        ImdsClient(endpoint=endpoint, api_version="2018-10-01", wait=waits).attested_document("1")
    assert "api-version=2018-10-01&" in script.requests[0].target


def test_a_nonce_cannot_add_a_parameter(waits: Waits) -> None:
    with serving(DOCUMENT) as script:
        client(script, waits).attested_document("1&api-version=x y")
    assert script.requests[0].target.endswith("nonce=1%26api-version%3Dx+y")


def test_asks_again_after_429(waits: Waits) -> None:
    with serving(TOO_MANY, TOO_MANY, DOCUMENT) as script:
        client(script, waits).attested_document("1")
    assert len(script.requests) == 3
    assert waits == [1.0, 1.0]


def test_gives_up_on_429_in_the_end(waits: Waits) -> None:
    with serving(TOO_MANY) as script, pytest.raises(ImdsUnavailableError, match="429 after 8 s"):
        client(script, waits).attested_document("1")
    assert len(script.requests) == 5


def test_waits_out_410_for_70_seconds_and_no_longer(waits: Waits) -> None:
    with serving(GONE) as script, pytest.raises(ImdsUnavailableError, match="410 after 70 s"):
        client(script, waits).attested_document("1")
    assert sum(waits) == 70
    assert len(script.requests) == len(waits) + 1


def test_410_and_429_are_counted_apart(waits: Waits) -> None:
    with serving(TOO_MANY, GONE, TOO_MANY, GONE, DOCUMENT) as script:
        client(script, waits).attested_document("1")
    assert waits == [1.0, 1.0, 1.0, 2.0]


@pytest.mark.parametrize("status", [500, 503])
def test_a_failing_imds_is_unavailable_at_once(waits: Waits, status: int) -> None:
    failing = json_reply({"error": "Service Error"}, status=status)
    expected = f"answered {status}: Service Error"
    with serving(failing) as script, pytest.raises(ImdsUnavailableError, match=expected):
        client(script, waits).attested_document("1")
    assert len(script.requests) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_a_refusal_is_told_in_imdss_words(waits: Waits, status: int) -> None:
    refusal = json_reply({"error": "Bad\nrequest. " + "x" * 500}, status=status)
    expected = f"answered {status}: Bad request"
    with serving(refusal) as script, pytest.raises(ImdsRefusedError, match=expected) as refused:
        client(script, waits).attested_document("1")
    assert len(str(refused.value)) < 300
    assert waits == []


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"error": 5}'])
def test_a_refusal_without_words_is_told(waits: Waits, body: bytes) -> None:
    with serving(Reply(status=404, body=body)) as script, pytest.raises(ImdsRefusedError, match="no explanation"):
        client(script, waits).attested_document("1")


def test_a_redirect_is_not_followed(waits: Waits) -> None:
    with (
        serving(DOCUMENT) as elsewhere,
        serving(Reply(status=307, headers={"Location": elsewhere.url})) as script,
        pytest.raises(ImdsUnavailableError, match="307"),
    ):
        client(script, waits).attested_document("1")
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"encoding":"pkcs7"}', b'{"encoding":"pkcs7","signature":5}', b"a" * 70_000],
    ids=["empty", "html", "list", "object", "half", "number", "large"],
)
def test_what_is_no_document_is_no_imds(waits: Waits, body: bytes) -> None:
    with serving(Reply(body=body)) as script, pytest.raises(ImdsUnavailableError):
        client(script, waits).attested_document("1")


def test_an_unreachable_imds_is_unavailable(waits: Waits) -> None:
    imds = ImdsClient(endpoint=Endpoint.parse(dead_url()), wait=waits)
    with pytest.raises(ImdsUnavailableError, match=r"IMDS at http://127\.0\.0\.1:1 gave no answer"):
        imds.attested_document("1")
    assert waits == []


def test_the_default_is_azures_address(waits: Waits) -> None:
    assert str(ImdsClient(wait=waits).endpoint) == "http://169.254.169.254"


def test_a_document_cannot_be_made_of_something_else() -> None:
    with pytest.raises(MalformedAnswerError):
        AttestedDocument(raw=b'{"encoding": "pkcs7"}')


@contextmanager
def emulator() -> Iterator[str]:
    now = datetime(2026, 11, 23, 8, tzinfo=UTC)
    app = create_app(signer=make_pki(now=now).signer, vm=VirtualMachine(), clock=lambda: now, monotonic=lambda: 0.0)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_understands_the_emulator(waits: Waits) -> None:
    with emulator() as url:
        imds = ImdsClient(endpoint=Endpoint.parse(url), wait=waits)
        assert imds.attested_document("1").fields()["encoding"] == "pkcs7"
        with pytest.raises(ImdsRefusedError, match="nonce must be"):
            imds.attested_document("not-alphanumeric")
        with pytest.raises(ImdsRefusedError, match="api-version is not supported"):
            ImdsClient(endpoint=imds.endpoint, api_version="2020-09-02", wait=waits).attested_document("1")
        # The emulator's clock stands still, so the sixth request finds no room, and none after it.
        imds.attested_document("2")
        imds.attested_document("3")
        with pytest.raises(ImdsUnavailableError, match="429"):
            imds.attested_document("4")
