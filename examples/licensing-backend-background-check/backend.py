"""A licensing backend in RFC 9334's background-check model: the VM brings its attested document, and this backend has
the verifier appraise it. The VM never talks to the verifier, and needs no key of it. Standard library only.

    POST /challenges             ->  201 {"session": ..., "nonce": ..., "expiresAt": ...}
    POST /licenses  {"session": ..., "encoding": "pkcs7", "signature": ...}: the session, and what IMDS answered
                                 ->  201 {"vmId": ..., "licensed": true}, or the verifier's refusal

    VERIFIER=https://verifier.example VERIFIER_KEY=... POLICY=appliance PRODUCTS=contoso-db python backend.py

This backend builds the request to the verifier by itself. From the VM come `encoding` and `signature` alone; the nonce
is the one of the session, and the policy is this backend's own. Never forward what a VM posts: it may hold a nonce or
a policy of the VM's choice.
"""

import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from wsgiref.simple_server import make_server

MAX_BODY_BYTES = 16 * 1024
#: As long as the verifier's nonces are good, unless it is told otherwise.
SESSION_SECONDS = 300.0
MAX_SESSIONS = 10_000
#: What the VM can do something about; anything else that the verifier says is this backend's own trouble.
REFUSALS = frozenset({400, 403, 409, 413, 422, 429})
#: These are too, though their status is among them: an unknown POLICY, a key of another kind.
OWN_FAULTS = frozenset({"malformed-request", "forbidden"})


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


class Sessions:
    """The nonce that each session was given. A session ends with its first document, or after SESSION_SECONDS.

    A backend with customers that log in keeps the nonce in the customer's session instead.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, tuple[float, str]] = {}

    def start(self, nonce: str) -> str | None:
        """Return the id of a new session, or None if there are too many."""
        while self._open and self._clock() > next(iter(self._open.values()))[0]:  # the oldest one is first
            del self._open[next(iter(self._open))]
        if len(self._open) >= MAX_SESSIONS:
            return None
        session = secrets.token_urlsafe(32)
        self._open[session] = (self._clock() + SESSION_SECONDS, nonce)
        return session

    def end(self, session: str) -> str | None:
        """Return the nonce of the session, once; None if there is no such session."""
        ends_at, nonce = self._open.pop(session, (0.0, ""))
        return nonce if self._clock() <= ends_at else None


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
        start_response(line, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [json.dumps(answer).encode()]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[int, Mapping[str, object]]:
        data = environ.get("CONTENT_LENGTH") or "0"
        body = environ["wsgi.input"].read(min(int(data) if data.isdecimal() else 0, MAX_BODY_BYTES))
        try:
            match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
                case "POST", "/challenges":
                    return self._challenge()
                case "POST", "/licenses":
                    return self._license(body)
        except (OSError, ValueError):
            return 503, {"error": "the verifier does not answer"}
        return 404, {"error": "post to /challenges, then to /licenses"}

    def _challenge(self) -> tuple[int, Mapping[str, object]]:
        status, answer = self._verifier.post("/v1/nonces", {})
        if status != HTTPStatus.CREATED:
            return self._pass_on(status, answer)
        session = self._sessions.start(answer["nonce"])
        if session is None:
            return 503, {"error": "too many sessions are open"}
        return 201, {"session": session, "nonce": answer["nonce"], "expiresAt": answer["expiresAt"]}

    def _license(self, body: bytes) -> tuple[int, Mapping[str, object]]:
        try:
            posted = json.loads(body)
            session, encoding, signature = (posted[name] for name in ("session", "encoding", "signature"))
        except (ValueError, KeyError, TypeError, RecursionError):
            return 400, {"error": 'the body is {"session": "...", "encoding": "pkcs7", "signature": "..."}'}
        nonce = self._sessions.end(str(session))
        if nonce is None:
            return 403, {"error": "there is no such session: post to /challenges first"}
        # Nothing else of what the VM posted goes on.
        asked = {"encoding": str(encoding), "signature": str(signature), "nonce": nonce, "policy": self._policy}
        status, answer = self._verifier.post("/v1/attestations", asked)
        if status != HTTPStatus.OK:
            return self._pass_on(status, answer)
        claims = answer["claims"]
        if self._policy not in answer["policies"] or claims["nonce"] != nonce:
            return 503, {"error": "the verifier did not decide what was asked"}
        product = (claims["plan"] or {}).get("product") or ""
        if self._products and product.lower() not in self._products:
            return 403, {"error": "the VM does not run a product of ours"}
        return 201, {"vmId": claims["vmId"], "product": product, "licensed": True}

    def _pass_on(self, status: int, problem: Mapping[str, Any]) -> tuple[int, Mapping[str, object]]:
        if status not in REFUSALS or problem.get("code") in OWN_FAULTS:
            return 503, {"error": "the verifier cannot decide now"}
        told = {name: problem[name] for name in ("code", "detail", "retryable", "retryAfterSeconds") if name in problem}
        return status, told


def main() -> None:
    backend = Backend(
        verifier=Verifier(os.environ["VERIFIER"], os.environ.get("VERIFIER_KEY", "")),
        policy=os.environ["POLICY"],
        products=frozenset(name.lower() for name in os.environ.get("PRODUCTS", "").split(",") if name),
    )
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8091")), backend) as server:
        sys.stdout.write(f"backend: listening on http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
