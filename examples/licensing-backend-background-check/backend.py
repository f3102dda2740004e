"""A licensing backend in RFC 9334's background-check model: the VM brings its attested document, and this backend has
the verifier appraise it. The VM never talks to the verifier and has no key for it. Standard library only.

    POST /challenges  {"vmId": ..., "policy": ...}, both optional: the VM binds and narrows its challenge
                                 ->  201 {"session": ..., "nonce": ..., "expiresAt": ...}
    POST /licenses  {"session": ..., "encoding": "pkcs7", "signature": ...}: the session, and the answer of IMDS
                                 ->  201 {"vmId": ..., "licensed": true}

Each failure is a problem (application/problem+json) with `code`, `detail` and `retryable`. docs/integrate/agent.md
describes the protocol. `imds-verifier attest --backend URL` and the other agents speak it.

    VERIFIER=https://verifier.example VERIFIER_KEY=... POLICY=appliance PRODUCTS=contoso-appliance python backend.py

This backend builds each request to the verifier itself. A `vmId` or a `policy` of the VM can only narrow: the document
must satisfy the policy of this backend, too. From the evidence, only `encoding` and `signature` go to the verifier; the
nonce is the session's. Never forward the evidence request of a VM: it may contain another nonce.
"""

import json
import os
import re
import secrets
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

MAX_BODY_BYTES = 16 * 1024
#: As long as the verifier's nonces are good, unless it is told otherwise.
SESSION_SECONDS = 300.0
MAX_SESSIONS = 10_000
#: Sessions that one address (IPv6: one /64) may start in SESSION_SECONDS. A session that ended counts too: each one
#: costs two requests, so one VM could otherwise use up the rate that the verifier gives this backend.
MAX_SESSIONS_PER_ADDRESS = 100
#: What a VM may name in its challenge.
IPV6 = 6
BINDINGS = {
    "vmId": re.compile(r"(\{)?[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?(1)\})"),
    "policy": re.compile(r"[0-9A-Za-z._@-]{1,64}"),
}
#: What the VM can do something about.
REFUSALS = frozenset({400, 403, 409, 413, 422, 429})
#: What the operator of this backend has to correct: VERIFIER_KEY, POLICY or VERIFIER. A retry does not help.
OWN_FAULTS = frozenset(
    {"unauthenticated", "forbidden", "malformed-request", "not-found", "method-not-allowed", "unsupported-media-type"}
)
#: The members of a refusal that the VM gets. Others are for the operator of this backend.
PUBLIC_MEMBERS = ("code", "detail", "retryable", "retryAfterSeconds")

Answer = tuple[int, Mapping[str, object]]


class Verifier:
    """The service, with the key that it knows this backend by."""

    def __init__(self, url: str, key: str = "") -> None:
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}

    def post(self, path: str, fields: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Return status and JSON, whichever the status is. Raises OSError and ValueError if there is no answer."""
        body = json.dumps(fields).encode()
        request = urllib.request.Request(self._url + path, body, self._headers)  # noqa: S310 - the operator's own URL
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                return answer.status, dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(json.load(error))


class TooManySessions(Exception):
    """Report that the backend has too many open sessions, or that one address started too many."""


class Sessions:
    """The nonce that each session was given. A session ends with its first document, or after SESSION_SECONDS.

    A backend with customers that log in keeps the nonce in the customer's session instead.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, tuple[float, str]] = {}
        self._started: deque[tuple[float, str]] = deque()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def admit(self, address: str) -> None:
        """Count a session of this address, before it costs a request to the verifier. Raises TooManySessions."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            if len(self._open) >= MAX_SESSIONS or self._counts.get(address, 0) >= MAX_SESSIONS_PER_ADDRESS:
                raise TooManySessions
            self._started.append((now + SESSION_SECONDS, address))
            self._counts[address] += 1

    def start(self, nonce: str) -> str:
        """Return the id of a new session."""
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._open[session] = (self._clock() + SESSION_SECONDS, nonce)
        return session

    def end(self, session: str) -> str | None:
        """Return the nonce of the session, once; None if there is no such session."""
        with self._lock:
            ends_at, nonce = self._open.pop(session, (0.0, None))
        return nonce if self._clock() <= ends_at else None

    def _forget(self, now: float) -> None:
        while self._open and now > next(iter(self._open.values()))[0]:  # the oldest one is first
            self._open.pop(next(iter(self._open)))
        while self._started and now > self._started[0][0]:
            _, address = self._started.popleft()
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]


def source(address: str) -> str:
    """Return the address that sessions are counted for. Behind a proxy, replace this by the proxy's header."""
    ip = ip_address(address)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ip_network((ip, 64), strict=False) if ip.version == IPV6 else ip)


