"""The faults that every agent is tested with, and the exit code and the sentence that each one must cause."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from support.scripted_servers import Reply, Request, dead_url, forward, json_reply, problem_reply

from verifier.agent.exit_codes import ExitCode
from verifier.emulator.faults import Fault, FaultKind

#: A fixed reply, or a function of the real server's URL and the request.
Answer = Reply | Callable[[str, Request], Reply]

#: The API key of each tenant. The service does not know `unknown`.
KEYS = {"contoso": "key-of-contoso", "others": "key-of-others", "slow": "key-of-slow", "unknown": "key-of-unknown"}


def from_server(url: str, request: Request) -> Reply:
    """Forward to the real server: the emulator with the scenario's `faults`, or the service."""
    return forward(url, request)


def from_server_retry_now(url: str, request: Request, *, seconds: int = 0) -> Reply:
    """Forward to the real server and replace its Retry-After."""
    reply = forward(url, request)
    return replace(reply, headers={**reply.headers, "Retry-After": str(seconds)})


def from_server_retry_late(url: str, request: Request) -> Reply:
    return from_server_retry_now(url, request, seconds=3600)


RETRY_NOW = {"Retry-After": "0"}
REDIRECT = {"Location": dead_url()}
DOCUMENT = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
NONCE = json_reply({"nonce": "4711"}, status=201)
RESULT = json_reply({"verdict": "verified", "claims": {"vmId": "v-1"}})
WEB_PAGE = Reply(body=b"<html>It works!</html>", headers={"Content-Type": "text/html"})
#: The agent must not send this request.
NOT_EXPECTED = Reply(status=418)
CUT = Reply(body=b'{"encoding": "pkcs7", "signature": "AAAA"}', missing=7)
TOO_LARGE = Reply(body=b" " * 2_000_000)
SILENT = Reply(never=True)
IMDS_RATE_LIMITED = json_reply({"error": "Too many requests"}, status=429, headers=RETRY_NOW)
IMDS_UPDATING = json_reply({"error": "Gone"}, status=410, headers=RETRY_NOW)
IMDS_ERROR = json_reply({"error": "Service Error"}, status=500, headers=RETRY_NOW)
UNAVAILABLE = problem_reply(
    503,
    "store-unavailable",
    retryable=True,
    detail="The service is temporarily unavailable. This is not a verdict. A change may or may not have taken effect.",
    headers=RETRY_NOW,
)
RATE_LIMITED = problem_reply(429, "rate-limited", retryable=True, detail="Too many.", headers=RETRY_NOW)
#: Long enough for the waits of 1 s, 2 s and 4 s on a slow machine. Always too short for the wait of 8 s after them.
SHORT_TIMEOUT = ("--timeout", "14")
REFUSED = problem_reply(422, "document-expired", detail='It "ended".')
REFUSED_RETRYABLE = problem_reply(
    422,
    "nonce-unknown",
    retryable=True,
    detail="The document's nonce was not issued here, or it expired: get a new nonce and a new document.",
    headers=RETRY_NOW,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault and its expected outcome.

    `imds` and `verifier` are the replies in order; the last one repeats, and without replies there is no server.
    `faults` are set on the emulator. `key` names one of `KEYS`.
    """

    name: str
    exit_code: ExitCode
    sentence: str = ""
    imds: tuple[Answer, ...] = (from_server,)
    faults: tuple[Fault, ...] = ()
    verifier: tuple[Answer, ...] = (from_server,)
    untrusted_certificate: bool = False
    options: tuple[str, ...] = ()
    key: str = "contoso"


SCENARIOS = (
    Scenario(name="a VM", exit_code=ExitCode.VERIFIED),
    Scenario(name="a VM, and its token is requested", exit_code=ExitCode.VERIFIED, options=("--token",)),
    # IMDS.
    Scenario(
        name="no IMDS",
        exit_code=ExitCode.IMDS_UNREACHABLE,
        sentence=r"cannot reach IMDS: http://127\.0\.0\.1:1 did not answer.*\. Is this an Azure VM\?",
        imds=(),
    ),
    Scenario(
        name="IMDS rejects the request",
        exit_code=ExitCode.IMDS_REJECTED,
        sentence=r"IMDS at \S+ rejected the request: status 400, Bad request\. No such version",
        imds=(json_reply({"error": "Bad request. No such version"}, status=400),),
    ),
    Scenario(
        name="IMDS rejects the request with an error object",
        exit_code=ExitCode.IMDS_REJECTED,
        sentence=r"IMDS at \S+ rejected the request: status 400, No such version",
        imds=(json_reply({"error": {"code": "BadRequest", "message": "No such version"}}, status=400),),
    ),
    Scenario(
        name="IMDS rejects the request with an error object without a message",
        exit_code=ExitCode.IMDS_REJECTED,
        sentence=r"IMDS at \S+ rejected the request: status 400, BadRequest",
        imds=(json_reply({"error": {"code": "BadRequest"}}, status=400),),
    ),
    Scenario(
        name="IMDS rejects the request without an error text",
        exit_code=ExitCode.IMDS_REJECTED,
        sentence=r"IMDS at \S+ rejected the request: status 403, no error text",
        imds=(Reply(status=403),),
    ),
    Scenario(
        name="IMDS limits the rate twice",
        exit_code=ExitCode.VERIFIED,
        imds=(IMDS_RATE_LIMITED, IMDS_RATE_LIMITED, from_server),
    ),
    Scenario(
        name="IMDS limits the rate on every request",
        exit_code=ExitCode.IMDS_RATE_LIMITED,
        sentence=r"IMDS at \S+ limits the request rate: status 429, Too many requests",
        imds=(*[IMDS_RATE_LIMITED] * 5, NOT_EXPECTED),
    ),
    Scenario(
        name="IMDS is being updated for seven requests",
        exit_code=ExitCode.VERIFIED,
        imds=(*[IMDS_UPDATING] * 7, from_server),
    ),
    Scenario(
        name="IMDS is being updated on every request",
        exit_code=ExitCode.IMDS_UPDATING,
        sentence=r"IMDS at \S+ is being updated: status 410, Gone",
        imds=(*[IMDS_UPDATING] * 8, NOT_EXPECTED),
    ),
    Scenario(
        name="Retry-After of an IMDS update exceeds the timeout",
        exit_code=ExitCode.IMDS_UPDATING,
        sentence=r"IMDS at \S+ is being updated: .+",
        imds=(json_reply({"error": "Gone"}, status=410, headers={"Retry-After": "60"}), NOT_EXPECTED),
        options=("--timeout", "30"),
    ),
    Scenario(
        name="Retry-After of an IMDS update exceeds 70 seconds",
        exit_code=ExitCode.IMDS_UPDATING,
        sentence=r"IMDS at \S+ is being updated: .+",
        imds=(json_reply({"error": "Gone"}, status=410, headers={"Retry-After": "71"}), NOT_EXPECTED),
    ),
    Scenario(name="IMDS fails twice", exit_code=ExitCode.VERIFIED, imds=(IMDS_ERROR, IMDS_ERROR, from_server)),
    Scenario(
        name="IMDS fails on every request",
        exit_code=ExitCode.IMDS_ERROR,
        sentence=r"IMDS at \S+ failed: status 500, Service Error",
        imds=(*[IMDS_ERROR] * 5, NOT_EXPECTED),
    ),
    Scenario(name="IMDS closes the connection early once", exit_code=ExitCode.VERIFIED, imds=(CUT, from_server)),
    Scenario(
        name="IMDS never sends a complete response",
        exit_code=ExitCode.IMDS_ERROR,
        sentence=r"IMDS at \S+ .+",
        imds=(CUT, TOO_LARGE, CUT, CUT, NOT_EXPECTED),
        verifier=(NONCE,),
        options=SHORT_TIMEOUT,
    ),
    Scenario(
        name="IMDS accepts the request and never answers",
        exit_code=ExitCode.TIMEOUT,
        sentence=r"the timeout of 1 s expired before http://\S+ answered",
        imds=(SILENT,),
        options=("--timeout", "1"),
    ),
    Scenario(
        name="a web server at the address of IMDS",
        exit_code=ExitCode.NOT_IMDS,
        sentence=r"http://\S+ is not IMDS: .+\. Is this an Azure VM\?",
        imds=(WEB_PAGE,),
    ),
    Scenario(
        name="the address of IMDS redirects",
        exit_code=ExitCode.NOT_IMDS,
        sentence=r"IMDS at \S+ sent a response that is not from IMDS: status 307, no error text",
        imds=(Reply(status=307, headers=REDIRECT),),
    ),
    Scenario(
        name="IMDS serves a cached document once",
        exit_code=ExitCode.VERIFIED,
        imds=(from_server, from_server),
        faults=(Fault(kind=FaultKind.CACHED_NONCE, requests=1),),
        verifier=(from_server, from_server_retry_now),
    ),
    Scenario(
        name="IMDS serves a cached document, and Retry-After exceeds the timeout",
        exit_code=ExitCode.REFUSED_RETRYABLE,
        sentence=r"refused, but a retry may succeed: .+ \(nonce-mismatch, request [0-9a-f]{32}\)",
        faults=(Fault(kind=FaultKind.CACHED_NONCE),),
        verifier=(from_server, from_server_retry_late, NOT_EXPECTED),
    ),
    # Faults of the emulator itself.
    Scenario(
        name="four different faults of IMDS in a row",
        exit_code=ExitCode.VERIFIED,
        imds=(from_server,) * 4,
        faults=(
            Fault(kind=FaultKind.GONE, requests=1),
            Fault(kind=FaultKind.ERROR, requests=1),
            Fault(kind=FaultKind.RATE_LIMITED, requests=1),
            Fault(kind=FaultKind.SLOW, requests=1, seconds=0.5),
        ),
    ),
    Scenario(
        name="IMDS sends half of a document",
        exit_code=ExitCode.VERIFIED,
        imds=(from_server, from_server),
        faults=(Fault(kind=FaultKind.CUT, requests=1),),
    ),
    # The verifier.
    Scenario(
        name="refused",
        exit_code=ExitCode.REFUSED,
        sentence=r"refused: The document does not satisfy the rule '.+'\. \(policy-denied, request [0-9a-f]{32}\)",
        key="others",
    ),
    Scenario(
        name="refused with quotation marks in the detail",
        exit_code=ExitCode.REFUSED,
        sentence=r'refused: It "ended"\. \(document-expired, request r-1\)',
        verifier=(NONCE, REFUSED),
    ),
    Scenario(
        name="refused as retryable once",
        exit_code=ExitCode.VERIFIED,
        verifier=(from_server, REFUSED_RETRYABLE, from_server),
    ),
    Scenario(
        name="refused as retryable in every round",
        exit_code=ExitCode.REFUSED_RETRYABLE,
        sentence=r"refused, but a retry may succeed: The document's nonce was not .+ \(nonce-unknown, request \S+\)",
        verifier=(*[NONCE, REFUSED_RETRYABLE] * 5, NOT_EXPECTED),
        imds=(DOCUMENT,),
    ),
    Scenario(
        name="no server at the address of the verifier",
        exit_code=ExitCode.VERIFIER_UNREACHABLE,
        sentence=r"the verifier at http://127\.0\.0\.1:1 did not answer.*",
        verifier=(),
        options=SHORT_TIMEOUT,
    ),
    Scenario(
        name="the verifier closes the connection early once", exit_code=ExitCode.VERIFIED, verifier=(CUT, from_server)
    ),
    Scenario(
        name="the verifier always closes the connection early",
        exit_code=ExitCode.VERIFIER_UNREACHABLE,
        sentence=r"the verifier at \S+ .+",
        verifier=(NONCE, CUT, CUT, CUT, CUT, NOT_EXPECTED),
        imds=(DOCUMENT,),
        options=SHORT_TIMEOUT,
    ),
    Scenario(
        name="the verifier accepts the request and never answers",
        exit_code=ExitCode.TIMEOUT,
        sentence=r"the timeout of 1 s expired before http://\S+ answered",
        verifier=(SILENT,),
        options=("--timeout", "1"),
    ),
    Scenario(
        name="the store is unavailable twice",
        exit_code=ExitCode.VERIFIED,
        verifier=(UNAVAILABLE, from_server, UNAVAILABLE, from_server),
    ),
    Scenario(
        name="the store is unavailable in every round",
        exit_code=ExitCode.VERIFIER_UNAVAILABLE,
        sentence=r"the verifier is unavailable: The service is temporarily .+ \(store-unavailable, request \S+\)",
        verifier=(*[UNAVAILABLE] * 5, NOT_EXPECTED),
    ),
    Scenario(
        name="the verifier has an internal error",
        exit_code=ExitCode.VERIFIER_UNAVAILABLE,
        sentence=r"the verifier is unavailable: Ask again\. \(internal, request r-1\)",
        verifier=(problem_reply(500, "internal"), NOT_EXPECTED),
    ),
    Scenario(
        name="Retry-After of the verifier exceeds the timeout",
        exit_code=ExitCode.VERIFIER_UNAVAILABLE,
        sentence=r"the verifier is unavailable: .+",
        verifier=(
            problem_reply(503, "store-unavailable", retryable=True, headers={"Retry-After": "3600"}),
            NOT_EXPECTED,
        ),
    ),
    Scenario(
        name="a gateway that cannot reach the verifier",
        exit_code=ExitCode.VERIFIER_UNAVAILABLE,
        sentence=r"the verifier is unavailable: \S+ returned status 502 without a problem document",
        verifier=(*[Reply(status=502, body=b"<html>", headers=RETRY_NOW)] * 5, NOT_EXPECTED),
    ),
    Scenario(
        name="the verifier limits the rate once", exit_code=ExitCode.VERIFIED, verifier=(RATE_LIMITED, from_server)
    ),
    Scenario(
        name="the verifier limits the rate in every round",
        exit_code=ExitCode.VERIFIER_RATE_LIMITED,
        sentence=r"the verifier limits the request rate: The rate of your address .+ \(rate-limited, request \w{32}\)",
        key="slow",
        # The rate is per hour. With a long timeout the agent would wait for the next hour shortly before it.
        options=("--timeout", "5"),
    ),
    Scenario(
        name="an unknown API key",
        exit_code=ExitCode.ACCESS_DENIED,
        sentence=r"the verifier denied access: Unknown API key\. .+ \(unauthenticated, request [0-9a-f]{32}\)",
        key="unknown",
    ),
    Scenario(
        name="an API key without permission",
        exit_code=ExitCode.ACCESS_DENIED,
        sentence=r"the verifier denied access: .+ \(forbidden, request r-1\)",
        verifier=(problem_reply(403, "forbidden"),),
    ),
    Scenario(
        name="a web server at the address of the verifier",
        exit_code=ExitCode.NOT_A_VERIFIER,
        sentence=r"\S+ returned status 200 without a problem document\. Check the URL\.",
        verifier=(WEB_PAGE,),
    ),
    Scenario(
        name="the address of the verifier redirects",
        exit_code=ExitCode.NOT_A_VERIFIER,
        sentence=r"\S+ returned status 308 without a problem document\. Check the URL\.",
        verifier=(Reply(status=308, headers=REDIRECT),),
    ),
    Scenario(
        name="a wrong path at the verifier",
        exit_code=ExitCode.NOT_A_VERIFIER,
        sentence=r"\S+ does not support this request: .+ \(not-found, request r-1\)\. Check the URL\.",
        verifier=(problem_reply(404, "not-found"),),
    ),
    Scenario(
        name="a nonce that would change the query to IMDS",
        exit_code=ExitCode.NOT_A_VERIFIER,
        sentence=r"\S+ is not a verifier: .+\. Check the URL\.",
        verifier=(json_reply({"nonce": "1&api-version=2018-10-01"}, status=201),),
    ),
    Scenario(
        name="a status 200 without a verdict",
        exit_code=ExitCode.NOT_A_VERIFIER,
        sentence=r"\S+ is not a verifier: .+\. Check the URL\.",
        verifier=(NONCE, json_reply({"verdict": "refused", "claims": {}})),
        imds=(DOCUMENT,),
    ),
    Scenario(
        name="a verifier with an untrusted certificate",
        exit_code=ExitCode.NOT_A_VERIFIER,
        sentence=r"the verifier at https://localhost:[0-9]+ has an untrusted certificate.*",
        untrusted_certificate=True,
    ),
    Scenario(
        name="a token is requested and the result has none",
        exit_code=ExitCode.NO_TOKEN,
        sentence=r"verified, but the verifier returned no result token",
        verifier=(NONCE, RESULT),
        imds=(DOCUMENT,),
        options=("--token",),
    ),
)
