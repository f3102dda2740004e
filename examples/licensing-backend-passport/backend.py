"""A licensing backend in RFC 9334's passport model: the VM brings the verifier's signed result, and this backend checks
it with the verifier's public keys. It never asks the verifier about a VM.

    POST /licenses  {"token": "eyJ..."}  ->  201 {"vmId": ..., "licensed": true}, or 403 {"code": ..., "error": ...}

The body may also be the token alone, as the agent writes it to a file:

    imds-verifier attest --verifier https://verifier.example --token --output token
    curl --data-binary @token http://127.0.0.1:8090/licenses

    pip install imds-verifier-relying-party
    VERIFIER_JWKS=https://verifier.example/.well-known/jwks.json \
    TOKEN_ISSUER=https://verifier.example TOKEN_AUDIENCE=contoso TENANT=contoso POLICY=appliance \
    PRODUCTS=contoso-appliance python backend.py

TENANT is this backend's name in the verifier's settings: another tenant's VMs are not ours, though tenants may share
an audience. POLICY is a policy that this backend relies on: a token that does not name it was made without it.

A token that is bound to a key needs a DPoP proof: ../relying-party-flask and ../relying-party-asgi take one.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from verifier.relying_party import MemoryReplayStore, NotVerified, ResultVerifier

MAX_BODY_BYTES = 16 * 1024
#: RFC 7515 section 3.1.
COMPACT_JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


def read_token(body: bytes) -> str:
    """Return the token, which is the body or a member of its JSON. Raises ValueError, KeyError and TypeError.

    A file ends with a newline, and the token in it does not: white space around a token is not a part of it.
    """
    token = body.decode("ascii").strip()
    if token.startswith("{"):
        token = str(json.loads(token)["token"]).strip()
    if not COMPACT_JWS.fullmatch(token):
        raise ValueError("no token")
    return token


class Backend:
    """The WSGI application (PEP 3333)."""

    def __init__(self, *, results: ResultVerifier, products: frozenset[str]) -> None:
        self._results = results
        self._products = products

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, answer = self._answer(environ)
        line = f"{status} {HTTPStatus(status).phrase}"
        start_response(line, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [json.dumps(answer).encode()]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[int, Mapping[str, object]]:
        if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) != ("POST", "/licenses"):
            return 404, {"error": "post a token to /licenses"}
        try:
            data = environ.get("CONTENT_LENGTH") or "0"
            body = environ["wsgi.input"].read(min(int(data) if data.isdecimal() else 0, MAX_BODY_BYTES))
            token = read_token(body)
        except (ValueError, KeyError, TypeError, RecursionError):
            return 400, {"error": 'the body is a token, or {"token": "..."}'}
        try:
            machine = self._results.verify(token)
        except NotVerified as error:
            return 503 if error.code.is_temporary else 403, {"code": error.code, "error": str(error)}
        product = (machine.plan.product if machine.plan else None) or ""
        if self._products and product.lower() not in self._products:
            return 403, {"code": "product-not-licensed", "error": "the VM does not run a product of ours"}
        return 201, {"vmId": machine.vm_id, "product": product, "licensed": True}


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, so that a slow VM does not keep the others waiting."""

    daemon_threads = True


class Handler(WSGIRequestHandler):
    """Close a connection that sends nothing for 30 seconds."""

    timeout = 30


def main() -> None:
    backend = Backend(
        results=ResultVerifier(
            issuer=os.environ["TOKEN_ISSUER"],
            audience=os.environ["TOKEN_AUDIENCE"],
            tenant=os.environ["TENANT"],
            policies=[os.environ["POLICY"]],
            jwks=os.environ["VERIFIER_JWKS"],
            replay_store=MemoryReplayStore(),
        ),
        products=frozenset(name.lower() for name in os.environ.get("PRODUCTS", "").split(",") if name),
    )
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8090")), backend, Server, Handler) as server:
        sys.stdout.write(f"backend: listening on http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