class Backend:
    """The WSGI application (PEP 3333)."""

    def __init__(self, *, verifier: Verifier, policy: str, products: frozenset[str]) -> None:
        self._verifier = verifier
        self._policy = policy
        self._products = products
        self._sessions = Sessions()

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, answer = self._answer(environ)
        line = f"{status} {HTTPStatus(status).phrase}"
        media_type = "application/json" if status < HTTPStatus.BAD_REQUEST else "application/problem+json"
        start_response(line, [("Content-Type", media_type), ("Cache-Control", "no-store")])
        return [json.dumps(answer).encode()]

    def _answer(self, environ: Mapping[str, Any]) -> Answer:
        data = environ.get("CONTENT_LENGTH") or "0"
        body = environ["wsgi.input"].read(min(int(data) if data.isdecimal() else 0, MAX_BODY_BYTES))
        try:
            match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
                case "POST", "/challenges":
                    return self._challenge(body, source(environ["REMOTE_ADDR"]))
                case "POST", "/licenses":
                    return self._license(body)
        except TooManySessions:
            return problem(429, "too-many-sessions", "Too many sessions were started. Try again later.", retryable=True)
        except (OSError, ValueError):
            return problem(503, "verifier-unavailable", "The verifier does not answer.", retryable=True)
        return problem(404, "not-found", "Post to /challenges, then to /licenses.")

    def _challenge(self, body: bytes, address: str) -> Answer:
        try:
            binding = read_binding(body)
        except (ValueError, AttributeError, TypeError, RecursionError):
            return problem(400, "malformed-request", 'The body is {}, or has a "vmId" (a GUID) or a "policy" (a name).')
        self._sessions.admit(address)
        status, answer = self._verifier.post("/v1/nonces", binding)
        if answer.get("code") == "malformed-request" and "policy" in binding:
            return problem(400, "malformed-request", f"The verifier has no policy {binding['policy']!r}.")
        if status != HTTPStatus.CREATED:
            return pass_on(status, answer)
        session = self._sessions.start(answer["nonce"])
        return 201, {"session": session, "nonce": answer["nonce"], "expiresAt": answer["expiresAt"]}

    def _license(self, body: bytes) -> Answer:
        try:
            posted = json.loads(body)
            session, encoding, signature = (posted[name] for name in ("session", "encoding", "signature"))
        except (ValueError, KeyError, TypeError, RecursionError):
            detail = 'The body is {"session": "...", "encoding": "pkcs7", "signature": "..."}.'
            return problem(400, "malformed-request", detail)
        nonce = self._sessions.end(str(session))
        if nonce is None:
            detail = "There is no such session: post to /challenges first."
            return problem(403, "session-unknown", detail, retryable=True)
        # No other part of the evidence request is forwarded.
        asked = {"encoding": str(encoding), "signature": str(signature), "nonce": nonce, "policy": self._policy}
        status, answer = self._verifier.post("/v1/attestations", asked)
        if status != HTTPStatus.OK:
            return pass_on(status, answer)
        claims = answer["claims"]
        if self._policy not in answer["policies"] or claims["nonce"] != nonce:
            return problem(503, "verifier-unavailable", "The verifier did not decide what was asked.", retryable=False)
        product = (claims["plan"] or {}).get("product") or ""
        if self._products and product.lower() not in self._products:
            return problem(403, "product-not-licensed", "The VM does not run a product of ours.")
        return 201, {"vmId": claims["vmId"], "product": product, "licensed": True}


def pass_on(status: int, refusal: Mapping[str, Any]) -> Answer:
    """Return what the VM may know of a refusal. To the key of this backend, the verifier says more than to an agent."""
    code = refusal.get("code")
    if code in OWN_FAULTS:
        log(f"the verifier answered {status} {code}: check VERIFIER_KEY, POLICY and VERIFIER")
        return problem(500, "backend-misconfigured", "The backend has a wrong configuration. Tell its operator.")
    if status not in REFUSALS:
        return problem(503, "verifier-unavailable", "The verifier cannot decide now.", retryable=True)
    if code == "policy-denied":
        return problem(status, code, "The document does not satisfy a policy.")
    return status, {name: refusal[name] for name in PUBLIC_MEMBERS if name in refusal}


def log(line: str) -> None:
    sys.stderr.write(f"backend: {line}\n")
    sys.stderr.flush()


def problem(status: int, code: str, detail: str, *, retryable: bool = False) -> Answer:
    return status, {"code": code, "detail": detail, "retryable": retryable}


def read_binding(body: bytes) -> dict[str, str]:
    """Return the `vmId` and the `policy` that the VM named. Raises ValueError, AttributeError or TypeError."""
    binding = dict(json.loads(body or b"{}").items())
    if not all(name in BINDINGS and BINDINGS[name].fullmatch(value) for name, value in binding.items()):
        raise ValueError
    return binding


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, so that a slow VM does not keep the others waiting."""

    daemon_threads = True


class Handler(WSGIRequestHandler):
    """Close a connection that sends nothing for 30 seconds."""

    timeout = 30


def main() -> None:
    backend = Backend(
        verifier=Verifier(os.environ["VERIFIER"], os.environ.get("VERIFIER_KEY", "")),
        policy=os.environ["POLICY"],
        products=frozenset(name.lower() for name in os.environ.get("PRODUCTS", "").split(",") if name),
    )
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8091")), backend, Server, Handler) as server:
        sys.stdout.write(f"backend: listening on http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
