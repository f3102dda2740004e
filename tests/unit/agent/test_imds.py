"""The IMDS client follows the rules of Azure's page and distinguishes its errors."""

import pytest
from support.scripted_servers import Reply, Script, dead_url, json_reply, serving
from unit.agent.budgets import ManualTime

from verifier.agent.exit_codes import ExitCode, NotAttested
from verifier.agent.imds import AttestedDocument, ImdsClient
from verifier.agent.transport import Endpoint, MalformedResponseError
from verifier.emulator import VirtualMachine, loopback_emulator

DOCUMENT = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
RATE_LIMITED = json_reply({"error": "Too many requests"}, status=429)
UPDATING = json_reply({"error": "Gone"}, status=410)
SERVER_ERROR = json_reply({"error": "Service Error"}, status=500)
CUT = Reply(body=DOCUMENT.body, missing=5)


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


def client(script: Script, time: ManualTime, *, seconds: float = 600) -> ImdsClient:
    return ImdsClient(endpoint=Endpoint.parse(script.url), budget=time.budget(seconds))


def test_request_follows_the_rules_of_the_page(time: ManualTime) -> None:
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


def test_request_has_the_chosen_api_version(time: ManualTime) -> None:
    with serving(DOCUMENT) as script:
        endpoint = Endpoint.parse(script.url)
        ImdsClient(endpoint=endpoint, api_version="2018-10-01", budget=time.budget()).attested_document("1")
    assert "api-version=2018-10-01&" in script.requests[0].target


def test_nonce_cannot_add_a_query_parameter(time: ManualTime) -> None:
    with serving(DOCUMENT) as script:
        client(script, time).attested_document("1&api-version=x y")
    assert script.requests[0].target.endswith("nonce=1%26api-version%3Dx+y")


@pytest.mark.parametrize("failure", [RATE_LIMITED, UPDATING, SERVER_ERROR, CUT], ids=["429", "410", "500", "cut"])
def test_temporary_failure_is_retried(time: ManualTime, failure: Reply) -> None:
    with serving(failure, failure, DOCUMENT) as script:
        assert client(script, time).attested_document("1").raw == DOCUMENT.body
    assert len(script.requests) == 3
    assert time.waits[0] == 1


@pytest.mark.parametrize(
    ("failure", "exit_code", "sentence", "waited"),
    [
        (RATE_LIMITED, ExitCode.IMDS_RATE_LIMITED, "limits the request rate: status 429, Too many requests", 8),
        # Azure page, Errors and debugging: "for a max of 70 seconds".
        (UPDATING, ExitCode.IMDS_UPDATING, "is being updated: status 410, Gone", 70),
        (SERVER_ERROR, ExitCode.IMDS_ERROR, "failed: status 500, Service Error", 15),
        (CUT, ExitCode.IMDS_ERROR, "closed the connection 5 bytes before the end", 15),
    ],
    ids=["429", "410", "500", "cut"],
)
def test_lasting_failure_ends_after_the_last_retry(
    time: ManualTime, failure: Reply, exit_code: ExitCode, sentence: str, waited: int
) -> None:
    with serving(failure) as script, pytest.raises(NotAttested, match=sentence) as error:
        client(script, time).attested_document("1")
    assert error.value.exit_code is exit_code
    assert not error.value.retryable
    assert sum(time.waits) == waited
    assert len(script.requests) == len(time.waits) + 1


