"""A licensing backend in RFC 9334's background-check model: the VM brings its attested document, and this backend has
the verifier appraise it. The VM never talks to the verifier, and needs no key of it. Standard library only.

    POST /challenges             ->  201 {"nonce": ..., "expiresAt": ...}
    POST /licenses  (what IMDS answered, with "nonce" beside it)
                                 ->  201 {"vmId": ..., "licensed": true}, or the verifier's refusal

    VERIFIER=https://verifier.example VERIFIER_KEY=... PRODUCTS=contoso-db python backend.py
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from wsgiref.simple_server import make_server

MAX_BODY_OCTETS = 16 * 1024
#: What the VM can do something about; anything else that the verifier says is this backend's own trouble.
REFUSALS = frozenset({400, 403, 409, 413, 422, 429})


class Verifier:
    """The service, with the key that it knows this backend by."""

    def __init__(self, url: str, key: str = "") -> None:
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}

    def post(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and JSON, whichever the status is. Raises OSError and ValueError where there is no answer."""
        request = urllib.request.Request(self._url + path, body, self._headers)  # noqa: S310 - the operator's own URL
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                return answer.status, dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(json.load(error))


class Backend:
    """The WSGI application (PEP 3333)."""

    def __init__(self, *, verifier: Verifier, products: frozenset[str]) -> None:
        self._verifier = verifier
        self._products = products

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, answer = self._answer(environ)
        line = f"{status} {HTTPStatus(status).phrase}"
        start_response(line, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [json.dumps(answer).encode()]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[int, Mapping[str, object]]:
        octets = environ.get("CONTENT_LENGTH") or "0"
        body = environ["wsgi.input"].read(min(int(octets) if octets.isdigit() else 0, MAX_BODY_OCTETS))
        try:
            match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
                case "POST", "/challenges":
                    status, answer = self._verifier.post("/v1/nonces", b"{}")
                    return self._pass_on(status, answer) if status != HTTPStatus.CREATED else (status, answer)
                case "POST", "/licenses":
                    return self._license(body)
        except (OSError, ValueError):
            return 503, {"error": "the verifier does not answer"}
        return 404, {"error": "post to /challenges, then to /licenses"}

    def _license(self, body: bytes) -> tuple[int, Mapping[str, object]]:
        # Forwarded byte for byte: who decides reads it, and nobody before.
        status, answer = self._verifier.post("/v1/attestations", body)
        if status != HTTPStatus.OK:
            return self._pass_on(status, answer)
        claims = answer["claims"]
        product = (claims["plan"] or {}).get("product") or ""
        if self._products and product.lower() not in self._products:
            return 403, {"error": "the VM does not run a product of ours"}
        return 201, {"vmId": claims["vmId"], "product": product, "licensed": True}

    def _pass_on(self, status: int, problem: Mapping[str, Any]) -> tuple[int, Mapping[str, object]]:
        if status not in REFUSALS:
            return 503, {"error": "the verifier cannot decide now"}
        told = {name: problem[name] for name in ("code", "detail", "retryable", "retryAfterSeconds") if name in problem}
        return status, told


def main() -> None:
    backend = Backend(
        verifier=Verifier(os.environ["VERIFIER"], os.environ.get("VERIFIER_KEY", "")),
        products=frozenset(name.lower() for name in os.environ.get("PRODUCTS", "").split(",") if name),
    )
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8091")), backend) as server:
        sys.stdout.write(f"backend: listening on http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
