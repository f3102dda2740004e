"""A licensing backend in RFC 9334's passport model: the VM brings the verifier's signed result, and this backend checks
it by itself, with a JOSE library and the verifier's public keys. It never asks the verifier about a VM.

    POST /licenses  {"token": "eyJ..."}  ->  201 {"vmId": ..., "licensed": true}, or 403 {"error": ...}

The body may also be the token alone, as the agent writes it to a file:

    imds-verifier attest --verifier https://verifier.example --token --output token
    curl --data-binary @token http://127.0.0.1:8090/licenses

    pip install 'pyjwt[crypto]'
    VERIFIER_JWKS=https://verifier.example/.well-known/jwks.json \
    TOKEN_ISSUER=https://verifier.example TOKEN_AUDIENCE=contoso TENANT=contoso POLICY=appliance \
    PRODUCTS=contoso-db python backend.py

TENANT is this backend's name in the verifier's settings: another tenant's VMs are not ours, though tenants may share
an audience. POLICY is a policy that this backend relies on: a token that does not name it was made without it.
"""

import json
import os
import re
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import make_server

import jwt

# What this backend accepts is said here, and never by a token: an `alg` of a token's own choosing is how
# `none`, and keys that are used as passwords, come in (RFC 8725 section 3.1).
ALGORITHMS = ["ES256", "EdDSA"]
PROFILE = "tag:ietf.org,2026:rats/ear#04"
SUBMODULE = "azure-imds"
CLAIMS = "imds-verifier.claims"
TENANT = "imds-verifier.tenant"
#: RFC 7515 section 3.1.
COMPACT_JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
#: How far the clocks of verifier and backend may be apart. Without it, a backend whose clock is a second behind refuses
#: every fresh token.
LEEWAY_SECONDS = 60.0
MAX_BODY_BYTES = 16 * 1024
#: Tokens name keys that are new now and then; this is how often a name nobody knows can make us ask.
REFETCH_SECONDS = 60.0


class Untrusted(Exception):
    """The token is not one to give a licence for; the message says why."""


class PublicKeys:
    """The verifier's public keys, kept between requests. A token's own `jku` or `jwk` is never looked at."""

    def __init__(self, fetch: Callable[[], Mapping[str, Any]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._turn = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")

    def find(self, kid: str) -> jwt.PyJWK:
        with self._turn:
            if kid not in self._keys and self._clock() - self._fetched_at >= REFETCH_SECONDS:
                self._fetched_at = self._clock()
                described = self._fetch()["keys"]
                self._keys = {key["kid"]: jwt.PyJWK(key) for key in described if key.get("alg") in ALGORITHMS}
            if kid not in self._keys:
                raise Untrusted("the token names no key of the verifier")
            return self._keys[kid]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a token must say for this backend to rely on it."""

    issuer: str
    audience: str
    tenant: str
    policy: str


def check_token(token: str, *, keys: PublicKeys, expected: Expected) -> Mapping[str, Any]:
    """Return the VM's claims, which the verifier signed for this backend under its policy. Raises Untrusted."""
    try:
        header = jwt.get_unverified_header(token)
        key = keys.find(str(header.get("kid", "")))
        if header.get("typ") != "eat+jwt" or header.get("alg") != key.algorithm_name:
            raise Untrusted("the token is not a result of the verifier")
        claims = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            audience=expected.audience,
            issuer=expected.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "iat", "exp", "jti", "eat_nonce", TENANT]},
        )
    except jwt.ExpiredSignatureError as error:
        raise Untrusted("the token is expired") from error
    except jwt.InvalidAudienceError as error:
        raise Untrusted("the token is for somebody else") from error
    except jwt.PyJWTError as error:
        raise Untrusted("the token does not verify") from error
    if claims.get("eat_profile") != PROFILE:
        raise Untrusted("the token has another profile")
    if claims[TENANT] != expected.tenant:
        raise Untrusted("the token is for another tenant")
    try:
        appraised = claims["submods"][SUBMODULE]
        if appraised["ear_status"] != "affirming":
            raise Untrusted("the VM was not affirmed")
        if expected.policy not in list(appraised["ear_appraisal_policy_ids"]):
            raise Untrusted("the VM was not held against our policy")
        return dict(appraised[CLAIMS])
    except (KeyError, TypeError) as error:
        raise Untrusted("the token says nothing of a VM") from error


def read_token(body: bytes) -> str:
    """Return the token of a request, which is the body or in its JSON. Raises ValueError, KeyError and TypeError.

    A file ends with a newline, and the token in it does not: white space around a token is no part of it.
    """
    token = body.decode("ascii").strip()
    if token.startswith("{"):
        token = str(json.loads(token)["token"]).strip()
    if not COMPACT_JWS.fullmatch(token):
        raise ValueError("no token")
    return token


class Backend:
    """The WSGI application (PEP 3333)."""

    def __init__(self, *, keys: PublicKeys, expected: Expected, products: frozenset[str]) -> None:
        self._keys = keys
        self._expected = expected
        self._products = products

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, answer = self._answer(environ)
        start_response(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [json.dumps(answer).encode()]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[str, Mapping[str, object]]:
        if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) != ("POST", "/licenses"):
            return "404 Not Found", {"error": "post a token to /licenses"}
        try:
            data = environ.get("CONTENT_LENGTH") or "0"
            body = environ["wsgi.input"].read(min(int(data) if data.isdecimal() else 0, MAX_BODY_BYTES))
            token = read_token(body)
        except (ValueError, KeyError, TypeError, RecursionError):
            return "400 Bad Request", {"error": 'the body must be a token, or {"token": "..."}'}
        try:
            return "201 Created", self._license(token)
        except Untrusted as error:
            return "403 Forbidden", {"error": str(error)}
        except OSError:
            return "503 Service Unavailable", {"error": "the verifier's keys cannot be had now"}

    def _license(self, token: str) -> Mapping[str, object]:
        claims = check_token(token, keys=self._keys, expected=self._expected)
        product = (claims.get("plan") or {}).get("product") or ""
        if self._products and product.lower() not in self._products:
            raise Untrusted("the VM does not run a product of ours")
        return {"vmId": claims["vmId"], "product": product, "licensed": True}


def main() -> None:
    url = os.environ["VERIFIER_JWKS"]

    def fetch() -> Mapping[str, Any]:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the operator's own URL
            document: Mapping[str, Any] = json.load(answer)
        return document

    backend = Backend(
        keys=PublicKeys(fetch),
        expected=Expected(
            issuer=os.environ["TOKEN_ISSUER"],
            audience=os.environ["TOKEN_AUDIENCE"],
            tenant=os.environ["TENANT"],
            policy=os.environ["POLICY"],
        ),
        products=frozenset(name.lower() for name in os.environ.get("PRODUCTS", "").split(",") if name),
    )
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8090")), backend) as server:
        sys.stdout.write(f"backend: listening on http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