def test_each_kind_of_failure_has_its_own_retries(time: ManualTime) -> None:
    with serving(RATE_LIMITED, UPDATING, SERVER_ERROR, RATE_LIMITED, UPDATING, SERVER_ERROR, DOCUMENT) as script:
        client(script, time).attested_document("1")
    assert time.waits == [1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("status", [410, 429, 500, 503])
def test_wait_follows_retry_after(time: ManualTime, status: int) -> None:
    failure = json_reply({"error": "x"}, status=status, headers={"Retry-After": "6"})
    with serving(failure, failure, DOCUMENT) as script:
        client(script, time).attested_document("1")
    assert time.waits == [6, 6]


@pytest.mark.parametrize("retry_after", ["0", "1"])
def test_number_of_retries_is_bounded_with_a_short_retry_after(time: ManualTime, retry_after: str) -> None:
    failure = json_reply({"error": "x"}, status=429, headers={"Retry-After": retry_after})
    with serving(failure) as script, pytest.raises(NotAttested):
        client(script, time).attested_document("1")
    assert len(script.requests) == 5


def test_update_that_needs_more_than_70_seconds_ends_the_run(time: ManualTime) -> None:
    failure = json_reply({"error": "Gone"}, status=410, headers={"Retry-After": "36"})
    with serving(failure) as script, pytest.raises(NotAttested) as error:
        client(script, time).attested_document("1")
    assert error.value.exit_code is ExitCode.IMDS_UPDATING
    assert time.waits == [36]


def test_retry_that_exceeds_the_budget_is_skipped(time: ManualTime) -> None:
    with serving(UPDATING) as script, pytest.raises(NotAttested) as error:
        client(script, time, seconds=4).attested_document("1")
    assert error.value.exit_code is ExitCode.IMDS_UPDATING
    assert time.waits == [1, 2]


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_rejection_quotes_the_error_of_imds(time: ManualTime, status: int) -> None:
    refusal = json_reply({"error": "Bad\nrequest. " + "x" * 500}, status=status)
    expected = f"rejected the request: status {status}, Bad request"
    with serving(refusal) as script, pytest.raises(NotAttested, match=expected) as error:
        client(script, time).attested_document("1")
    assert error.value.exit_code is ExitCode.IMDS_REJECTED
    assert len(str(error.value)) < 300
    assert time.waits == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ({"code": "BadRequest", "message": "Bad\nrequest"}, "Bad request"),
        ({"code": "BadRequest", "message": None}, "BadRequest"),
    ],
)
def test_rejection_quotes_an_error_object_of_imds(time: ManualTime, error: object, text: str) -> None:
    refusal = json_reply({"error": error}, status=400)
    with serving(refusal) as script, pytest.raises(NotAttested, match=f"status 400, {text}$"):
        client(script, time).attested_document("1")


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"error": 5}', b'{"error": {"code": 5}}', b'{"message": "x"}'])
def test_rejection_without_an_error_text_says_so(time: ManualTime, body: bytes) -> None:
    with serving(Reply(status=404, body=body)) as script, pytest.raises(NotAttested, match="no error text"):
        client(script, time).attested_document("1")


def test_redirect_is_not_followed(time: ManualTime) -> None:
    with (
        serving(DOCUMENT) as elsewhere,
        serving(Reply(status=307, headers={"Location": elsewhere.url})) as script,
        pytest.raises(NotAttested, match="sent a response that is not from IMDS: status 307") as error,
    ):
        client(script, time).attested_document("1")
    assert error.value.exit_code is ExitCode.NOT_IMDS
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"encoding":"pkcs7"}', b'{"encoding":"pkcs7","signature":5}'],
    ids=["empty", "html", "list", "object", "half", "number"],
)
def test_response_that_is_not_a_document_is_not_from_imds(time: ManualTime, body: bytes) -> None:
    with serving(Reply(body=body)) as script, pytest.raises(NotAttested, match="Is this an Azure VM") as error:
        client(script, time).attested_document("1")
    assert error.value.exit_code is ExitCode.NOT_IMDS
    assert time.waits == []


def test_response_over_the_limit_is_refused(time: ManualTime) -> None:
    with serving(Reply(body=b"a" * 70_000)) as script, pytest.raises(NotAttested, match="more than 65536 bytes"):
        client(script, time).attested_document("1")


def test_machine_without_imds_gets_a_clear_sentence(time: ManualTime) -> None:
    imds = ImdsClient(endpoint=Endpoint.parse(dead_url()), budget=time.budget())
    expected = r"cannot reach IMDS: http://127\.0\.0\.1:1 did not answer .+\. Is this an Azure VM\?"
    with pytest.raises(NotAttested, match=expected) as error:
        imds.attested_document("1")
    assert error.value.exit_code is ExitCode.IMDS_UNREACHABLE
    assert time.waits == [1, 2]


def test_default_endpoint_is_the_address_of_azure(time: ManualTime) -> None:
    assert str(ImdsClient(budget=time.budget()).endpoint) == "http://169.254.169.254"


def test_document_needs_an_encoding_and_a_signature() -> None:
    with pytest.raises(MalformedResponseError):
        AttestedDocument(raw=b'{"encoding": "pkcs7"}')


def test_client_understands_the_emulator(time: ManualTime) -> None:
    # The emulator's clock stands still, so the sixth request and every later one exceed its rate limit.
    with loopback_emulator(VirtualMachine(), monotonic=lambda: 0.0) as emulator:
        imds = ImdsClient(endpoint=Endpoint.parse(emulator.url), budget=time.budget())
        assert imds.attested_document("1").fields()["encoding"] == "pkcs7"
        with pytest.raises(NotAttested, match="nonce must be"):
            imds.attested_document("not-alphanumeric")
        with pytest.raises(NotAttested, match="api-version is invalid or was not specified"):
            ImdsClient(endpoint=imds.endpoint, api_version="2020-09-02", budget=imds.budget).attested_document("1")
        imds.attested_document("2")
        imds.attested_document("3")
        with pytest.raises(NotAttested, match="429") as error:
            imds.attested_document("4")
    assert error.value.exit_code is ExitCode.IMDS_RATE_LIMITED
