"""What an agent has to do about each fault, and with which status and sentence it ends: one table for all agents."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from support.scripted_servers import Reply, Request, dead_url, forward, json_reply, problem_reply

from verifier.agent.ends import End
from verifier.emulator.faults import Fault, FaultKind

#: What is answered: this, or what is made of the URL of the real server behind it and of the request.
Answer = Reply | Callable[[str, Request], Reply]

#: The tenants of the verifier, each with its key; `nobody` is none.
KEYS = {"contoso": "key-of-contoso", "others": "key-of-others", "slow": "key-of-slow", "nobody": "key-of-nobody"}


def the_imds(url: str, request: Request) -> Reply:
    """What the emulator says, which has the scenario's `faults`."""
    return forward(url, request)


def the_verifier(url: str, request: Request) -> Reply:
    return forward(url, request)


def the_verifier_in_haste(url: str, request: Request, *, seconds: int = 0) -> Reply:
    """What the service says, but for how long to wait."""
    reply = forward(url, request)
    return replace(reply, headers={**reply.headers, "Retry-After": str(seconds)})


def the_verifier_at_leisure(url: str, request: Request) -> Reply:
    return the_verifier_in_haste(url, request, seconds=3600)


AT_ONCE = {"Retry-After": "0"}
ELSEWHERE = {"Location": dead_url()}
DOCUMENT = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
NONCE = json_reply({"nonce": "4711"}, status=201)
RESULT = json_reply({"verdict": "verified", "claims": {"vmId": "v-1"}})
PAGE = Reply(body=b"<html>It works!</html>", headers={"Content-Type": "text/html"})
#: Must not be reached.
UNASKED = Reply(status=418)
CUT = Reply(body=b'{"encoding": "pkcs7", "signature": "AAAA"}', missing=7)
ENDLESS = Reply(body=b" " * 2_000_000)
SILENT = Reply(never=True)
LIMITING = json_reply({"error": "Too many requests"}, status=429, headers=AT_ONCE)
UPDATING = json_reply({"error": "Gone"}, status=410, headers=AT_ONCE)
FAILING = json_reply({"error": "Service Error"}, status=500, headers=AT_ONCE)
AWAY = problem_reply(503, "store-unavailable", retryable=True, detail="The store is away.", headers=AT_ONCE)
BUSY = problem_reply(429, "rate-limited", retryable=True, detail="Too many.", headers=AT_ONCE)
#: Time for the waits of 1 s and 2 s, and none for that of 4 s, however slow the machine.
IMPATIENT = ("--timeout", "7")
REFUSED = problem_reply(422, "document-expired", detail='It "ended".')
PASSING = problem_reply(422, "nonce-unknown", retryable=True, detail="Get a new one.", headers=AT_ONCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`imds` and `verifier` are what these answer, one after the other, and the last one for ever; where there is
    none, nothing is there. `faults` are of the emulator behind. `stranger`: the verifier has a certificate that nobody
    trusts. `key` is one of `KEYS`."""

    name: str
    end: End
    sentence: str = ""
    imds: tuple[Answer, ...] = (the_imds,)
    faults: tuple[Fault, ...] = ()
    verifier: tuple[Answer, ...] = (the_verifier,)
    stranger: bool = False
    options: tuple[str, ...] = ()
    key: str = "contoso"


SCENARIOS = (
    Scenario(name="a VM", end=End.VERIFIED),
    Scenario(name="a VM whose token is wanted", end=End.VERIFIED, options=("--token",)),
    # IMDS.
    Scenario(
        name="no IMDS",
        end=End.IMDS_MISSING,
        sentence=r"no IMDS: http://127\.0\.0\.1:1 gave no answer.*: is this an Azure VM\?",
        imds=(),
    ),
    Scenario(
        name="IMDS refuses",
        end=End.IMDS_REFUSES,
        sentence=r"IMDS at \S+ refuses: it answered 400, Bad request\. No such version",
        imds=(json_reply({"error": "Bad request. No such version"}, status=400),),
    ),
    Scenario(
        name="IMDS refuses without a word",
        end=End.IMDS_REFUSES,
        sentence=r"IMDS at \S+ refuses: it answered 403, without an explanation",
        imds=(Reply(status=403),),
    ),
    Scenario(name="IMDS limits for a moment", end=End.VERIFIED, imds=(LIMITING, LIMITING, the_imds)),
    Scenario(
        name="IMDS limits for ever",
        end=End.IMDS_LIMITING,
        sentence=r"IMDS at \S+ is asked too often: it answered 429, Too many requests",
        imds=(*[LIMITING] * 5, UNASKED),
    ),
    Scenario(name="IMDS is updated for a moment", end=End.VERIFIED, imds=(*[UPDATING] * 7, the_imds)),
    Scenario(
        name="IMDS is updated for ever",
        end=End.IMDS_UPDATING,
        sentence=r"IMDS at \S+ is being updated: it answered 410, Gone",
        imds=(*[UPDATING] * 8, UNASKED),
    ),
    Scenario(
        name="IMDS is updated longer than there is time",
        end=End.IMDS_UPDATING,
        sentence=r"IMDS at \S+ is being updated: .+",
        imds=(json_reply({"error": "Gone"}, status=410, headers={"Retry-After": "60"}), UNASKED),
        options=("--timeout", "30"),
    ),
    Scenario(
        name="IMDS is updated longer than Azure says",
        end=End.IMDS_UPDATING,
        sentence=r"IMDS at \S+ is being updated: .+",
        imds=(json_reply({"error": "Gone"}, status=410, headers={"Retry-After": "71"}), UNASKED),
    ),
    Scenario(name="IMDS fails for a moment", end=End.VERIFIED, imds=(FAILING, FAILING, the_imds)),
    Scenario(
        name="IMDS fails for ever",
        end=End.IMDS_FAILING,
        sentence=r"IMDS at \S+ is failing: it answered 500, Service Error",
        imds=(*[FAILING] * 5, UNASKED),
    ),
    Scenario(name="IMDS breaks off once", end=End.VERIFIED, imds=(CUT, the_imds)),
    Scenario(
        name="IMDS gives no whole answer",
        end=End.IMDS_FAILING,
        sentence=r"IMDS at \S+ .+",
        imds=(CUT, ENDLESS, CUT, UNASKED),
        verifier=(NONCE,),
        options=IMPATIENT,
    ),
    Scenario(
        name="IMDS says nothing",
        end=End.OUT_OF_TIME,
        sentence=r"the time, 1 s, was up before http://\S+ answered",
        imds=(SILENT,),
        options=("--timeout", "1"),
    ),
    Scenario(
        name="something else at IMDS's address",
        end=End.NOT_IMDS,
        sentence=r"http://\S+ does not answer as IMDS does.*: is this an Azure VM\?",
        imds=(PAGE,),
    ),
    Scenario(
        name="IMDS's address redirects",
        end=End.NOT_IMDS,
        sentence=r"IMDS at \S+ does not answer as IMDS does: it answered 307, without an explanation",
        imds=(Reply(status=307, headers=ELSEWHERE),),
    ),
    Scenario(
        name="a cached nonce once",
        end=End.VERIFIED,
        imds=(the_imds, the_imds),
        faults=(Fault(kind=FaultKind.CACHED_NONCE, requests=1),),
        verifier=(the_verifier, the_verifier_in_haste),
    ),
    Scenario(
        name="a cached nonce for longer than there is time",
        end=End.REFUSED_FOR_NOW,
        sentence=r"refused for now: .+ \(nonce-mismatch, request [0-9a-f]{32}\)",
        faults=(Fault(kind=FaultKind.CACHED_NONCE),),
        verifier=(the_verifier, the_verifier_at_leisure, UNASKED),
    ),
    # What the emulator does itself.
    Scenario(
        name="one fault after the other",
        end=End.VERIFIED,
        imds=(the_imds,) * 4,
        faults=(
            Fault(kind=FaultKind.GONE, requests=1),
            Fault(kind=FaultKind.ERROR, requests=1),
            Fault(kind=FaultKind.RATE_LIMITED, requests=1),
            Fault(kind=FaultKind.SLOW, requests=1, seconds=0.5),
        ),
    ),
    Scenario(
        name="a cut document",
        end=End.VERIFIED,
        imds=(the_imds, the_imds),
        faults=(Fault(kind=FaultKind.CUT, requests=1),),
    ),
    # The verifier.
    Scenario(
        name="refused",
        end=End.REFUSED,
        sentence=r"refused: .+ \(policy-denied, request [0-9a-f]{32}\)",
        key="others",
    ),
    Scenario(
        name="refused with quotation marks",
        end=End.REFUSED,
        sentence=r'refused: It "ended"\. \(document-expired, request r-1\)',
        verifier=(NONCE, REFUSED),
    ),
    Scenario(name="refused for now, once", end=End.VERIFIED, verifier=(the_verifier, PASSING, the_verifier)),
    Scenario(
        name="refused for now, for ever",
        end=End.REFUSED_FOR_NOW,
        sentence=r"refused for now: Get a new one\. \(nonce-unknown, request r-1\)",
        verifier=(*[NONCE, PASSING] * 5, UNASKED),
        imds=(DOCUMENT,),
    ),
    Scenario(
        name="no verifier",
        end=End.VERIFIER_UNREACHABLE,
        sentence=r"the verifier at http://127\.0\.0\.1:1 gave no answer.*",
        verifier=(),
        options=IMPATIENT,
    ),
    Scenario(name="the verifier breaks off once", end=End.VERIFIED, verifier=(CUT, the_verifier)),
    Scenario(
        name="the verifier breaks off",
        end=End.VERIFIER_UNREACHABLE,
        sentence=r"the verifier at \S+ .+",
        verifier=(NONCE, CUT, CUT, CUT, UNASKED),
        imds=(DOCUMENT,),
        options=IMPATIENT,
    ),
    Scenario(
        name="the verifier says nothing",
        end=End.OUT_OF_TIME,
        sentence=r"the time, 1 s, was up before http://\S+ answered",
        verifier=(SILENT,),
        options=("--timeout", "1"),
    ),
    Scenario(
        name="the store is away for a moment", end=End.VERIFIED, verifier=(AWAY, the_verifier, AWAY, the_verifier)
    ),
    Scenario(
        name="the store is away",
        end=End.VERIFIER_UNAVAILABLE,
        sentence=r"the verifier cannot answer now: The store is away\. \(store-unavailable, request r-1\)",
        verifier=(*[AWAY] * 5, UNASKED),
    ),
    Scenario(
        name="the verifier is broken",
        end=End.VERIFIER_UNAVAILABLE,
        sentence=r"the verifier cannot answer now: Ask again\. \(internal, request r-1\)",
        verifier=(problem_reply(500, "internal"), UNASKED),
    ),
    Scenario(
        name="the verifier is away longer than there is time",
        end=End.VERIFIER_UNAVAILABLE,
        sentence=r"the verifier cannot answer now: .+",
        verifier=(problem_reply(503, "store-unavailable", retryable=True, headers={"Retry-After": "3600"}), UNASKED),
    ),
    Scenario(
        name="a gateway without a verifier",
        end=End.VERIFIER_UNAVAILABLE,
        sentence=r"the verifier cannot answer now: \S+ answered 502, without the problem document of a verifier",
        verifier=(*[Reply(status=502, body=b"<html>", headers=AT_ONCE)] * 5, UNASKED),
    ),
    Scenario(name="asked too often, once", end=End.VERIFIED, verifier=(BUSY, the_verifier)),
    Scenario(
        name="asked too often",
        end=End.RATE_LIMITED,
        sentence=r"the verifier is asked too often: .+ \(rate-limited, request [0-9a-f]{32}\)",
        key="slow",
    ),
    Scenario(
        name="a key that nobody has",
        end=End.NOT_ADMITTED,
        sentence=r"the verifier does not let this agent in: .+ \(unauthenticated, request [0-9a-f]{32}\)",
        key="nobody",
    ),
    Scenario(
        name="a key for something else",
        end=End.NOT_ADMITTED,
        sentence=r"the verifier does not let this agent in: .+ \(forbidden, request r-1\)",
        verifier=(problem_reply(403, "forbidden"),),
    ),
    Scenario(
        name="something else at the verifier's address",
        end=End.NOT_A_VERIFIER,
        sentence=r"\S+ answered 200, without the problem document of a verifier: is the URL right\?",
        verifier=(PAGE,),
    ),
    Scenario(
        name="the verifier's address redirects",
        end=End.NOT_A_VERIFIER,
        sentence=r"\S+ answered 308, without the problem document of a verifier: is the URL right\?",
        verifier=(Reply(status=308, headers=ELSEWHERE),),
    ),
    Scenario(
        name="another path of the verifier",
        end=End.NOT_A_VERIFIER,
        sentence=r"\S+ does not take this agent's requests: .+ \(not-found, request r-1\): is the URL right\?",
        verifier=(problem_reply(404, "not-found"),),
    ),
    Scenario(
        name="a nonce that would change IMDS's query",
        end=End.NOT_A_VERIFIER,
        sentence=r"\S+ does not answer as a verifier does: .+: is the URL right\?",
        verifier=(json_reply({"nonce": "1&api-version=2018-10-01"}, status=201),),
    ),
    Scenario(
        name="a 200 that is no verdict",
        end=End.NOT_A_VERIFIER,
        sentence=r"\S+ does not answer as a verifier does: .+: is the URL right\?",
        verifier=(NONCE, json_reply({"verdict": "refused", "claims": {}})),
        imds=(DOCUMENT,),
    ),
    Scenario(
        name="a verifier with nobody's certificate",
        end=End.NOT_A_VERIFIER,
        sentence=r"the verifier at https://localhost:[0-9]+ is not who it should be .+",
        stranger=True,
    ),
    Scenario(
        name="no token where one is wanted",
        end=End.NO_TOKEN,
        sentence=r"verified, but the verifier signs no results: there is no token",
        verifier=(NONCE, RESULT),
        imds=(DOCUMENT,),
        options=("--token",),
    ),
)
