"""The IMDS client keeps the page's rules, and tells the page's errors apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Thread

import pytest
from support.scripted_servers import Reply, Script, dead_url, json_reply, serving
from unit.agent.budgets import StandingTime
from werkzeug.serving import make_server

from verifier.agent.ends import End, NotAttested
from verifier.agent.imds import AttestedDocument, ImdsClient
from verifier.agent.transport import Endpoint, MalformedAnswerError
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.imds import create_app
from verifier.emulator.pki import make_pki

DOCUMENT = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
TOO_MANY = json_reply({"error": "Too many requests"}, status=429)
GONE = json_reply({"error": "Gone"}, status=410)
FAILING = json_reply({"error": "Service Error"}, status=500)
CUT = Reply(body=DOCUMENT.body, missing=5)


@pytest.fixture
def time() -> StandingTime:
    return StandingTime()


def client(script: Script, time: StandingTime, *, seconds: float = 600) -> ImdsClient:
    return ImdsClient(endpoint=Endpoint.parse(script.url), budget=time.budget(seconds))


def test_asks_by_the_rules_of_the_page(time: StandingTime) -> None:
    with serving(DOCUMENT) as script:
        document = client(script, time).attested_document("1234567890")
    (request,) = script.requests
    assert request.method == "GET"
    assert request.target == "/metadata/attested/document?api-version=2020-09-01&nonce=1234567890"
    assert request.headers["Metadata"] == "true"
    assert "X-Forwarded-For" not in request.headers
    assert document.raw == DOCUMENT.body
    assert document.fields() == {"encoding": "pkcs7", "signature": "AAAA"}
    assert time.waits == []


def test_asks_for_the_version_that_it_is_told(time: StandingTime) -> None:
    with serving(DOCUMENT) as script:
        endpoint = Endpoint.parse(script.url)
        ImdsClient(endpoint=endpoint, api_version="2018-10-01", budget=time.budget()).attested_document("1")
    assert "api-version=2018-10-01&" in script.requests[0].target


def test_a_nonce_cannot_add_a_parameter(time: StandingTime) -> None:
    with serving(DOCUMENT) as script:
        client(script, time).attested_document("1&api-version=x y")
    assert script.requests[0].target.endswith("nonce=1%26api-version%3Dx+y")


@pytest.mark.parametrize("trouble", [TOO_MANY, GONE, FAILING, CUT], ids=["429", "410", "500", "cut"])
def test_asks_again_after_what_may_pass(time: StandingTime, trouble: Reply) -> None:
    with serving(trouble, trouble, DOCUMENT) as script:
        assert client(script, time).attested_document("1").raw == DOCUMENT.body
    assert len(script.requests) == 3
    assert time.waits[0] == 1


@pytest.mark.parametrize(
    ("trouble", "end", "sentence", "waited"),
    [
        (TOO_MANY, End.IMDS_LIMITING, "is asked too often: it answered 429, Too many requests", 8),
        # Azure page: Errors and debugging, "for a max of 70 seconds".
        (GONE, End.IMDS_UPDATING, "is being updated: it answered 410, Gone", 70),
        (FAILING, End.IMDS_FAILING, "is failing: it answered 500, Service Error", 15),
        (CUT, End.IMDS_FAILING, "broke off 5 bytes before the end of its answer", 15),
    ],
    ids=["429", "410", "500", "cut"],
)
def test_gives_up_in_the_end(time: StandingTime, trouble: Reply, end: End, sentence: str, waited: int) -> None:
    with serving(trouble) as script, pytest.raises(NotAttested, match=sentence) as ended:
        client(script, time).attested_document("1")
    assert ended.value.end is end
    assert not ended.value.retryable
    assert sum(time.waits) == waited
    assert len(script.requests) == len(time.waits) + 1


def test_troubles_are_counted_apart(time: StandingTime) -> None:
    with serving(TOO_MANY, GONE, FAILING, TOO_MANY, GONE, FAILING, DOCUMENT) as script:
        client(script, time).attested_document("1")
    assert time.waits == [1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("status", [410, 429, 500, 503])
def test_waits_as_long_as_it_is_told(time: StandingTime, status: int) -> None:
    told = json_reply({"error": "x"}, status=status, headers={"Retry-After": "6"})
    with serving(told, told, DOCUMENT) as script:
        client(script, time).attested_document("1")
    assert time.waits == [6, 6]


@pytest.mark.parametrize("asked", ["0", "1"])
def test_the_number_of_retries_is_bounded_however_short_the_waits(time: StandingTime, asked: str) -> None:
    told = json_reply({"error": "x"}, status=429, headers={"Retry-After": asked})
    with serving(told) as script, pytest.raises(NotAttested):
        client(script, time).attested_document("1")
    assert len(script.requests) == 5


def test_410_is_given_up_where_it_wants_more_than_70_seconds(time: StandingTime) -> None:
    told = json_reply({"error": "Gone"}, status=410, headers={"Retry-After": "36"})
    with serving(told) as script, pytest.raises(NotAttested) as ended:
        client(script, time).attested_document("1")
    assert ended.value.end is End.IMDS_UPDATING
    assert time.waits == [36]


def test_does_not_wait_for_what_the_budget_has_no_time_for(time: StandingTime) -> None:
    with serving(GONE) as script, pytest.raises(NotAttested) as ended:
        client(script, time, seconds=4).attested_document("1")
    assert ended.value.end is End.IMDS_UPDATING
    assert time.waits == [1, 2]


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_a_refusal_is_told_in_imdss_words(time: StandingTime, status: int) -> None:
    refusal = json_reply({"error": "Bad\nrequest. " + "x" * 500}, status=status)
    expected = f"refuses: it answered {status}, Bad request"
    with serving(refusal) as script, pytest.raises(NotAttested, match=expected) as ended:
        client(script, time).attested_document("1")
    assert ended.value.end is End.IMDS_REFUSES
    assert len(str(ended.value)) < 300
    assert time.waits == []


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"error": 5}'])
def test_a_refusal_without_words_is_told(time: StandingTime, body: bytes) -> None:
    with serving(Reply(status=404, body=body)) as script, pytest.raises(NotAttested, match="without an explanation"):
        client(script, time).attested_document("1")


def test_a_redirect_is_not_followed(time: StandingTime) -> None:
    with (
        serving(DOCUMENT) as elsewhere,
        serving(Reply(status=307, headers={"Location": elsewhere.url})) as script,
        pytest.raises(NotAttested, match="does not answer as IMDS does: it answered 307") as ended,
    ):
        client(script, time).attested_document("1")
    assert ended.value.end is End.NOT_IMDS
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"encoding":"pkcs7"}', b'{"encoding":"pkcs7","signature":5}'],
    ids=["empty", "html", "list", "object", "half", "number"],
)
def test_what_is_no_document_is_no_imds(time: StandingTime, body: bytes) -> None:
    with serving(Reply(body=body)) as script, pytest.raises(NotAttested, match="is this an Azure VM") as ended:
        client(script, time).attested_document("1")
    assert ended.value.end is End.NOT_IMDS
    assert time.waits == []


def test_an_answer_without_an_end_is_cut(time: StandingTime) -> None:
    with serving(Reply(body=b"a" * 70_000)) as script, pytest.raises(NotAttested, match="more than 65536 bytes"):
        client(script, time).attested_document("1")


def test_a_machine_without_an_imds_is_told_so(time: StandingTime) -> None:
    imds = ImdsClient(endpoint=Endpoint.parse(dead_url()), budget=time.budget())
    expected = r"no IMDS: http://127\.0\.0\.1:1 gave no answer .+: is this an Azure VM\?"
    with pytest.raises(NotAttested, match=expected) as ended:
        imds.attested_document("1")
    assert ended.value.end is End.IMDS_MISSING
    assert time.waits == [1, 2]


def test_the_default_is_azures_address(time: StandingTime) -> None:
    assert str(ImdsClient(budget=time.budget()).endpoint) == "http://169.254.169.254"


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


def test_understands_the_emulator(time: StandingTime) -> None:
    with emulator() as url:
        imds = ImdsClient(endpoint=Endpoint.parse(url), budget=time.budget())
        assert imds.attested_document("1").fields()["encoding"] == "pkcs7"
        with pytest.raises(NotAttested, match="nonce must be"):
            imds.attested_document("not-alphanumeric")
        with pytest.raises(NotAttested, match="api-version is not supported"):
            ImdsClient(endpoint=imds.endpoint, api_version="2020-09-02", budget=imds.budget).attested_document("1")
        # The emulator's clock stands still, so the sixth request finds no room, and none after it.
        imds.attested_document("2")
        imds.attested_document("3")
        with pytest.raises(NotAttested, match="429") as ended:
            imds.attested_document("4")
    assert ended.value.end is End.IMDS_LIMITING
